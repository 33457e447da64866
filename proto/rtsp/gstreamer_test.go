package rtsp

import (
	"context"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
)

// TestGStreamer: what GStreamer publishes arrives, its tracks on one timeline.
func TestGStreamer(t *testing.T) {
	tool := need(t, "gst-launch-1.0")
	for _, e := range []string{"rtspclientsink", "openh264enc", "voaacenc", "avenc_ac3"} {
		if exec.CommandContext(t.Context(), "gst-inspect-1.0", e).Run() != nil {
			t.Skipf("GStreamer has no %s", e)
		}
	}
	video := "videotestsrc is-live=true num-buffers=120 ! video/x-raw,width=320,height=240,framerate=30/1 ! openh264enc gop-size=30 ! h264parse ! s. "
	audio := "audiotestsrc is-live=true num-buffers=188 ! audio/x-raw,rate=48000,channels=2 ! "
	for name, test := range map[string]struct {
		pipe   string
		codecs []av.Codec
	}{
		"H.264 and AAC by TCP":  {"rtspclientsink name=s protocols=tcp location=ADDR " + video + audio + "voaacenc ! aacparse ! s.", []av.Codec{av.H264, av.AAC}},
		"H.264 and AAC by UDP":  {"rtspclientsink name=s protocols=udp location=ADDR " + video + audio + "voaacenc ! aacparse ! s.", []av.Codec{av.H264, av.AAC}},
		"H.264 and Opus by TCP": {"rtspclientsink name=s protocols=tcp location=ADDR " + video + audio + "opusenc ! s.", []av.Codec{av.H264, av.Opus}},
		"AC-3":                  {"rtspclientsink name=s protocols=tcp location=ADDR " + audio + "avenc_ac3 ! ac3parse ! s.", []av.Codec{av.AC3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := make(chan result, 1)
			addr := serve(t, Config{Publish: collect(out), UDP: evenPort(t)})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			pipe := strings.Replace(test.pipe, "ADDR", "rtsp://"+addr+"/live/gst", 1)
			b, err := exec.CommandContext(ctx, tool, append([]string{"-q"}, strings.Fields(pipe)...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, b)
			}
			r := <-out
			got := r.tracks(t)
			if len(got) != len(test.codecs) {
				t.Fatalf("%+v, %v", got, r.warn)
			}
			for i, g := range got {
				if g.codec != test.codecs[i] || g.last-g.first < 1.5 || g.keys < 1 {
					t.Errorf("track %d: %+v, %v", i, g, r.warn)
				}
			}
			if len(got) == 2 && math.Abs(got[0].first-got[1].first) > 0.5 {
				t.Errorf("the tracks begin at %v and %v", got[0].first, got[1].first)
			}
		})
	}
}
