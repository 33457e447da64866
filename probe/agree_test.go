package probe

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
)

// cutEntry is what chunks.json of a cut says of a chunk.
type cutEntry struct {
	Timebase    string `json:"timebase"`
	Start       int64  `json:"start"`
	Duration    int64  `json:"duration"`
	Packets     int    `json:"packets"`
	Bytes       int64  `json:"bytes"`
	Independent bool   `json:"independent"`
	Reason      string `json:"reason"`
}

// agree cuts a file with each strategy and compares the chunks with those that probe
// finds and draws.
func agree(t *testing.T, name string, o chunk.Options) {
	t.Helper()
	r, err := Run(t.Context(), name, Config{Picture: true, Cut: o})
	if err != nil {
		t.Fatal(err)
	}
	lanes := parseSVG(t, draw(t, r))
	for i := range r.Strategies {
		s := &r.Strategies[i]
		dir := filepath.Join(t.TempDir(), s.Name)
		policy, err := chunk.Parse(s.Name, o)
		if err != nil {
			t.Fatal(err)
		}
		report, err := cut.Run(t.Context(), cut.Config{Input: name, Dir: dir, Policy: policy})
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "chunks.json"))
		if err != nil {
			t.Fatal(err)
		}
		var want []cutEntry
		if err := json.Unmarshal(b, &want); err != nil {
			t.Fatal(err)
		}
		var got []cutEntry
		for _, c := range s.list {
			got = append(got, cutEntry{c.tb.String(), c.start, c.dur, c.packets, c.bytes, c.independent, c.why.String()})
		}
		if len(report.LeftOut) > 0 { // chunks.json counts what is in the files
			for i := range got {
				got[i].Packets, got[i].Bytes = 0, 0
			}
			for i := range want {
				want[i].Packets, want[i].Bytes = 0, 0
			}
		}
		if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
			t.Errorf("%s: probe says\n%s\ncut made\n%s", s.Name, g, w)
		}
		if len(s.list) <= maxBoxes {
			checkLane(t, r, s, lanes[s.Name])
		}
	}
}

// What is drawn is what cut really does with the same parameters.
func TestDrawnChunksAreThoseOfCut(t *testing.T) {
	change := []avtest.Spec{
		{Video: avtest.Video{Frames: 190, B: 2, GOPs: []int{40, 7}}, Audio: avtest.Audio{Frames: 350}},
		{Video: avtest.Video{Frames: 130, Width: 640, Height: 352, GOPs: []int{33}}, Audio: avtest.Audio{Frames: 240}, Start: 8 * time.Second},
	}
	slow := stream
	slow.Video.Frames, slow.Video.KeySize = 400, 30_000
	for name, o := range map[string]chunk.Options{
		"defaults": {},
		"own":      {Target: 700 * time.Millisecond, MaxBytes: 64 << 10, MinGOP: 3, MaxGOP: 30},
	} {
		t.Run(name, func(t *testing.T) {
			agree(t, writeTS(t, "open.ts", slow), o)
			agree(t, writeTS(t, "change.ts", change...), o)
			agree(t, writeTS(t, "sound.ts", avtest.Spec{Audio: avtest.Audio{Frames: 400}}), o)
			agree(t, ffmpeg(t, "made.mp4", lavfi+"-t 6 -c:v libx264 -preset ultrafast -bf 2 -g 33 -c:a aac"), o)
		})
	}
}

// The same for real files, those that are small.
func TestDrawnChunksOfRealFilesAreThoseOfCut(t *testing.T) {
	for _, row := range readable(t, 700_000) {
		t.Run(row["path"], func(t *testing.T) {
			r, err := Run(t.Context(), row["file"], Config{})
			if err != nil || len(r.Strategies) == 0 {
				t.Skip("cannot be cut")
			}
			agree(t, row["file"], chunk.Options{Target: time.Second, MaxBytes: 100_000})
		})
	}
}
