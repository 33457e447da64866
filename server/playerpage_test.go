package server

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/test/browser"
)

// The player's page says that there is no such stream, plays it once there is, and says
// when the server does not answer any more. It fits a small screen.
func TestPlayerPageTells(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	need(t, "chromium")
	s := start(t, live.Config{Target: time.Second})
	browser.NeedScript(t, s.http)
	ctx, stopBrowser := browser.Start(t, 2*time.Minute, browser.Autoplay)
	defer stopBrowser()
	says := func(want string) {
		t.Helper()
		js := fmt.Sprintf("document.getElementById('state').textContent === %q", want)
		if _, err := chromedp.Run(ctx, chromedp.Poll[bool](js, chromedp.WithPollingTimeout(45*time.Second), chromedp.WithPollingInterval(100*time.Millisecond))); err != nil {
			text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.getElementById('state').textContent"))
			t.Fatalf("not %q but %q: %v", want, text, err)
		}
		browser.Screenshot(ctx, t, strings.ReplaceAll(want, " ", "-")+".png")
	}
	if _, err := chromedp.Run(ctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(ctx, chromedp.Navigate(s.http+"/live/cam/")); err != nil {
		t.Fatal(err)
	}
	says("no such stream yet")
	const height = "document.querySelector('.keys').style.display = 'inline', document.documentElement.scrollHeight"
	if h, err := chromedp.Run(ctx, chromedp.Evaluate[int](height)); err != nil || h > 800 {
		t.Errorf("the page is %d pixels high, %v", h, err)
	}
	stop := publish(t, s.rtmp+"/live/cam")
	defer func() { stop() }()
	says("live")
	s.stop()
	says("the server does not answer")
}
