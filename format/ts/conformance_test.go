package ts

import (
	"bytes"
	"io"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// TestConformance: the demuxer keeps av.Demuxer's promises.
func TestConformance(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			b := sample(t, s.file)
			open := func(r io.Reader) av.Demuxer { return NewDemuxer(r) }
			avtest.Run(t, func(testing.TB) av.Demuxer { return open(bytes.NewReader(b)) },
				avtest.Options{Bits: wrapBits, Composed: true, Input: b, Open: open})
		})
	}
}
