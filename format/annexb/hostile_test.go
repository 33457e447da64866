package annexb

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// TestHostile: HOSTILE 17, 20, 22, 37, 39 and 40 in a byte stream of several MiB:
// it is read in linear time and bounded memory, and the pictures around what is
// wrong come out.
func TestHostile(t *testing.T) {
	b, _ := synthetic(t, avtest.Video{Frames: 20})
	sets := b[:bytes.Index(b, []byte{0, 0, 0, 1, 0x65})]
	pictures := b[len(sets):]
	sei := []byte{0, 0, 1, 6, 5, 2, 9, 9, 0x80}
	sps := func(tail ...byte) []byte { return append([]byte{0, 0, 0, 1, 0x67, 100, 0, 40}, tail...) }
	var many []byte
	for i := range 40000 {
		many = append(many, sps(0xac|byte(i>>12), byte(i>>6), byte(i), 0x80)...)
		many = append(many, 0, 0, 1, 0x68, byte(i)|1, byte(i>>8)|1, 0x80)
	}
	for name, test := range map[string]struct {
		in      []byte
		packets int
		err     error
	}{
		"a NAL unit of 00 00 03":     {join(sets, []byte{0, 0, 1, 6, 5}, bytes.Repeat([]byte{0, 0, 3}, 1<<20), pictures), 20, io.EOF},
		"an SPS of 00 00 03":         {join(sps(), bytes.Repeat([]byte{0, 0, 3}, 1<<20), b), 20, io.EOF},
		"a NAL unit of ones":         {join(sets, []byte{0, 0, 1, 6}, bytes.Repeat([]byte{1}, 4<<20), pictures), 20, io.EOF},
		"4 MiB of zeros":             {join(b, make([]byte, 4<<20), b), 40, io.EOF},
		"10,000 SEI in one picture":  {join(sets, bytes.Repeat(sei, 10000), pictures), 19, io.EOF},
		"80,000 parameter sets":      {join(many, b), 0, av.ErrInvalid},
		"start codes only":           {join(b, bytes.Repeat([]byte{0, 0, 1}, 1<<20), b), 40, io.EOF},
		"one byte a unit":            {join(sets, bytes.Repeat([]byte{0, 0, 1, 6}, 1<<20), pictures), 19, io.EOF},
		"an endless picture":         {join(b, bytes.Repeat([]byte{0x55}, 20<<20)), 19, av.ErrTooLarge},
		"an endless SEI":             {join(b, []byte{0, 0, 1, 6}, bytes.Repeat([]byte{0x55}, 20<<20)), 19, av.ErrTooLarge},
		"slices that do not parse":   {join(b, bytes.Repeat([]byte{0, 0, 1, 0x41, 0, 0x80}, 1<<19), b), 0, nil},
		"slices of no parameter set": {join(bytes.Repeat([]byte{0, 0, 1, 0x41, 0xff, 0x80}, 1<<19), b), 20, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDemuxer(bytes.NewReader(test.in), av.H264)
			a := &fixed{make([]byte, 24<<20)}
			n := 0
			var err error
			used := avtest.Allocated(func() {
				for {
					if _, err = d.ReadPacket(a); err == nil {
						n++
					} else if !errors.Is(err, av.ErrTracks) {
						return
					}
				}
			})
			if test.err != nil && (!errors.Is(err, test.err) || n != test.packets) {
				t.Errorf("%d packets, %v; want %d, %v", n, err, test.packets, test.err)
			}
			if most := 4*int64(min(len(test.in), 2*DefaultMaxUnit)) + 1<<20; used > most {
				t.Errorf("%d bytes allocated for %d of input", used, len(test.in))
			}
		})
	}
}

func join(l ...[]byte) []byte { return bytes.Join(l, nil) }

// TestOneByteReads of a long NAL unit take linear time.
func TestOneByteReads(t *testing.T) {
	b, _ := synthetic(t, avtest.Video{Frames: 3})
	sets := b[:bytes.Index(b, []byte{0, 0, 0, 1, 0x65})]
	in := join(sets, []byte{0, 0, 1, 6, 5}, bytes.Repeat([]byte{0, 0, 3, 1}, 1<<17), b[len(sets):])
	l := avtest.ReadAll(t, NewDemuxer(iotest.OneByteReader(bytes.NewReader(in)), av.H264))
	if n := len(l[0].Packets); n != 3 {
		t.Errorf("%d packets", n)
	}
}
