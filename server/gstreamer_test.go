package server

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
)

// GStreamer's stream is cut, listed, decoded, and ended when it ends.
func TestGStreamerPublishes(t *testing.T) {
	need(t, "ffmpeg")
	tool := need(t, "gst-launch-1.0")
	for _, e := range []string{"rtmp2sink", "flvmux", "openh264enc", "voaacenc"} {
		if exec.CommandContext(t.Context(), "gst-inspect-1.0", e).Run() != nil {
			t.Skipf("GStreamer has no %s: it does not publish here", e)
		}
	}
	s := start(t, live.Config{Target: time.Second, Grace: time.Second, Window: time.Minute})
	pipe := "flvmux name=m streamable=true ! rtmp2sink location=" + s.rtmp + "/live/gst " +
		"videotestsrc is-live=true num-buffers=150 ! video/x-raw,width=320,height=240,framerate=30/1 ! openh264enc gop-size=30 ! h264parse ! m. " +
		"audiotestsrc is-live=true num-buffers=234 ! audio/x-raw,rate=48000,channels=2 ! voaacenc ! aacparse ! m."
	if out, err := exec.CommandContext(t.Context(), tool, append([]string{"-q"}, strings.Fields(pipe)...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	until(t, s.http+"/live/gst/index.m3u8", "CODECS=\"avc1.", "mp4a.40.2", "RESOLUTION=320x240")
	list := until(t, s.http+"/live/gst/video0/index.m3u8", "#EXT-X-ENDLIST")
	// A busy machine's picture clock is uneven.
	if n := len(regexp.MustCompile(`#EXTINF:(0\.9|1\.0)`).FindAllString(list, -1)); n < 3 {
		t.Errorf("%d segments of a second:\n%s", n, list)
	}
	decodes(t, s.http+"/live/gst/index.m3u8")
}
