package cut

import (
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
)

// encoded is a file of 8 s of pictures, made with arguments of ffmpeg, and sound.
func encoded(t *testing.T, name string, args string) string {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: advice is left out")
	}
	path := filepath.Join(t.TempDir(), name)
	line := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=s=160x90:r=25:d=8 -f lavfi -i sine=d=8 -pix_fmt yuv420p " + args + " -c:a aac " + path)
	if out, err := exec.Command(ffmpeg, line...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return path
}

// TestAdvice: where key frames do not allow the target, the report says so, and what to do.
func TestAdvice(t *testing.T) {
	two := encoded(t, "two.mp4", "-c:v libx264 -preset ultrafast -bf 2 -g 50 -keyint_min 50 -sc_threshold 0")
	one := encoded(t, "one.mp4", "-c:v libx264 -preset ultrafast -g 999 -keyint_min 999 -sc_threshold 0")
	for name, test := range map[string]struct {
		input  string
		target time.Duration
		fixed  bool
		want   string
	}{
		"GOPs as long as the target":       {two, 2 * time.Second, false, ""},
		"a multiple":                       {two, 4 * time.Second, false, ""},
		"GOPs that do not add up to it":    {two, 3 * time.Second, false, "no multiple of the GOP, which is up to 2.000 s"},
		"longer GOPs":                      {two, time.Second, false, "GOP is 2.000 s, target 1.000 s"},
		"one GOP":                          {one, 2 * time.Second, false, "GOP is 8.000 s, target 2.000 s"},
		"one GOP, cut where there is none": {one, 2 * time.Second, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(test.input, filepath.Join(t.TempDir(), "out"))
			c.Target, c.Policy = test.target, chunk.Keyframe{Target: test.target}
			if test.fixed {
				c.Policy = chunk.Fixed{Target: test.target}
			}
			r, err := Run(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if (r.Advice == "") != (test.want == "") || !strings.Contains(r.Advice, test.want) {
				t.Errorf("%q, want %q", r.Advice, test.want)
			}
			if d := r.Duration - 8*time.Second; d < -time.Millisecond || d > time.Millisecond {
				t.Errorf("%v in all, of 8 s", r.Duration)
			}
		})
	}
}

// TestLeftOutDoesNotCut: pictures that the container cannot carry do not decide where the
// sound is cut.
func TestLeftOutDoesNotCut(t *testing.T) {
	c := config(encoded(t, "vp9.mp4", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 999"), filepath.Join(t.TempDir(), "out"))
	c.Target, c.Policy, c.Container = 2*time.Second, chunk.Keyframe{Target: 2 * time.Second}, TS
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.LeftOut) != 1 || r.Chunks < 4 || r.Longest > 2100*time.Millisecond || r.Advice != "" || r.Dropped > 0 {
		t.Errorf("%+v", r)
	}
}

// TestNothingCarried: an input of which the container carries nothing to cut by is refused
// with what it has.
func TestNothingCarried(t *testing.T) {
	c := config(encoded(t, "vp9.mp4", "-map 0:v -c:v libvpx-vp9 -deadline realtime -cpu-used 8"), filepath.Join(t.TempDir(), "out"))
	c.Container = TS
	_, err := Run(t.Context(), c)
	if !errors.Is(err, av.ErrUnsupported) || !strings.Contains(err.Error(), "track 0 (video vp9): ts cannot carry it") {
		t.Error(err)
	}
}
