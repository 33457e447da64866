// Package seal shows by programs we did not write that what cleave encrypts can be
// decrypted to what it was, and played.
package seal

import (
	"bytes"
	"iter"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/test/browser"
)

// mediaLength is how long made media are, in seconds.
const mediaLength = 8

const (
	h264Args = "-c:v libx264 -preset ultrafast -bf 2 -g 25 -sc_threshold 0 -pix_fmt yuv420p"
	h265Args = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=25:bframes=2 -pix_fmt yuv420p"
	vp9Args  = "-c:v libvpx-vp9 -deadline realtime -cpu-used 5 -auto-alt-ref 1 -lag-in-frames 16 -g 25 -b:v 400k -pix_fmt yuv420p"
)

// made is a file by ffmpeg.
func made(t *testing.T, video string) string {
	t.Helper()
	browser.Need(t, "ffmpeg")
	name := filepath.Join(t.TempDir(), "made.mp4")
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=48000 -t 8 " +
		video + " -c:a aac " + name)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// testKeys are keys that nobody need remember.
func testKeys(n int) seal.List {
	l := make(seal.List, n)
	for i := range l {
		for k := range 16 {
			l[i].ID[k], l[i].Key[k], l[i].IV[k] = byte(i*16+k), byte(i*31+k*7+1), byte(i*5+k*11+3)
		}
	}
	return l
}

func cutTo(t *testing.T, input, dir string, e cut.Encryption, c cut.Container) *cut.Report {
	t.Helper()
	r, err := cut.Run(t.Context(), cut.Config{
		Input: input, Dir: dir, Policy: chunk.Keyframe{Target: 2 * time.Second}, Container: c, Encrypt: e,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// frames is ffmpeg's framemd5 of what it decodes, without times. It complains
// about nothing.
func frames(t *testing.T, stdin []byte, args ...string) []string {
	t.Helper()
	sums, complaints, err := decoded(stdin, args...)
	if err != nil || complaints != "" {
		t.Fatalf("ffmpeg %v: %v %s", args, err, complaints)
	}
	return sums
}

func decoded(stdin []byte, args ...string) (sums []string, complaints string, err error) {
	cmd := exec.Command("ffmpeg", append(append([]string{"-v", "error"}, args...), "-fps_mode", "passthrough", "-f", "framemd5", "-")...)
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") {
			sums = append(sums, strings.TrimSpace(line[strings.LastIndex(line, ",")+1:]))
		}
	}
	return sums, errs.String(), err
}

func lines(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for line := range strings.Lines(text) {
			if !yield(strings.TrimSpace(line)) {
				return
			}
		}
	}
}
