package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/seal"
)

// modules returns the folder of the node packages, installed if they are not.
func modules(t *testing.T) string {
	t.Helper()
	if _, err := os.Stat("node_modules/shaka-player"); err == nil {
		return "node_modules"
	}
	out, err := exec.Command(need(t, "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error").CombinedOutput()
	if err != nil {
		t.Skipf("npm ci: %v: players are left out\n%s", err, out)
	}
	return "node_modules"
}

// played is what the page says at the end.
type played struct {
	Ended, Keys    bool
	Faults         []string
	Jumps          []float64
	Time, Duration float64
	Ranges         [][2]float64
	Frames         int

	pictures []image.Image
}

// browser is Chromium with the players and what they shall play.
type browser struct {
	ctx context.Context
	url string
}

func newBrowser(t *testing.T, media string) *browser {
	t.Helper()
	node := modules(t)
	scripts := map[string]string{"hls": "hls.js/dist/hls.js", "shaka": "shaka-player/dist/shaka-player.compiled.js"}
	mux := http.NewServeMux()
	mux.Handle("/media/", http.StripPrefix("/media/", http.FileServer(http.Dir(media)))) // it answers POST, too
	for player, script := range scripts {
		mux.HandleFunc("/"+player+"/{$}", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "page.html") })
		mux.HandleFunc("/"+player+"/player.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(node, script)) })
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(need(t, "chromium")), chromedp.NoSandbox,
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return &browser{ctx, s.URL}
}

// lateStart is how far from 0 the first picture may be: so long B pictures delay it.
const lateStart = 0.2

// play plays to the end.
func (b *browser) play(t *testing.T, player, src string, query url.Values) (r played) {
	t.Helper()
	tab, cancel := chromedp.NewContext(b.ctx)
	defer cancel()
	tab, cancel = context.WithTimeout(tab, time.Minute)
	defer cancel()
	query.Set("src", "/media/"+src)
	if _, err := chromedp.Run(tab, chromedp.Navigate(b.url+"/"+player+"/?"+query.Encode())); err != nil {
		t.Fatal(err)
	}
	_, perr := chromedp.Run(tab, chromedp.Poll[bool]("state.ended || state.faults.length > 0",
		chromedp.WithPollingTimeout(40*time.Second), chromedp.WithPollingInterval(100*time.Millisecond)))
	text, err := chromedp.Run(tab, chromedp.Evaluate[string]("result()"))
	if err != nil {
		t.Fatal(perr, err)
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	switch {
	case perr != nil || len(r.Faults) > 0 || !r.Ended:
		t.Fatalf("%s: %v %+v", src, perr, r)
	case len(r.Ranges) != 1 || slices.ContainsFunc(r.Jumps, func(to float64) bool { return to > lateStart }) || r.Time < r.Duration-0.2 || math.Abs(r.Duration-mediaLength) > 0.2:
		t.Errorf("%s: it has gaps: %+v", src, r)
	}
	for _, at := range []float64{2.05, 4.05, 6.05} { // in the middle of frames, however the first is shifted
		if _, err := chromedp.Run(tab, chromedp.Evaluate[any](fmt.Sprintf("show(%v)", at), chromedp.EvalAwaitPromise)); err != nil {
			t.Fatal(err)
		}
		shot, err := chromedp.Run(tab, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(shot))
		if err != nil {
			t.Fatal(err)
		}
		r.pictures = append(r.pictures, img)
		if folder := os.Getenv("CLEAVE_SCREENSHOTS"); folder != "" {
			name := fmt.Sprintf("%s-%s-%v.png", player, strings.ReplaceAll(src, "/", "-"), at)
			if err := os.WriteFile(filepath.Join(folder, name), shot, 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	return r
}

// same compares what was on the screen: the same decoder has made it of what
// should be the same frames.
func same(t *testing.T, want, got played) {
	t.Helper()
	for i := range want.pictures {
		if n := different(want.pictures[i], got.pictures[i]); n != 0 {
			t.Errorf("picture %d: %d pixels are other than in the clear", i, n)
		}
	}
}

func different(a, b image.Image) (n int) {
	if a.Bounds() != b.Bounds() {
		return -1
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				n++
			}
		}
	}
	return n
}

// TestPlayers: encrypted outputs play to the end without a gap, and show what the
// clear one shows.
func TestPlayers(t *testing.T) {
	dir := t.TempDir()
	input := made(t, h264Args)
	b := newBrowser(t, dir)
	run := func(name string, e cut.Encryption, c cut.Container) *cut.Report {
		return cutTo(t, input, filepath.Join(dir, name), e, c)
	}
	run("clear", cut.Encryption{}, cut.CMAF)
	keys := testKeys(8)
	for _, s := range []seal.Scheme{seal.AES128, seal.CBCS, seal.CENC} {
		one, many := cut.Encryption{Scheme: s}, cut.Encryption{Scheme: s, Keys: keys, Rotation: 1}
		if s != seal.AES128 {
			one.LicenseURL = fmt.Sprintf("%s/media/%s/keys/clearkey.json", b.url, s)
			many.LicenseURL = fmt.Sprintf("%s/media/%s-rotated/keys/clearkey.json", b.url, s)
		}
		run(string(s), one, cut.CMAF)
		run(string(s)+"-rotated", many, cut.CMAF)
	}
	run("clear-ts", cut.Encryption{}, cut.TS)
	run("aes-128-ts", cut.Encryption{Scheme: seal.AES128, Rotation: 1}, cut.TS)
	reference := map[string]played{}
	for _, r := range [][2]string{{"hls", "index.m3u8"}, {"shaka", "index.m3u8"}, {"shaka", "manifest.mpd"}} {
		reference[r[0]+r[1]] = b.play(t, r[0], "clear/"+r[1], url.Values{})
	}
	// In TS hls.js counts from the first decode time: pictures are shown a little later.
	reference["hls aes-128-ts"] = b.play(t, "hls", "clear-ts/index.m3u8", url.Values{})
	if different(reference["shakaindex.m3u8"].pictures[0], reference["shakaindex.m3u8"].pictures[1]) == 0 {
		t.Fatal("nothing moves: pictures cannot be told apart")
	}
	clearKeys := map[string]string{}
	for i := range keys {
		clearKeys[keys[i].Name()] = fmt.Sprintf("%x", keys[i].Key)
	}
	given, err := json.Marshal(clearKeys)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		player, src string
		query       url.Values
		eme         bool
	}{
		{"hls", "aes-128/index.m3u8", url.Values{}, false},
		{"hls", "aes-128-rotated/index.m3u8", url.Values{}, false},
		{"hls", "aes-128-ts/index.m3u8", url.Values{}, false},
		{"shaka", "aes-128/index.m3u8", url.Values{}, false},
		{"shaka", "aes-128-rotated/index.m3u8", url.Values{}, false},
		{"shaka", "cbcs/index.m3u8", url.Values{}, true},
		{"shaka", "cenc/index.m3u8", url.Values{}, true},
		{"shaka", "cbcs/manifest.mpd", url.Values{}, true},
		{"shaka", "cenc/manifest.mpd", url.Values{}, true},
		{"shaka", "cbcs-rotated/manifest.mpd", url.Values{}, true},
		{"shaka", "cenc-rotated/manifest.mpd", url.Values{}, true},
		{"shaka", "cbcs-rotated/index.m3u8", url.Values{"keys": {string(given)}}, true},
		{"shaka", "cenc-rotated/index.m3u8", url.Values{"keys": {string(given)}}, true},
	} {
		t.Run(test.player+"/"+test.src, func(t *testing.T) {
			r := b.play(t, test.player, test.src, test.query)
			if r.Keys != test.eme {
				t.Errorf("a module for decryption: %v, want %v", r.Keys, test.eme)
			}
			want, own := reference[test.player+" "+path.Dir(test.src)]
			if !own {
				want = reference[test.player+path.Base(test.src)]
			}
			same(t, want, r)
		})
	}
}
