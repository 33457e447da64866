package rtsp

import (
	"io"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// TestFFmpeg: what ffmpeg publishes by TCP and UDP arrives whole, both tracks on
// one timeline.
func TestFFmpeg(t *testing.T) {
	tool := need(t, "ffmpeg")
	video := "-re -f lavfi -i testsrc2=s=320x180:r=25:d=3 "
	both := video + "-f lavfi -i sine=r=48000:d=3 "
	x264 := "-c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p "
	for name, test := range map[string]struct {
		args      string
		codecs    []av.Codec
		packets   []int
		reordered bool
	}{
		"H.264 and AAC":       {both + x264 + "-c:a aac", []av.Codec{av.H264, av.AAC}, []int{75, 141}, true},
		"H.264 in slices":     {video + "-c:v libx264 -preset ultrafast -x264-params slices=4 -g 25 -pix_fmt yuv420p", []av.Codec{av.H264}, []int{75}, false},
		"H.265 and Opus":      {both + "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=25 -pix_fmt yuv420p -c:a libopus", []av.Codec{av.H265, av.Opus}, []int{75, 150}, true},
		"VP9":                 {video + "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -strict experimental", []av.Codec{av.VP9}, []int{75}, false},
		"MP3":                 {"-re -f lavfi -i sine=r=48000:d=3 -c:a libmp3lame", []av.Codec{av.MP3}, []int{125}, false},
		"H.264 without sound": {video + x264, []av.Codec{av.H264}, []int{75}, true},
	} {
		for _, transport := range []string{"tcp", "udp"} {
			t.Run(name+" "+transport, func(t *testing.T) {
				t.Parallel()
				out := make(chan result, 1)
				addr := serve(t, Config{Publish: collect(out), UDP: evenPort(t)})
				args := append(strings.Fields("-v error -nostdin "+test.args), "-f", "rtsp", "-rtsp_transport", transport, "rtsp://"+addr+"/live/cam1")
				if b, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
					t.Fatalf("ffmpeg: %v: %s", err, b)
				}
				r := <-out
				if r.err != io.EOF || r.name != "live/cam1" {
					t.Errorf("%q ended with %v", r.name, r.err)
				}
				got := r.tracks(t)
				if len(got) != len(test.codecs) {
					t.Fatalf("%+v, %v", got, r.warn)
				}
				for i, g := range got {
					least := test.packets[i] - 8
					if transport == "udp" {
						least = test.packets[i] * 6 / 10 // what ffmpeg sends at once before it hangs up overtakes the last packets
					}
					if g.codec != test.codecs[i] || g.packets < least || g.packets > test.packets[i]+2 || g.keys < 2 {
						t.Errorf("track %d: %+v, want %d of %v; %v", i, g, test.packets[i], test.codecs[i], r.warn)
					}
				}
				if got[0].reordered != test.reordered {
					t.Errorf("reordered: %v", got[0].reordered)
				}
				if len(got) == 2 && math.Abs(got[0].first-got[1].first) > 0.1 {
					t.Errorf("the tracks begin at %v and %v", got[0].first, got[1].first)
				}
				for _, w := range r.warn {
					t.Error(w)
				}
			})
		}
	}
}
