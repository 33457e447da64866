package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestRuns(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: the example is compiled but not run")
	}
	name := filepath.Join(t.TempDir(), "made.mp4")
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=size=64x64:rate=25 -t 6 -c:v libx264 -preset ultrafast -g 25 " + name)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command("go", "run", ".", name).CombinedOutput()
	if err != nil || strings.Count(string(out), "frames") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
}
