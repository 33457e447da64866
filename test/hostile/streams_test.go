package hostile

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
)

// streams are legal, and awkward: what becomes of them is told by the report.
var streams = []struct {
	name, args string
	container  cut.Container
	chunks     int // made of it, with a target of 1 s
	alone      int // of them independent
	reason     string
	dropped    int
}{
	// Intra refresh: recovery points, none of them a whole picture. HOSTILE 21
	{"refresh.ts", "-f lavfi -i testsrc2=size=96x64:rate=25 -t 4 -c:v libx264 -preset ultrafast -x264-params keyint=25:intra-refresh=1:bframes=0 -f mpegts", cut.CMAF, 4, 1, "grid", 0},
	// A key frame every frame: chunks keep their length. HOSTILE 24
	{"intra.mp4", "-f lavfi -i testsrc2=size=96x64:rate=25 -t 4 -c:v libx264 -preset ultrafast -g 1", cut.CMAF, 4, 4, "grid", 0},
	// A key frame in ten minutes: cut inside the GOP at the bound. HOSTILE 25
	{"endless.mp4", "-f lavfi -i testsrc2=size=96x64:rate=2 -t 150 -c:v libx264 -preset ultrafast -g 100000 -keyint_min 100000 -sc_threshold 0 -bf 0", cut.CMAF, 3, 1, "max_duration", 0},
	// A thousand frames a second, and one in ten. HOSTILE 33
	{"fast.mp4", "-f lavfi -i testsrc2=size=32x32:rate=1000 -t 2 -c:v libx264 -preset ultrafast -g 500", cut.CMAF, 2, 2, "grid", 0},
	{"slow.mp4", "-f lavfi -i testsrc2=size=32x32:rate=0.1 -t 100 -c:v libx264 -preset ultrafast -g 2 -bf 0", cut.CMAF, 5, 5, "grid", 0},
	// Sound alone, pictures alone, sound that is late. HOSTILE 34
	{"sound.ts", "-f lavfi -i sine=sample_rate=48000 -t 4 -c:a aac -f mpegts", cut.TS, 4, 4, "grid", 0},
	{"late.ts", "-f lavfi -i testsrc2=size=96x64:rate=25:duration=6 -itsoffset 4 -f lavfi -i sine=sample_rate=48000:duration=2 -map 0 -map 1 -c:v libx264 -preset ultrafast -g 25 -c:a aac -f mpegts", cut.CMAF, 6, 6, "grid", 0},
}

// TestStreams: awkward streams are cut within the bounds, and the report says what
// is not as wished.
func TestStreams(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: awkward streams are not cut")
	}
	for _, s := range streams {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			name := filepath.Join(t.TempDir(), s.name)
			args := strings.Fields("-v error -nostdin " + s.args + " " + name)
			if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
				t.Fatalf("%v %s", err, out)
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			r, err := cut.Run(ctx, cut.Config{
				Input: name, Dir: filepath.Join(t.TempDir(), "out"), Container: s.container, Policy: chunk.Keyframe{Target: time.Second}, Target: time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Chunks < s.chunks || r.Chunks > s.chunks+1 || r.Independent < s.alone || r.Independent > s.alone+1 || r.Cuts[s.reason] == 0 || r.Dropped != s.dropped {
				t.Errorf("%d chunks, %d independent, ended by %v, %d dropped; want %+v", r.Chunks, r.Independent, r.Cuts, r.Dropped, s)
			}
			if r.Longest > 61*time.Second {
				t.Errorf("the longest chunk is %v", r.Longest)
			}
		})
	}
}
