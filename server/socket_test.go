package server

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/test/browser"
)

// TestSocketFeeds: the messages of a WebSocket, one behind the other, are FLV and TS as
// ffprobe reads them.
func TestSocketFeeds(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	probe := need(t, "ffprobe")
	s := start(t, live.Config{})
	defer publish(t, s.rtmp+"/live/cam")()
	until(t, s.http+"/live/cam/index.m3u8", "#EXTM3U")
	for _, suffix := range []string{".flv", ".ts"} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		c, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(s.http, "http")+"/live/cam"+suffix, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		var joined bytes.Buffer
		for joined.Len() < 200<<10 {
			kind, b, err := c.Read(ctx)
			if err != nil || kind != websocket.MessageBinary {
				t.Fatal(kind, err)
			}
			joined.Write(b)
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error("the server does not close orderly:", err)
		}
		cmd := exec.CommandContext(ctx, probe, "-v", "error", "-show_entries", "stream=codec_name,width", "-of", "csv=p=0", "-")
		cmd.Stdin = &joined
		out, err := cmd.CombinedOutput()
		if text := string(out); err != nil || !strings.Contains(text, "h264,320") || !strings.Contains(text, "aac") {
			t.Errorf("%s: ffprobe: %v\n%s", suffix, err, out)
		}
	}
}

// mpegts.js plays FLV and TS, by HTTP and by WebSocket; Chromium plays MP4 by itself.
func TestFeedsInBrowser(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{})
	defer publish(t, s.rtmp+"/live/cam")()
	until(t, s.http+"/live/cam/index.m3u8", "#EXTM3U")
	b := browser.New(t, t.TempDir())
	for _, scheme := range []string{"http", "ws"} {
		for _, suffix := range []string{".flv", ".ts"} {
			src := scheme + strings.TrimPrefix(s.http, "http") + "/live/cam" + suffix
			w := b.Watch(t, browser.Mpegts, src, 150, func(tab context.Context) { browser.Screenshot(tab, t, "mpegts-"+scheme+suffix+".png") })
			t.Logf("%s%s: %d stalls, %d of %d frames dropped, %.1f s", scheme, suffix, w.Stalls, w.Dropped, w.Frames, w.Time)
		}
	}
	w := b.Watch(t, browser.Native, s.http+"/live/cam.mp4", 150, func(tab context.Context) { browser.Screenshot(tab, t, "native-mp4.png") })
	t.Logf("native: %d of %d frames dropped, %.1f s", w.Dropped, w.Frames, w.Time)
}
