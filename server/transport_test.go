package server

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/test/browser"
)

// TestTransportStream: HLS in MPEG-TS is read by ffmpeg over a restart of the publisher,
// breaks no MUST, and shaka-player plays it.
func TestTransportStream(t *testing.T) {
	t.Parallel()
	ffmpeg := need(t, "ffmpeg")
	s := start(t, live.Config{Target: time.Second})
	stop := publish(t, s.rtmp+"/live/cam")
	defer func() { stop() }()
	list := s.http + "/live/cam/ts/index.m3u8"
	until(t, list, ".ts")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, ffmpeg, "-v", "warning", "-nostdin", "-i", list, "-t", "4", "-f", "null", "-").CombinedOutput()
	if err != nil || strings.Contains(string(out), "orrupt") || strings.Contains(string(out), "rror") {
		t.Errorf("ffmpeg: %v\n%s", err, out)
	}
	b := browser.New(t, t.TempDir())
	b.Watch(t, browser.Shaka, list, 100, func(tab context.Context) { browser.Screenshot(tab, t, "shaka-ts.png") })
	stop()
	stop = publish(t, s.rtmp+"/live/cam")
	until(t, list, "#EXT-X-DISCONTINUITY\n")
	keepsRules(t, list, 6*time.Second)
}
