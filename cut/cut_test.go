package cut

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/chunk"
)

// made is a file of 6 s with a key frame each second, by ffmpeg.
func made(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: cut is not tested on a made file")
	}
	name := filepath.Join(t.TempDir(), "made.mp4")
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=size=192x108:rate=25 -f lavfi -i sine=sample_rate=48000 " +
		"-t 6 -c:v libx264 -preset ultrafast -bf 2 -g 25 -sc_threshold 0 -c:a aac -movflags +faststart " + name)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

func config(input, dir string) Config {
	return Config{Input: input, Dir: dir, Policy: chunk.Keyframe{Target: 2 * time.Second}, Target: 2 * time.Second}
}

// Each chunk starts at a key frame, 0 ticks away, and decodes alone.
func TestChunksDecodeAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	r, err := Run(t.Context(), config(made(t), dir))
	if err != nil {
		t.Fatal(err)
	}
	if r.Chunks != 3 || r.Independent != 3 || r.Broken != nil || r.Dropped != 0 {
		t.Errorf("%+v", r)
	}
	b, err := os.ReadFile(filepath.Join(dir, indexName))
	if err != nil {
		t.Fatal(err)
	}
	var entries []indexEntry
	if err := json.Unmarshal(b, &entries); err != nil {
		t.Fatal(err)
	}
	header, err := os.ReadFile(filepath.Join(dir, "video0/init.mp4"))
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range entries {
		if len(e.Keyframes) != 2 || e.Keyframes[0] != e.Start || !e.Independent {
			t.Errorf("chunk %d: %+v", i, e)
		}
		segment, err := os.ReadFile(filepath.Join(dir, e.Files[0]))
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("ffmpeg", "-v", "error", "-i", "-", "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-")
		cmd.Stdin = bytes.NewReader(append(bytes.Clone(header), segment...))
		var complaints bytes.Buffer
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if err != nil || complaints.Len() > 0 || strings.Count(string(out), "\n0,") != 50 {
			t.Errorf("chunk %d alone: %v %s: %d pictures", i, err, &complaints, strings.Count(string(out), "\n0,"))
		}
	}
	for _, manifest := range []string{"index.m3u8", "manifest.mpd"} {
		out, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-i", filepath.Join(dir, manifest), "-f", "null", "-").CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v %s", manifest, err, out)
		}
	}
}

// TestTimesAreTheSource: reordered pictures are decoded before 0 in the source, and
// in the output, too: an edit list leaves room for that, nothing is moved.
func TestTimesAreTheSource(t *testing.T) {
	input, dir := filepath.Join(t.TempDir(), "video.mp4"), filepath.Join(t.TempDir(), "out")
	if out, err := exec.Command("ffmpeg", "-v", "error", "-i", made(t), "-c", "copy", "-an", input).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := Run(t.Context(), config(input, dir)); err != nil {
		t.Fatal(err)
	}
	times := func(name string) string {
		out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time,dts_time", "-of", "csv=p=0", name).Output()
		if err != nil {
			t.Fatal(name, err)
		}
		return string(out)
	}
	want := times(input)
	if !strings.HasPrefix(want, "0.000000,-0.080000\n") {
		t.Fatalf("the source begins otherwise: %.30s", want)
	}
	for _, name := range []string{"index.m3u8", "manifest.mpd"} {
		if got := times(filepath.Join(dir, name)); got != want {
			t.Errorf("%s: %.60s", name, got)
		}
	}
}

// TestReportJSON: programs get seconds and names that stay.
func TestReportJSON(t *testing.T) {
	b, err := json.Marshal(&Report{Dir: "d", Chunks: 2, Duration: 3500 * time.Millisecond, Broken: errors.New("cut short")})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if got["dir"] != "d" || got["chunks"] != 2.0 || got["duration"] != 3.5 || got["broken"] != "cut short" {
		t.Errorf("%s", b)
	}
}

func TestOutputIsNotOverwritten(t *testing.T) {
	input, dir := made(t), filepath.Join(t.TempDir(), "out")
	if _, err := Run(t.Context(), config(input, dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), config(input, dir)); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("a second cut: %v", err)
	}
	c := config(input, dir)
	c.Force = true
	if _, err := Run(t.Context(), c); err != nil {
		t.Error(err)
	}
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "diary.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Dir = foreign
	if _, err := Run(t.Context(), c); err == nil {
		t.Error("a folder of other files was replaced")
	}
}

// An input that breaks off keeps what came before; one that is nothing leaves nothing.
func TestBrokenInput(t *testing.T) {
	input := made(t)
	whole, err := os.ReadFile(input)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	half := filepath.Join(dir, "half.mp4")
	if err := os.WriteFile(half, whole[:len(whole)*3/4], 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), config(half, filepath.Join(dir, "half")))
	if err != nil || r.Broken == nil || r.Chunks == 0 {
		t.Errorf("%+v %v", r, err)
	}
	if err := os.WriteFile(half, whole[:100], 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), config(half, filepath.Join(dir, "none"))); err == nil {
		t.Error("an input of 100 bytes was cut")
	}
	if _, err := os.Stat(filepath.Join(dir, "none.partial")); !errors.Is(err, os.ErrNotExist) {
		t.Error("something was left:", err)
	}
}

func TestCancelLeavesNothing(t *testing.T) {
	input, dir := made(t), filepath.Join(t.TempDir(), "out")
	ctx, cancel := context.WithCancel(t.Context())
	c := config(input, dir)
	c.Progress = func(int64, int64) { cancel() }
	if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for _, name := range []string{dir, dir + ".partial"} {
		if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
			t.Error(name, "was left:", err)
		}
	}
}

// chunks.json counts what is in the files, not what the container cannot carry.
func TestLeftOutIsNotCounted(t *testing.T) {
	dir := t.TempDir()
	text, input := filepath.Join(dir, "a.srt"), filepath.Join(dir, "a.mp4")
	if err := os.WriteFile(text, []byte("1\n00:00:00,500 --> 00:00:01,500\nHello\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"-v", "error", "-nostdin", "-i", made(t), "-i", text, "-map", "0", "-map", "1", "-c", "copy", "-c:s", "mov_text", input}
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	whole, err := Run(t.Context(), config(made(t), filepath.Join(dir, "whole")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), config(input, filepath.Join(dir, "out")))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.LeftOut) != 1 || r.Packets != whole.Packets {
		t.Errorf("%d packets, %d without the track that is left out: %v", r.Packets, whole.Packets, r.LeftOut)
	}
}

// Cuts are at the lead's key frames; the playlist of a second video track whose
// segments begin elsewhere does not promise that they decode alone.
func TestSecondVideoTrack(t *testing.T) {
	first, dir := made(t), t.TempDir()
	second, input := filepath.Join(dir, "b.mp4"), filepath.Join(dir, "ab.mp4")
	for _, args := range []string{
		"-f lavfi -i testsrc2=size=96x64:rate=25 -t 6 -c:v libx264 -preset ultrafast -g 33 " + second,
		"-i " + first + " -i " + second + " -map 0:v -map 1:v -c copy " + input,
	} {
		if out, err := exec.Command("ffmpeg", strings.Fields("-v error -nostdin "+args)...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	out := filepath.Join(dir, "out")
	if _, err := Run(t.Context(), config(input, out)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"video0/index.m3u8": true, "video1/index.m3u8": false, "index.m3u8": false} {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Contains(b, []byte("EXT-X-INDEPENDENT-SEGMENTS")); got != want {
			t.Errorf("%s: independent segments %v, want %v", name, got, want)
		}
	}
}
