// Package judge has programs we did not write judge what cleave cuts.
package judge

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/test/browser"
)

// inputs are media made here, and some of other people.
func inputs(t *testing.T, dir string) map[string]string {
	t.Helper()
	browser.Need(t, "ffmpeg")
	in := map[string]string{}
	for name, args := range map[string]string{
		"bframes.mp4": "-f lavfi -i testsrc2=size=320x180:rate=30000/1001 -f lavfi -i sine=sample_rate=48000 -t 6 -c:v libx264 -preset ultrafast -bf 2 -g 30 -pix_fmt yuv420p -c:a aac",
		"uneven.ts":   "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=44100 -t 6 -c:v libx264 -preset ultrafast -bf 3 -g 40 -force_key_frames 1.2,3.4,3.8 -pix_fmt yuv420p -c:a aac",
		"simple.flv":  "-f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=44100 -t 6 -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac",
	} {
		in[name] = filepath.Join(dir, name)
		if out, err := exec.Command("ffmpeg", strings.Fields("-v error -nostdin "+args+" "+in[name])...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", name, err, out)
		}
	}
	if media := os.Getenv("CLEAVE_MEDIA"); media != "" {
		for _, name := range []string{"mp4/h264_bpyramid_gop30.mp4", "ts/pat_pmt_in_middle.ts", "flv/bbb_irregular_gop.flv"} {
			if _, err := os.Stat(filepath.Join(media, name)); err != nil {
				t.Fatal(err)
			}
			in[filepath.Base(name)] = filepath.Join(media, name)
		}
	} else {
		t.Log("CLEAVE_MEDIA is not set: only media made here are judged")
	}
	return in
}

// output is one cut below dir.
type output struct {
	name string // folder
	cut.Container
	report *cut.Report
}

func cutAll(t *testing.T, dir string) []output {
	t.Helper()
	var out []output
	for name, path := range inputs(t, t.TempDir()) {
		for _, c := range []cut.Container{cut.CMAF, cut.TS} {
			for strategy, policy := range map[string]chunk.Policy{
				"keyframe": chunk.Keyframe{Target: 2 * time.Second},
				"fixed":    chunk.Fixed{Target: 1500 * time.Millisecond},
			} {
				o := output{name: fmt.Sprintf("%s-%s-%s", strings.ReplaceAll(name, ".", "-"), c, strategy), Container: c}
				var err error
				o.report, err = cut.Run(t.Context(), cut.Config{Input: path, Dir: filepath.Join(dir, o.name), Policy: policy, Container: c})
				if err != nil {
					t.Fatalf("%s: %v", o.name, err)
				}
				out = append(out, o)
			}
		}
	}
	return out
}

// TestJudges cuts once and lets each judge look at all of it.
func TestJudges(t *testing.T) {
	dir := t.TempDir()
	outputs := cutAll(t, dir)
	t.Run("hls-parser", func(t *testing.T) { playlists(t, dir) })
	t.Run("schema", func(t *testing.T) { schema(t, dir) })
	t.Run("ffprobe", func(t *testing.T) { ffprobe(t, dir) })
	t.Run("segments", func(t *testing.T) { segments(t, dir) })
	t.Run("players", func(t *testing.T) { players(t, dir, outputs) })
}

func glob(t *testing.T, pattern ...string) []string {
	t.Helper()
	l, err := filepath.Glob(filepath.Join(pattern...))
	if err != nil || len(l) == 0 {
		t.Fatal(pattern, l, err)
	}
	return l
}

func playlists(t *testing.T, dir string) {
	browser.Modules(t)
	names := append(glob(t, dir, "*", "*.m3u8"), glob(t, dir, "*", "*", "*.m3u8")...)
	cmd := exec.Command(browser.Need(t, "node"), append([]string{filepath.Join(browser.Dir(), "playlists.js")}, names...)...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 || bytes.Count(out, []byte("\n")) != len(names) {
		t.Errorf("%v: %d of %d playlists\n%s", err, bytes.Count(out, []byte("\n")), len(names), &complaints)
	}
}

// schema needs DASH-MPD.xsd, which no package carries: CLEAVE_DASH_XSD names a copy
// (the file, with xlink.xsd beside it).
func schema(t *testing.T, dir string) {
	xsd := os.Getenv("CLEAVE_DASH_XSD")
	if xsd == "" {
		t.Skip("CLEAVE_DASH_XSD is not set: manifests are not held against the MPD schema")
	}
	args := append([]string{"--noout", "--nonet", "--schema", xsd}, glob(t, dir, "*", "manifest.mpd")...)
	if out, err := exec.Command(browser.Need(t, "xmllint"), args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func ffprobe(t *testing.T, dir string) {
	browser.Need(t, "ffprobe")
	for _, name := range append(glob(t, dir, "*", "index.m3u8"), glob(t, dir, "*", "manifest.mpd")...) {
		out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", name).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("rror")) || bytes.Contains(out, []byte("N/A")) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// players plays outputs to the end in Chromium.
func players(t *testing.T, dir string, outputs []output) {
	b := browser.New(t, dir)
	for _, o := range outputs {
		for _, p := range []struct{ player, file string }{
			{browser.HLS, "index.m3u8"}, {browser.Shaka, "index.m3u8"}, {browser.Shaka, "manifest.mpd"}, {browser.Dash, "manifest.mpd"},
		} {
			if o.Container == cut.TS && p.file == "manifest.mpd" {
				continue
			}
			// Where decode times do not add up with EXTINF to the millisecond, shaka-player
			// resets its parser between HLS segments; then only a key frame helps.
			if p.player == browser.Shaka && p.file == "index.m3u8" && o.report.Independent < o.report.Chunks {
				continue
			}
			t.Run(p.player+"/"+o.name+"/"+p.file, func(t *testing.T) {
				b.Play(t, p.player, o.name+"/"+p.file, o.report.Duration.Seconds(), nil, nil)
			})
		}
	}
}
