package annexb

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
)

// FuzzDemuxer: no input panics, allocates beyond the law, or ends in anything but
// io.EOF or an *av.Error; DTS rise, PTS are not before them.
func FuzzDemuxer(f *testing.F) {
	for _, s := range samples {
		b := sample(f, s.file)
		f.Add(b[:min(len(b), 1500)], s.codec == av.H265)
	}
	f.Fuzz(func(t *testing.T, b []byte, hevc bool) {
		c := av.H264
		if hevc {
			c = av.H265
		}
		Sniff(b[:min(len(b), 4096)])
		d := NewDemuxer(bytes.NewReader(b), c)
		d.MaxUnit = 64 << 10
		l, err := avtest.Read(d)
		var bad *av.Error
		if !errors.Is(err, io.EOF) && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		d.Warnings()
		for _, g := range l {
			if _, err := codec.Describe(&g.Tracks[0]); err != nil {
				t.Fatal(err)
			}
			last := int64(-1)
			for i, p := range g.Packets {
				if p.DTS <= last && i > 0 || p.PTS < p.DTS || p.Flags.Has(av.Corrupt) {
					t.Fatalf("packet %d: DTS %d behind %d, PTS %d, flags %#x", i, p.DTS, last, p.PTS, p.Flags)
				}
				last = p.DTS
			}
		}
	})
}
