package probe

import (
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
)

// TestTinyGOPs: what is kept of each GOP and chunk is bounded; the report says that the rest
// is left out, and counts it.
func TestTinyGOPs(t *testing.T) {
	const n = 100_000
	tracks := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 1}}))[0].Tracks
	for size, want := range map[int]int{5: fewRecords, 1000: n} {
		p, err := newProber("x", &Config{Picture: true, Cut: chunk.Options{MinGOP: 1, MaxGOP: 1}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.setTracks(tracks); err != nil {
			t.Fatal(err)
		}
		data := append([]byte{0, 0, 0, 1, 0x65}, make([]byte, size-5)...)
		for i := range int64(n) {
			if err := p.packet(&av.Packet{DTS: i, PTS: i, Dur: 1, Flags: av.Key, Data: data}); err != nil {
				t.Fatal(err)
			}
		}
		p.finish(nil)
		r := p.report
		if len(r.GOPs) != want || r.Tracks[0].Packets != n || r.Strategies[3].Chunks != n || len(r.Strategies[3].list) != want {
			t.Errorf("%d bytes: %d GOPs, %+v", size, len(r.GOPs), r.Tracks[0])
		}
		if said := strings.Contains(strings.Join(r.Warnings, "; "), "left out of the list"); said != (want < n) {
			t.Errorf("%d bytes: %q", size, r.Warnings)
		}
	}
}
