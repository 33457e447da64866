// Package judge has programs we did not write judge what cleave cuts.
package judge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
)

func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: its judgement is left out", program)
	}
	return path
}

// modules returns the folder of the node packages, installed if they are not.
func modules(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("node_modules/shaka-player"); err == nil {
		return "node_modules"
	}
	npm := need(t, "npm")
	out, err := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error").CombinedOutput()
	if err != nil {
		if os.Getenv("CLEAVE_MEDIA") != "" {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
		t.Skipf("npm ci: %v: players and hls-parser are left out\n%s", err, out)
	}
	return "node_modules"
}

// inputs are media made here, and some of other people.
func inputs(t *testing.T, dir string) map[string]string {
	t.Helper()
	need(t, "ffmpeg")
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
	modules(t)
	names := append(glob(t, dir, "*", "*.m3u8"), glob(t, dir, "*", "*", "*.m3u8")...)
	cmd := exec.Command(need(t, "node"), append([]string{"playlists.js"}, names...)...)
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
	if out, err := exec.Command(need(t, "xmllint"), args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func ffprobe(t *testing.T, dir string) {
	need(t, "ffprobe")
	for _, name := range append(glob(t, dir, "*", "index.m3u8"), glob(t, dir, "*", "manifest.mpd")...) {
		out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", name).CombinedOutput()
		if err != nil || bytes.Contains(out, []byte("rror")) || bytes.Contains(out, []byte("N/A")) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// played is what the page says at the end.
type played struct {
	Faults         []string
	Jumps          []float64 // where the player went on after it jumped over a gap
	Time, Duration float64
	Ranges         [][2]float64
	Frames, Width  int
}

// lateStart is how long after 0 a player may begin: as far as one track of the
// source begins after the other, or is decoded before it is shown.
const lateStart = 0.15

// players plays outputs to the end in Chromium.
func players(t *testing.T, dir string, outputs []output) {
	node := modules(t)
	scripts := map[string]string{
		"hls": "hls.js/dist/hls.js", "shaka": "shaka-player/dist/shaka-player.compiled.js", "dash": "dashjs/dist/modern/umd/dash.all.debug.js",
	}
	mux := http.NewServeMux()
	mux.Handle("/media/", http.StripPrefix("/media/", http.FileServer(http.Dir(dir))))
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "page.html") })
	for player, script := range scripts {
		mux.HandleFunc("/player/"+player+".js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(node, script)) })
	}
	s := httptest.NewServer(mux)
	defer s.Close()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(need(t, "chromium")), chromedp.NoSandbox,
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	defer cancel()
	ctx, cancel = chromedp.NewContext(ctx)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	for _, o := range outputs {
		for _, p := range []struct{ player, file string }{{"hls", "index.m3u8"}, {"shaka", "index.m3u8"}, {"shaka", "manifest.mpd"}, {"dash", "manifest.mpd"}} {
			if o.Container == cut.TS && p.file == "manifest.mpd" {
				continue
			}
			// Where decode times do not add up with EXTINF to the millisecond, shaka-player
			// resets its parser between HLS segments; then only a key frame helps.
			if p.player == "shaka" && p.file == "index.m3u8" && o.report.Independent < o.report.Chunks {
				continue
			}
			t.Run(p.player+"/"+o.name+"/"+p.file, func(t *testing.T) {
				play(t, ctx, fmt.Sprintf("%s/page?player=%s&src=/media/%s/%s", s.URL, p.player, o.name, p.file), o)
			})
		}
	}
}

func play(t *testing.T, ctx context.Context, address string, o output) {
	t.Helper()
	tab, cancel := chromedp.NewContext(ctx)
	defer cancel()
	tab, cancel = context.WithTimeout(tab, time.Minute)
	defer cancel()
	if _, err := chromedp.Run(tab, chromedp.Navigate(address)); err != nil {
		t.Fatal(err)
	}
	_, perr := chromedp.Run(tab, chromedp.Poll[bool]("state.ended || state.faults.length > 0 || video.currentTime >= video.duration",
		chromedp.WithPollingTimeout(40*time.Second), chromedp.WithPollingInterval(100*time.Millisecond)))
	text, err := chromedp.Run(tab, chromedp.Evaluate[string]("result()"))
	if err != nil {
		t.Fatal(err)
	}
	var r played
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	want := o.report.Duration.Seconds()
	switch {
	case perr != nil || len(r.Faults) > 0:
		t.Errorf("%v: %s", perr, text)
	case len(r.Ranges) != 1 || r.Ranges[0][0] > lateStart:
		t.Errorf("the buffer has gaps: %s", text)
	case slices.ContainsFunc(r.Jumps, func(to float64) bool { return to > r.Ranges[0][0]+lateStart }):
		t.Errorf("the player jumped: %s", text)
	case r.Duration < want-0.1 || r.Duration > want+0.2 || r.Time < r.Duration-0.1:
		t.Errorf("%g s long, the cut %g: %s", r.Duration, want, text)
	case r.Frames == 0 || r.Width == 0:
		t.Errorf("no picture: %s", text)
	}
}
