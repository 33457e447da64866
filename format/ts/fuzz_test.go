package ts

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// FuzzDemuxer: no input panics, allocates beyond the law, or ends in anything
// but io.EOF or an *av.Error; what was read can be written and read again.
func FuzzDemuxer(f *testing.F) {
	for _, s := range samples {
		b := sample(f, s.file)
		f.Add(b[:20*packetSize])
		f.Add(b[len(b)-10*packetSize:])
	}
	f.Add(dataStream(3))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := NewDemuxer(bytes.NewReader(b))
		d.MaxUnit = 64 << 10
		l, err := readAll(d)
		var bad *av.Error
		if err != nil && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		d.Warnings()
		for _, g := range l {
			m, err := NewMuxer(g.tracks)
			if err != nil {
				if !errors.As(err, &bad) {
					t.Fatal(err)
				}
				continue
			}
			out := m.AppendHeader(nil)
			for _, p := range g.packets {
				out = m.AppendPacket(out, p, p.DTS, p.PTS)
			}
			if len(out)%packetSize != 0 {
				t.Fatalf("%d bytes written", len(out))
			}
			if _, err := readAll(NewDemuxer(bytes.NewReader(out))); err != nil && len(g.packets) > 0 && !errors.As(err, &bad) {
				t.Fatal(err)
			}
		}
	})
}

// FuzzAllocation: L2 over the same inputs.
func FuzzAllocation(f *testing.F) {
	for _, s := range samples {
		f.Add(sample(f, s.file)[:8*packetSize])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := allocated(b); n > 2*len(b)+1<<20 {
			t.Fatalf("%d bytes allocated for %d", n, len(b))
		}
	})
}
