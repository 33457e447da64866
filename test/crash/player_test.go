package crash

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cleave-video/cleave/test/browser"
)

// TestPlayerGoesOn kills a server under a player in a browser: the page plays on when
// the server and the publisher are back.
func TestPlayerGoesOn(t *testing.T) {
	for _, program := range []string{"ffmpeg", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: no player is watched", program)
		}
	}
	binary, data := build(t), filepath.Join(t.TempDir(), "data")
	at, to := free(t), free(t)
	start := func() (p *process, stop func()) {
		p, err := run(t.Context(), binary, data, "--http", at, "--rtmp", to, "--target", "2s", "--part", "200ms", "--max-chunk", "10s", "--window", "1m")
		if err != nil {
			t.Fatal(err)
		}
		<-p.ready
		if err := p.started(); err != nil {
			t.Fatalf("%v\n%s", err, p.kill())
		}
		return p, film(t, p.rtmp)
	}
	log := ""
	p, stop := start()
	defer func() {
		stop()
		if log += p.kill(); t.Failed() {
			t.Log(log)
		}
	}()
	browser.NeedScript(t, "http://"+at)
	ctx, stopBrowser := browser.Start(t, 2*time.Minute, chromedp.WindowSize(1100, 900), browser.Autoplay)
	defer stopBrowser()
	played := func(frames float64) (now float64) {
		t.Helper()
		js := fmt.Sprintf("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > %v", frames)
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](js, chromedp.WithPollingTimeout(50*time.Second), chromedp.WithPollingInterval(200*time.Millisecond)))
		now, nerr := chromedp.Run(ctx, chromedp.Evaluate[float64]("document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames"))
		if err = errors.Join(err, nerr); err != nil {
			browser.Screenshot(ctx, t, "stuck.png")
			t.Fatalf("%v: %v frames of %v", err, now, frames)
		}
		return now
	}
	if _, err := chromedp.Run(ctx, chromedp.Navigate(p.http)); err != nil {
		t.Fatal(err)
	}
	before := played(100)
	log = p.kill()
	stop()
	p, stop = start()
	after := played(before + 200)
	browser.Screenshot(ctx, t, "restarted.png")
	t.Logf("%v frames before, %v after the restart", before, after)
}

// free returns an address of the loopback that nobody listens to.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// film publishes a test picture with a GOP of one second until stop is called.
func film(t *testing.T, address string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "ffmpeg", strings.Fields("-v error -nostdin -re -f lavfi -i testsrc2=size=320x180:rate=25 -f lavfi -i sine=sample_rate=44100 "+
		"-c:v libx264 -preset ultrafast -bf 2 -g 25 -keyint_min 25 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -f flv "+address)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		cancel()
		_ = cmd.Wait() // killed
	}
}
