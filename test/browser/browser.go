// Package browser plays what cleave writes in players we did not write, in headless
// Chromium, for tests.
package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Need returns the path of a program, or skips the test and says what is left out.
func Need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: its judgement is left out", program)
	}
	return path
}

// Dir is the folder of this package, where the node packages are.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// Modules returns the folder of the node packages, installed if they are not as
// package-lock.json says. If they cannot be had it skips the test; where the real media
// is, as in continuous integration, it fails it.
func Modules(t *testing.T) string {
	t.Helper()
	Need(t, "npm")
	dir, err := Install()
	if err != nil {
		if os.Getenv("CLEAVE_MEDIA") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v: players and hls-parser are left out", err)
	}
	return dir
}

// NeedScript returns if the server at url has the hls.js that its pages play with. One that
// was built without it skips the test; where the real media is, as in continuous
// integration, it fails it.
func NeedScript(t *testing.T, url string) {
	t.Helper()
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Get(url + "/hls.min.js")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	switch {
	case res.StatusCode == http.StatusOK:
	case os.Getenv("CLEAVE_MEDIA") != "":
		t.Fatal("built without hls.js (web/fetch.sh): no page is played")
	default:
		t.Skip("built without hls.js: no page is played")
	}
}

// Install returns the folder of the node packages, installed by npm if they are not as
// package-lock.json says.
func Install() (dir string, err error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", err
	}
	if out, err := install(npm, Dir()); err != nil {
		return "", fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return filepath.Join(Dir(), "node_modules"), nil
}

// install makes dir's node_modules what its package-lock.json says, unless they are
// already. The tests of several packages run at the same time, each a process: one of
// them installs while it has the lock on that file, and the others wait for it.
func install(npm, dir string) (output []byte, err error) {
	lock, err := os.Open(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	want, err := io.ReadAll(lock)
	if err != nil {
		return nil, err
	}
	installed := filepath.Join(dir, "node_modules", ".installed.json") // a copy of the lock file, written at the end
	if have, err := os.ReadFile(installed); err == nil && bytes.Equal(have, want) {
		return nil, nil
	}
	cmd := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return out, err
	}
	return nil, os.WriteFile(installed, want, 0o644)
}

// The players: names for Play.
const (
	HLS    = "hls"    // hls.js
	Shaka  = "shaka"  // shaka-player
	Dash   = "dash"   // dash.js
	Mpegts = "mpegts" // mpegts.js: FLV and TS, by HTTP and WebSocket, live only
	Native = "native" // the browser itself: MP4 by HTTP, live only
)

var scripts = map[string]string{
	HLS: "hls.js/dist/hls.js", Shaka: "shaka-player/dist/shaka-player.compiled.js", Dash: "dashjs/dist/modern/umd/dash.all.debug.js",
	Mpegts: "mpegts.js/dist/mpegts.js",
}

// Browser is Chromium with the players and what they shall play.
type Browser struct {
	URL string // of the server: media lie below /media/
	ctx context.Context
}

// New serves the folder media and starts Chromium, until the test ends.
func New(t *testing.T, media string) *Browser {
	t.Helper()
	node := Modules(t)
	mux := http.NewServeMux()
	mux.Handle("/media/", http.StripPrefix("/media/", http.FileServer(http.Dir(media)))) // it answers POST, too
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(Dir(), "page.html")) })
	mux.HandleFunc("/live", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(Dir(), "live.html")) })
	for player, script := range scripts {
		mux.HandleFunc("/player/"+player+".js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, filepath.Join(node, script)) })
	}
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	ctx, stop := Start(t, 10*time.Minute, Autoplay)
	t.Cleanup(stop)
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	return &Browser{URL: s.URL, ctx: ctx}
}

// Autoplay lets pages play without a click.
var Autoplay = chromedp.Flag("autoplay-policy", "no-user-gesture-required")

// Start starts Chromium, which ends with stop, or after limit; it skips the test if there
// is none.
func Start(t *testing.T, limit time.Duration, more ...chromedp.ExecAllocatorOption) (tab context.Context, stop func()) {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(Need(t, "chromium")), chromedp.NoSandbox)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	ctx, stopAllocator := chromedp.NewExecAllocator(ctx, append(opts, more...)...)
	tab, stopBrowser := chromedp.NewContext(ctx)
	return tab, func() { stopBrowser(); stopAllocator(); cancel() }
}

// Played is what the page says at the end.
type Played struct {
	Ended          bool // the video says so; dash.js may then have gone elsewhere
	Faults         []string
	Jumps          []float64 // where the player went on after it jumped over a gap
	Keys           bool      // a module of the browser decrypted
	Time, Duration float64
	Ranges         [][2]float64 // buffered at the end
	Frames, Width  int
}

// LateStart is how long after 0, in seconds, a player may begin: as far as one
// track of the source begins after the other, or is decoded before it is shown.
const LateStart = 0.2

// Play plays src, a path below the media folder, to its end. It fails the test if
// anything went wrong, if there was a gap, or if it did not last about want seconds.
// query are further parameters of the page: see there. after is called with the
// page still open, if it is not nil.
func (b *Browser) Play(t *testing.T, player, src string, want float64, query url.Values, after func(tab context.Context)) (r Played) {
	t.Helper()
	all := url.Values{"player": {player}, "src": {"/media/" + src}}
	for k, v := range query {
		all[k] = v
	}
	tab, close := b.load(t, all)
	defer func() { close() }()
	r, perr := outcome(t, tab)
	// On a busy machine Chromium's clock may stand still for good with all in the buffer.
	if perr != nil && len(r.Faults) == 0 && len(r.Ranges) == 1 && r.Ranges[0][1] >= r.Duration-0.2 {
		t.Logf("the browser stands still with everything buffered, and is tried once more: %+v", r)
		close()
		tab, close = b.load(t, all)
		r, perr = outcome(t, tab)
	}
	switch {
	case perr != nil || len(r.Faults) > 0:
		t.Fatalf("%v: %+v", perr, r)
	case len(r.Ranges) != 1 || r.Ranges[0][0] > LateStart:
		t.Errorf("the buffer has gaps: %+v", r)
	case slices.ContainsFunc(r.Jumps, func(to float64) bool { return to > r.Ranges[0][0]+LateStart }):
		t.Errorf("the player jumped: %+v", r)
	case r.Duration < want-0.2 || r.Duration > want+0.2 || !r.Ended && r.Time < r.Duration-0.2:
		t.Errorf("%g s long, should be %g: %+v", r.Duration, want, r)
	case r.Frames == 0 || r.Width == 0:
		t.Errorf("no picture: %+v", r)
	}
	if after != nil {
		after(tab)
	}
	return r
}

// load opens the page with a query in a tab of its own, for a minute at most; close
// closes it.
func (b *Browser) load(t *testing.T, query url.Values) (tab context.Context, close func()) {
	t.Helper()
	tab, closeTab := chromedp.NewContext(b.ctx)
	tab, cancel := context.WithTimeout(tab, time.Minute)
	close = func() { cancel(); closeTab() }
	if _, err := chromedp.Run(tab, chromedp.Navigate(b.URL+"/page?"+query.Encode())); err != nil {
		close()
		t.Fatal(err)
	}
	return tab, close
}

// outcome waits until the page has played to the end or failed; err says that it did
// neither in time.
func outcome(t *testing.T, tab context.Context) (r Played, err error) {
	t.Helper()
	_, err = chromedp.Run(tab, chromedp.Poll[bool]("over()",
		chromedp.WithPollingTimeout(40*time.Second), chromedp.WithPollingInterval(100*time.Millisecond)))
	text, rerr := chromedp.Run(tab, chromedp.Evaluate[string]("result()"))
	if rerr == nil {
		rerr = json.Unmarshal([]byte(text), &r)
	}
	if rerr != nil {
		t.Fatal(err, rerr)
	}
	return r, err
}

// Screenshot saves a page for people to look at, if CLEAVE_SCREENSHOTS names a folder.
func Screenshot(tab context.Context, t *testing.T, name string) {
	t.Helper()
	dir := os.Getenv("CLEAVE_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(tab, chromedp.FullScreenshot(100))
	if err != nil {
		t.Log(err)
		return
	}
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o600); err != nil {
		t.Error(err)
	}
}
