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

// published starts a server and ffmpeg, and waits until the manifest announces segments
// that grow.
func published(t *testing.T) string {
	t.Helper()
	need(t, "ffmpeg")
	s := start(t, live.Config{})
	t.Cleanup(publish(t, s.rtmp+"/live/cam"))
	mpd := s.http + "/live/cam/manifest.mpd"
	until(t, mpd, `type="dynamic"`, `codecs="avc1.`, `codecs="mp4a.40.2"`, `availabilityTimeComplete="false"`)
	return mpd
}

// The rules of DASH are kept while a stream goes on, and ffprobe reads it.
func TestLiveDASH(t *testing.T) {
	mpd := published(t)
	r := keepsRules(t, mpd, 10*time.Second)
	if r.Segments < 6 {
		t.Errorf("%d segments", r.Segments)
	}
	probe := need(t, "ffprobe")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, probe, "-v", "error", "-show_entries", "stream=codec_name,width", "-of", "csv=p=0", mpd).CombinedOutput()
	if text := string(out); err != nil || !strings.Contains(text, "h264,320") || !strings.Contains(text, "aac") {
		t.Errorf("ffprobe: %v\n%s", err, out)
	}
}

// dash.js and shaka-player play. dash.js has low latency: it is behind the clock by
// less than the three target durations of those that wait for whole segments, for
// which shaka-player takes the manifest's suggestedPresentationDelay.
func TestLiveDASHInBrowser(t *testing.T) {
	t.Parallel()
	mpd := published(t)
	b := browser.New(t, t.TempDir())
	for _, player := range []string{browser.Dash, browser.Shaka} {
		w := b.Watch(t, player, mpd, 400, func(tab context.Context) { browser.Screenshot(tab, t, "dash-"+player+".png") })
		t.Logf("%s: %.2f s behind, %d stalls, %d of %d frames dropped, low latency %v", player, w.Latency, w.Stalls, w.Dropped, w.Frames, w.Low)
		most := map[string]float64{browser.Dash: 6, browser.Shaka: 12}[player]
		if w.Latency <= 0 || w.Latency > most {
			t.Errorf("%s is %.2f s behind", player, w.Latency)
		}
	}
}
