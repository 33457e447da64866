package libav

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// fuzzCodecs are those whose packets are looked at.
var fuzzCodecs = []string{"h264", "hevc", "av1", "vp9", "aac", "opus", "ac3", "eac3", "mp3", "mpeg2video", "mpeg4", "none", "flac", "vvc"}

// fed returns a Demuxer of one stream without a worker.
func fed(name, kind string, extra []byte, bits int) *Demuxer {
	d := &Demuxer{in: &input{size: -1}}
	d.opened.Streams = []wire.Stream{{Kind: kind, Codec: name, Num: 1, Den: 1000, WrapBits: bits, RateNum: 25, RateDen: 1, Extradata: extra}}
	d.makeLanes()
	return d
}

// give does with packets what ReadPacket does with those of a worker.
func give(d *Demuxer, l []raw) (out []item, err error) {
	for i := range l {
		if lane := d.lane(&l[i]); lane != nil {
			lane.learn(&l[i])
		}
	}
	for _, lane := range d.lanes {
		lane.settle(d)
	}
	if len(d.list()) == 0 {
		return nil, nil
	}
	for i := range l {
		if err := d.take(&l[i], av.Heap{}); err != nil {
			return out, err
		}
	}
	d.flush()
	return d.ready, nil
}

// split cuts data into packets: a length, which times there are, and the times.
func split(data []byte) (l []raw) {
	pts := int64(0)
	for len(data) > 3 {
		n, flags := min(int(data[0]), len(data)-3), data[1]
		pts += int64(int8(data[2]))
		r := raw{Desc: wire.Desc{PTS: wire.NoTime, DTS: wire.NoTime, Flags: uint32(flags >> 4), Dur: int64(flags & 3)}, data: data[3 : 3+n]}
		if flags&4 != 0 {
			r.PTS = pts
		}
		if flags&8 != 0 {
			r.DTS = pts - int64(flags&3)
		}
		if flags>>4&wire.FlagConfig != 0 {
			r.extra = r.data
		}
		l, data = append(l, r), data[3+n:]
	}
	return l
}

// FuzzPackets: whatever a worker gives, packets have a track, data and no negative
// duration, and every stream of known codec keeps its configuration readable.
func FuzzPackets(f *testing.F) {
	for i := range fuzzCodecs {
		f.Add(byte(i), []byte{1, 0x64, 0, 30, 0xff, 0xe1, 0, 0}, []byte("\x05\x1c\x01\x00\x00\x01\x65\x88\x05\x0c\x01\x00\x00\x01\x41\x9a"))
		f.Add(byte(i), []byte{}, []byte("\x08\x1c\x01\xff\xf1\x50\x80\x01\x00\xfc\x00\x08\x00\x01\xff\xf1\x50\x80\x01\x00\xfc\x00"))
	}
	f.Fuzz(func(t *testing.T, which byte, extra, data []byte) {
		name := fuzzCodecs[int(which)%len(fuzzCodecs)]
		kind := "video"
		if slices.Contains([]string{"aac", "opus", "ac3", "eac3", "mp3", "flac"}, name) {
			kind = "audio"
		}
		d := fed(name, kind, extra, 33*int(which>>7))
		list, err := give(d, split(data))
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if i.tracks == nil && (i.p.Track != 0 || len(i.p.Data) == 0 || i.p.Dur < 0) {
				t.Fatalf("%+v", i.p)
			}
		}
	})
}

// TestNoAllocation: a packet costs none.
func TestNoAllocation(t *testing.T) {
	w := newWorkers(t, Config{})
	b := sample(t, "av.mkv")
	d := w.NewDemuxer(bytes.NewReader(b), int64(len(b)), Options{})
	defer d.Close()
	a := &fixed{make([]byte, 1<<16)}
	for range 40 { // the search for tracks copies
		if _, err := d.ReadPacket(a); err != nil && !errors.Is(err, av.ErrTracks) {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(80, func() {
		if _, err := d.ReadPacket(a); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

type fixed struct{ b []byte }

func (f *fixed) Alloc(_, n int) ([]byte, error) { return f.b[:n:n], nil }

// TestDamaged: bytes that are wrong are an error of the input, or are skipped.
func TestDamaged(t *testing.T) {
	w := newWorkers(t, Config{})
	for _, name := range []string{"av.mkv", "av.avi", "av.mpg", "vp9.webm", "opus.ogg"} {
		whole := sample(t, name)
		for seed := range 6 {
			b, rnd := bytes.Clone(whole), rand.New(rand.NewPCG(uint64(seed), 7))
			for range 1 + len(b)/200 {
				b[rnd.IntN(len(b))] = byte(rnd.Uint32())
			}
			d := w.NewDemuxer(bytes.NewReader(b), int64(len(b)), Options{})
			_, err := avtest.Read(d)
			var bad *av.Error
			if !errors.Is(err, io.EOF) && !errors.As(err, &bad) {
				t.Errorf("%s, seed %d: %v", name, seed, err)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
