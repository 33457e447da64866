package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/test/browser"
)

// running is a server under test.
type running struct {
	http, rtmp, srt, rtsp string
	addrs                 Addrs
	stop                  func()
}

func start(t *testing.T, cfg live.Config) *running {
	t.Helper()
	return startWith(t, Config{Live: cfg})
}

// startWith starts a server on free ports of the loopback.
func startWith(t *testing.T, cfg Config) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	addrs := make(chan Addrs, 1)
	cfg.HTTP, cfg.RTMP, cfg.SRT = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	if cfg.Data == "" {
		cfg.Data = t.TempDir()
	}
	cfg.RTSP, cfg.RTP, cfg.Admin = "127.0.0.1:0", Off, "127.0.0.1:0"
	cfg.HTTPS, cfg.RTMPS, cfg.RTSPS = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Ready = func(a Addrs) { addrs <- a }
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, cfg)
	}()
	r := &running{}
	select {
	case a := <-addrs:
		r.http, r.rtmp, r.srt = "http://"+a.HTTP.String(), "rtmp://"+a.RTMP.String(), "srt://"+a.SRT.String()
		r.addrs = a
		r.rtsp = "rtsp://" + a.RTSP.String()
	case err := <-ended:
		t.Fatal(err)
	}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error("the server ended with", err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

// publish runs ffmpeg with a GOP of one second until stop is called.
func publish(t *testing.T, address string) (stop func()) {
	t.Helper()
	return publishBy(t, "ffmpeg", strings.Fields(strings.Replace(testPicture, "48000", "44100", 1)+"-f flv "+address)...)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	return shown(t, http.MethodGet, url, "")
}

// shown sends a request that shows a token, unless that is empty. Like every player it goes
// up where the URL says "..".
func shown(t *testing.T, method, address, token string) (int, string) {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, new(url.URL).ResolveReference(to).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// until polls a URL until its body has all of want.
func until(t *testing.T, url string, want ...string) string {
	t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		_, body := get(t, url)
		missing := false
		for _, w := range want {
			missing = missing || !strings.Contains(body, w)
		}
		if !missing {
			return body
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never had %q:\n%s", url, want, body)
		}
	}
	return ""
}

func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: live streams are not tested end to end", program)
	}
	return path
}

// A publisher that stops is waited for; its return continues the numbers with a
// discontinuity; after the grace the playlist ends.
func TestPublisherReturns(t *testing.T) {
	need(t, "ffmpeg")
	s := start(t, live.Config{Target: time.Second, Grace: 3 * time.Second, Window: time.Minute})
	if code, _ := get(t, s.http+"/live/cam/index.m3u8"); code != http.StatusNotFound {
		t.Errorf("a stream that is not there: %d", code)
	}
	stop := publish(t, s.rtmp+"/live/cam")
	list := s.http + "/live/cam/video0/index.m3u8"
	until(t, s.http+"/live/cam/index.m3u8", "CODECS=\"avc1.", "mp4a.40.2", "RESOLUTION=320x180")
	first := until(t, list, "1-2.m4s")
	stop()
	if strings.Contains(first, "ENDLIST") || !strings.Contains(first, "#EXT-X-INDEPENDENT-SEGMENTS") {
		t.Errorf("while live:\n%s", first)
	}
	stop = publish(t, s.rtmp+"/live/cam")
	again := until(t, list, "#EXT-X-DISCONTINUITY\n", "2-")
	if strings.Count(again, "#EXT-X-DISCONTINUITY\n") != 1 || strings.Contains(again, "ENDLIST") {
		t.Errorf("after the return:\n%s", again)
	}
	decodes(t, s.http+"/live/cam/index.m3u8")
	stop()
	until(t, list, "#EXT-X-ENDLIST")
	s.stop()
}

// decodes has ffmpeg decode what the playlist lists, without a complaint.
func decodes(t *testing.T, url string) {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-live_start_index", "0", "-t", "2", "-i", url, "-f", "null", "-").CombinedOutput()
	// Of its output's times, which it rounds where a source's clock is uneven, it
	// complains, too.
	rounded := regexp.MustCompile(`(?m)^.*dts to muxer in stream.*\n(\s*Last message repeated.*\n)?`)
	if out = rounded.ReplaceAll(out, nil); err != nil || len(out) > 0 {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
}

func TestSecondPublisherIsRefused(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{Target: time.Second})
	defer publish(t, s.rtmp+"/live/cam")()
	until(t, s.http+"/live/cam/index.m3u8", "RESOLUTION=320x180")
	out, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-re", "-t", "5", "-f", "lavfi", "-i", "testsrc2=size=64x64", "-c:v", "libx264", "-f", "flv", s.rtmp+"/live/cam").CombinedOutput()
	if err == nil {
		t.Errorf("a second publisher was let in: %s", out)
	}
	if code, _ := get(t, s.http+"/live/cam/index.m3u8"); code != http.StatusOK {
		t.Errorf("the first one's stream: %d", code)
	}
}

// With Takeover the second publisher goes on under the name, and the first is closed.
func TestSecondPublisherTakesOver(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{Target: time.Second, Takeover: true})
	defer publish(t, s.rtmp+"/live/cam")()
	until(t, s.http+"/live/cam/index.m3u8", "RESOLUTION=320x180")
	defer publish(t, s.rtmp+"/live/cam")()
	list := until(t, s.http+"/live/cam/video0/index.m3u8", "#EXT-X-DISCONTINUITY\n", "2-", ".m4s")
	if strings.Contains(list, "ENDLIST") {
		t.Errorf("the stream ended:\n%s", list)
	}
	decodes(t, s.http+"/live/cam/index.m3u8")
}

// The page plays in a browser, and goes on when the publisher returns.
func TestPlayerPage(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	need(t, "chromium")
	s := start(t, live.Config{Target: time.Second})
	browser.NeedScript(t, s.http)
	stop := publish(t, s.rtmp+"/live/cam")
	defer func() { stop() }()
	ctx, stopBrowser := browser.Start(t, 90*time.Second, chromedp.WindowSize(1100, 900), browser.Autoplay)
	defer stopBrowser()
	played := func(seconds float64) error {
		js := fmt.Sprintf("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > %v", seconds*25)
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](js, chromedp.WithPollingTimeout(45*time.Second), chromedp.WithPollingInterval(200*time.Millisecond)))
		return err
	}
	if _, err := chromedp.Run(ctx, chromedp.Navigate(s.http+"/live/cam/")); err != nil {
		t.Fatal(err)
	}
	if err := played(4); err != nil {
		browser.Screenshot(ctx, t, "stuck.png")
		t.Fatal("the page does not play: ", err)
	}
	browser.Screenshot(ctx, t, "playing.png")
	before, err := chromedp.Run(ctx, chromedp.Evaluate[float64]("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames/25"))
	if err != nil {
		t.Fatal(err)
	}
	stop()
	stop = publish(t, s.rtmp+"/live/cam")
	if err := played(before + 8); err != nil {
		browser.Screenshot(ctx, t, "stuck.png")
		t.Fatal("the page does not go on when the publisher returns: ", err)
	}
	browser.Screenshot(ctx, t, "returned.png")
}

// The page plays HTTP-FLV when asked to, by its key, and LL-HLS again.
func TestPlayerPageFLV(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{Target: time.Second})
	if code, _ := get(t, s.http+"/mpegts.js"); code != http.StatusOK {
		t.Skip("built without mpegts.js: HTTP-FLV is not played by the page")
	}
	defer publish(t, s.rtmp+"/live/cam")()
	ctx, stop := browser.Start(t, 120*time.Second, chromedp.WindowSize(1100, 980), browser.Autoplay)
	defer stop()
	plays := func(mode string) {
		t.Helper()
		// Each player has a MediaSource of its own, with which the count of pictures begins anew.
		js := fmt.Sprintf(`document.querySelector('#mode').textContent === '%s' && document.querySelector('#state').textContent === 'live' &&
			document.querySelector('video').src !== window.was && document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 50`, mode)
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool](js, chromedp.WithPollingTimeout(45*time.Second), chromedp.WithPollingInterval(200*time.Millisecond))); err != nil {
			browser.Screenshot(ctx, t, "mode-stuck.png")
			t.Fatalf("the page does not play %s: %v", mode, err)
		}
		browser.Screenshot(ctx, t, "mode-"+mode+".png")
	}
	press := func() {
		t.Helper()
		const js = `window.was = document.querySelector('video').src; document.onkeydown(new KeyboardEvent('keydown', { key: 'p' })); 1`
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[int](js)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chromedp.Run(ctx, chromedp.Navigate(s.http+"/live/cam/")); err != nil {
		t.Fatal(err)
	}
	plays("LL-HLS")
	press()
	plays("HTTP-FLV")
	press()
	plays("LL-HLS")
}
