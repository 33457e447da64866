package ts

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// TestPatience: audio that begins three seconds late is a track from the start for
// who has the patience, and a change of tracks for who has not.
func TestPatience(t *testing.T) {
	spec := avtest.Spec{
		Video: avtest.Video{Frames: 150, Timebase: av.Clock90k, FrameDur: 3600},
		Audio: avtest.Audio{Frames: 300, Timebase: av.Clock90k},
	}
	src := avtest.NewSynthetic(spec)
	if _, err := src.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
		t.Fatal(err)
	}
	m, err := NewMuxer(src.Tracks())
	if err != nil {
		t.Fatal(err)
	}
	b := m.AppendHeader(nil)
	for {
		p, err := src.ReadPacket(av.Heap{})
		if err != nil {
			break
		}
		if p.Track == 0 || p.PTS >= 3*90000 {
			b = m.AppendPacket(b, p, p.DTS+90000, p.PTS+90000)
		}
	}
	for patience, want := range map[int]int{0: 2, 10: 1} {
		d := NewDemuxer(bytes.NewReader(b))
		d.Patience = patience
		if g := avtest.ReadAll(t, d); len(g) != want || len(g[len(g)-1].Tracks) != 2 {
			t.Errorf("patience of %d s: %d sets of tracks, want %d", patience, len(g), want)
		}
	}
}
