package live

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// What Stats counts is what was sent, over two turns too.
func TestStats(t *testing.T) {
	var packets, bytes, frames, keys int64
	for d := avtest.NewSynthetic(spec(20)); ; {
		p, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, av.ErrTracks) {
			continue
		} else if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packets, bytes = packets+1, bytes+int64(len(p.Data))
		if p.Track != 0 {
			continue
		}
		frames++
		if p.Flags&av.Key != 0 {
			keys++
		}
	}
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{})
		defer end()
		for turn := range int64(2) {
			if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(20)))); err != nil {
				t.Fatal(err)
			}
			st, n := h.Lookup("cam").Stats(), turn+1
			if st.Packets != n*packets || st.Bytes != n*bytes || st.Frames != n*frames || st.Keys != n*keys {
				t.Errorf("turn %d: %d packets of %d bytes, %d frames, %d of them key, were sent: %+v", turn, packets, bytes, frames, keys, st)
			}
			if st.Chunks == 0 || st.Stored != st.Chunks || st.Unstored != 0 {
				t.Errorf("turn %d: %+v", turn, st)
			}
			if ago := time.Since(st.LastKey); ago < 0 || ago > 1100*time.Millisecond {
				t.Errorf("the last key frame came %v ago", ago)
			}
		}
	})
}
