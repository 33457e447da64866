package server

import (
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/live"
)

// TestAdmission: when there is no place for another viewer, each protocol says so, the
// metrics count it, and players of playlists, which need none, go on.
func TestAdmission(t *testing.T) {
	need(t, "ffmpeg")
	ffprobe := need(t, "ffprobe")
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := start(t, live.Config{Target: 1e9, Viewers: 1})
	stop := publish(t, s.rtmp+"/live/cam")
	until(t, s.http+"/live/cam/index.m3u8", "#EXTM3U")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http+"/live/cam.flv", nil)
	if err != nil {
		t.Fatal(err)
	}
	first, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Body.Close()
	if _, err := io.CopyN(io.Discard, first.Body, 1000); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/live/cam.flv", "/live/cam.ts", "/live/cam.mp4", "/live/cam/frames?payload=1"} {
		if code, text := get(t, s.http+path); code != http.StatusServiceUnavailable || text != "too many viewers: 1\n" {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	for _, url := range []string{s.rtmp + "/live/cam", s.rtsp + "/live/cam", s.srt + "?streamid=read:live/cam"} {
		if out, err := exec.CommandContext(t.Context(), ffprobe, "-v", "error", "-rtsp_transport", "tcp", url).CombinedOutput(); err == nil {
			t.Errorf("%s plays: %s", url, out)
		}
	}
	for _, path := range []string{"/live/cam/video0/index.m3u8", "/live/cam/manifest.mpd", "/live/cam/frames"} {
		if code, text := get(t, s.http+path); code != http.StatusOK {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	f := scrape(t, s)
	// RTSP is told before it asks to play.
	if in, most, no := value(f["cleave_viewers"]), value(f["cleave_viewers_limit"]), value(f["cleave_refused_viewers_total"]); in != 1 || most != 1 || no != 6 {
		t.Errorf("%v of %v viewers, %v refused", in, most, no)
	}
	first.Body.Close()
	scrapeUntil(t, s, "the viewer left", func(f map[string]*dto.MetricFamily) bool { return value(f["cleave_viewers"]) == 0 })
	if code, text := get(t, s.http+"/live/cam/frames"); code != http.StatusOK || !strings.Contains(text, `"codec"`) {
		t.Error(code, text)
	}
	stop()
	s.stop()
}
