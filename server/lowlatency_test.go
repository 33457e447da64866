package server

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/test/browser"
)

// hls.js plays with low latency: less than 3 s behind, with parts of 200 ms, and by
// the clock that is in the playlists, too.
func TestLowLatencyInBrowser(t *testing.T) {
	need(t, "ffmpeg")
	need(t, "chromium")
	s := start(t, live.Config{})
	browser.NeedScript(t, s.http)
	defer publish(t, s.rtmp+"/live/cam")()
	until(t, s.http+"/live/cam/video0/index.m3u8", "#EXT-X-PART:", "#EXT-X-PRELOAD-HINT")
	ctx, stopBrowser := browser.Start(t, 4*time.Minute, chromedp.WindowSize(1100, 900), browser.Autoplay)
	defer stopBrowser()
	if _, err := chromedp.Run(ctx, chromedp.Navigate(s.http+"/live/cam/")); err != nil {
		t.Fatal(err)
	}
	const played = "video.currentTime > 1 && hls && hls.latency > 0 && hls.latency < 3 && video.getVideoPlaybackQuality().totalVideoFrames > 200"
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](played, chromedp.WithPollingTimeout(3*time.Minute), chromedp.WithPollingInterval(200*time.Millisecond))); err != nil {
		browser.Screenshot(ctx, t, "lowlatency-stuck.png")
		t.Fatal("the page does not play: ", err)
	}
	const measure = "[hls.latency, (Date.now() - hls.playingDate) / 1000, hls.targetLatency, +hls.lowLatencyMode]"
	got, err := chromedp.Run(ctx, chromedp.Evaluate[[]float64](measure))
	if err != nil {
		t.Fatal(err)
	}
	browser.Screenshot(ctx, t, "lowlatency.png")
	t.Logf("hls.js: %.2f s behind the edge, %.2f s behind the clock, aims at %.2f s", got[0], got[1], got[2])
	if got[0] > 3 || got[1] > 3 || got[2] > 1 || got[3] != 1 {
		t.Errorf("hls.js: %v: latency, by the clock, aim, low latency", got)
	}
}

// hls-parser in strict mode takes every playlist of a stream at random moments.
func TestStrictParserTakesPlaylists(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	node := need(t, "node")
	browser.Modules(t)
	s := start(t, live.Config{Window: 20 * time.Second})
	stop := publish(t, s.rtmp+"/live/cam")
	defer func() { stop() }()
	until(t, s.http+"/live/cam/index.m3u8", "RESOLUTION=320x180")
	dir := t.TempDir()
	n := 0
	save := func(url string) {
		if code, body := get(t, url); code == http.StatusOK {
			n++
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.m3u8", n)), []byte(body), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	base := s.http + "/live/cam/"
	for msn := range 14 {
		if msn == 8 { // a discontinuity
			stop()
			stop = publish(t, s.rtmp+"/live/cam")
		}
		for _, rend := range []string{"video0", "audio0"} {
			for part := range 3 {
				save(fmt.Sprintf("%s%s/index.m3u8?_HLS_msn=%d&_HLS_part=%d", base, rend, msn, part*2))
			}
			save(fmt.Sprintf("%s%s/index.m3u8?_HLS_msn=%d&_HLS_skip=YES", base, rend, msn))
		}
		save(base + "video0/iframes.m3u8")
		save(base + "index.m3u8")
	}
	if n < 100 {
		t.Errorf("only %d playlists", n)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.m3u8"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(node, append([]string{filepath.Join(browser.Dir(), "playlists.js")}, files...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, strings.TrimSpace(string(out))[:min(len(out)-1, 6000)])
	}
}
