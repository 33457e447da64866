package flv

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

func seeds(f *testing.F) {
	for _, s := range samples {
		f.Add(sample(f, s.file)[:2000])
	}
	f.Add(good()[:1500])
}

// FuzzDemuxer: no input panics, or ends in anything but io.EOF or an *av.Error;
// what was read can be written and is read again as it was.
func FuzzDemuxer(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDemuxer(bytes.NewReader(b))
		l, err := readAll(d)
		var bad *av.Error
		if err != nil && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		d.Warnings()
		n := 0
		for _, g := range l {
			n += len(g.packets)
		}
		if n > len(b) {
			t.Fatalf("%d packets in %d bytes", n, len(b))
		}
		if _, err := mux(NewDemuxer(bytes.NewReader(b))); err != nil && !errors.As(err, &bad) && !errors.Is(err, av.ErrUnsupported) {
			t.Fatal(err)
		}
	})
}

// FuzzAllocation: at most twice the input and 1 MiB.
func FuzzAllocation(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		avtest.AllocBound(t, len(b), func() { drain(NewDemuxer(bytes.NewReader(b))) })
	})
}

// FuzzTags: bodies one after the other, as RTMP brings them, each of a kind and
// behind a length.
func FuzzTags(f *testing.F) {
	for _, s := range samples {
		var b []byte
		in := sample(f, s.file)
		for at := headerLen + prevLen; at < len(in) && len(b) < 1500; {
			h := parseTagHeader(in[at:])
			body := in[at+tagHeaderLen : at+tagHeaderLen+h.size]
			b = append(append(b, h.kind, byte(h.size>>8), byte(h.size)), body...)
			at += tagHeaderLen + h.size + prevLen
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var tags Tags
		var err error
		for at := uint32(0); len(b) >= 3 && err == nil; at += 40 {
			n := min(int(b[1])<<8|int(b[2]), len(b)-3)
			body := b[3 : 3+n : 3+n]
			switch b[0] & 3 {
			case 0:
				err = tags.Audio(at, body)
			case 1:
				err = tags.Video(at, body)
			default:
				tags.Script(body)
			}
			b = b[3+n:]
			for err == nil {
				if _, e := tags.ReadPacket(av.Heap{}); e == ErrMore || e == io.EOF {
					break
				}
			}
		}
		tags.Finish()
	})
}
