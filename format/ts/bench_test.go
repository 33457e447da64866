package ts

import (
	"errors"
	"io"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// BenchmarkDemuxer reads streams of 256 MB from memory.
func BenchmarkDemuxer(b *testing.B) {
	for _, name := range []string{"ts/rollover_33bit.ts", "ts/hevc_main10_12s.ts", "ts/timestamp_gap_59_94.ts"} {
		b.Run(name, func(b *testing.B) {
			in := media(b, name)
			a := &fixedAllocator{make([]byte, 4<<20)}
			n := int64(256 << 20)
			b.SetBytes(n)
			b.ReportAllocs()
			packets := 0
			for b.Loop() {
				d := NewDemuxer(io.LimitReader(&endless{b: in[:len(in)/packetSize*packetSize]}, n))
				for {
					if _, err := d.ReadPacket(a); err == nil {
						packets++
					} else if !errors.Is(err, av.ErrTracks) {
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(packets), "ns/packet")
		})
	}
}

// BenchmarkMuxer writes the packets of a file again and again.
func BenchmarkMuxer(b *testing.B) {
	l, err := readAll(NewDemuxer(&onceReader{b: media(b, "ts/rollover_33bit.ts")}))
	if err != nil {
		b.Fatal(err)
	}
	g := l[0]
	m, err := NewMuxer(g.tracks)
	if err != nil {
		b.Fatal(err)
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = m.AppendHeader(dst[:0])
		for _, p := range g.packets {
			dst = m.AppendPacket(dst, p, p.DTS, p.PTS)
		}
	}
	b.SetBytes(int64(len(dst)))
}

type onceReader struct{ b []byte }

func (r *onceReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}
