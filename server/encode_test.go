package server

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/format/libav/libavtest"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/test/browser"
	"github.com/cleave-video/cleave/verify"
)

// encoding starts a server that makes a rendition of 90 lines, and ffmpeg, and waits until
// both renditions have some segments.
func encoding(t *testing.T) (s *running, stop func()) {
	t.Helper()
	need(t, "ffmpeg")
	libavtest.Need(t)
	s = startWith(t, Config{Live: live.Config{Part: -1}, Encode: &Encode{Height: 90, Bitrate: 150_000}})
	stop = publish(t, s.rtmp+"/live/cam")
	t.Cleanup(stop)
	until(t, s.http+"/live/cam/video0-90p/index.m3u8", "1-4.m4s")
	return s, stop
}

// TestEncoded: the rendition has the numbers, durations and dates of the source, each of
// its segments begins with a key frame and has the source's pictures at the source's
// times, as ffprobe sees them.
func TestEncoded(t *testing.T) {
	t.Parallel()
	need(t, "ffprobe")
	s, _ := encoding(t)
	base := s.http + "/live/cam/"
	if _, text := get(t, base+"index.m3u8"); !strings.Contains(text, "RESOLUTION=320x180") || !strings.Contains(text, "RESOLUTION=160x90") || strings.Count(text, `AUDIO="audio"`) != 2 {
		t.Error(text)
	}
	if _, text := get(t, base+"manifest.mpd"); strings.Count(text, "<AdaptationSet") != 2 || strings.Count(text, `startWithSAP="1"`) != 2 || !strings.Contains(text, `<Representation id="video0-90p"`) {
		t.Error(text)
	}
	// What is said of segments, up to the first that one of both has not.
	said := regexp.MustCompile(`#EXT-X-PROGRAM-DATE-TIME:.*\n#EXTINF:.*\n1-\d+\.m4s`)
	_, one := get(t, base+"video0/index.m3u8")
	_, two := get(t, base+"video0-90p/index.m3u8")
	a, b := said.FindAllString(one, -1), said.FindAllString(two, -1)
	if n := min(len(a), len(b)); n < 5 || !slices.Equal(a[:n], b[:n]) || strings.Contains(two, "#EXT-X-GAP") {
		t.Errorf("%s\n%s", one, two)
	}
	for n := range 5 {
		source := packetsOf(t, base+"video0/", one, n)
		made := packetsOf(t, base+"video0-90p/", two, n)
		if len(source) < 20 || len(source) != len(made) {
			t.Fatalf("segment %d: %d pictures, of %d", n, len(made), len(source))
		}
		if made[0].Flags[0] != 'K' || made[0].DTS != source[0].DTS {
			t.Errorf("segment %d begins with %+v, of %+v", n, made[0], source[0])
		}
		var from, to []int64
		for i := range source {
			from, to = append(from, source[i].PTS), append(to, made[i].PTS)
		}
		slices.Sort(from)
		if !slices.Equal(from, to) {
			t.Errorf("segment %d: pictures at %v, of %v", n, to, from)
		}
	}
}

type pictureOf struct {
	PTS   int64  `json:"pts"`
	DTS   int64  `json:"dts"`
	Flags string `json:"flags"`
}

// packetsOf returns what ffprobe sees in a segment.
func packetsOf(t *testing.T, base, playlist string, n int) []pictureOf {
	t.Helper()
	init := regexp.MustCompile(`init-[0-9a-f]+\.mp4`).FindString(playlist)
	_, head := get(t, base+init)
	code, body := get(t, fmt.Sprintf("%s1-%d.m4s", base, n))
	if code != 200 {
		t.Fatalf("segment %d: %d", n, code)
	}
	name := filepath.Join(t.TempDir(), "segment.mp4")
	if err := os.WriteFile(name, []byte(head+body), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ffprobe", "-v", "error", "-select_streams", "v", "-show_packets", "-of", "json", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	var x struct {
		Packets []pictureOf `json:"packets"`
	}
	if err := json.Unmarshal(out, &x); err != nil {
		t.Fatal(err)
	}
	return x.Packets
}

// TestEncodedKeepsTheRules: a stream with a rendition that was made here breaks no MUST of
// HLS or DASH, ffmpeg decodes both, and the server leaves nothing behind.
func TestEncodedKeepsTheRules(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s, stop := encoding(t)
	for _, name := range []string{"index.m3u8", "manifest.mpd"} {
		r, err := verify.Run(t.Context(), verify.Config{Input: s.http + "/live/cam/" + name, For: 12 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			if f.Severity == verify.Must {
				t.Errorf("%s: %s: %s", f.Rule, f.File, f.Text)
			}
		}
	}
	decodes(t, s.http+"/live/cam/video0-90p/index.m3u8")
	if f := scrape(t, s); value(f["cleave_stream_derived_segments_total"], "stream", "live/cam") < 5 || value(f["cleave_stream_underived_segments_total"], "stream", "live/cam") != 0 {
		t.Error(f)
	}
	stop()
	s.stop()
}

// TestEncodedInBrowser: hls.js and shaka-player go from one rendition to the other and
// back.
func TestEncodedInBrowser(t *testing.T) {
	t.Parallel()
	b := browser.New(t, t.TempDir())
	s, _ := encoding(t)
	for _, test := range []struct{ player, src string }{{browser.HLS, "index.m3u8"}, {browser.Shaka, "manifest.mpd"}} {
		w := b.Watch(t, test.player, s.http+"/live/cam/"+test.src, 100, func(tab context.Context) {
			for _, height := range []int{90, 180, 90} {
				text := fmt.Sprintf("(() => { choose(%d); return 0; })()", height)
				if _, err := chromedp.Run(tab, chromedp.Evaluate[int](text)); err != nil {
					t.Fatal(test.player, err)
				}
				poll := chromedp.Poll[bool](fmt.Sprintf("video.videoHeight === %d", height), chromedp.WithPollingTimeout(30*time.Second), chromedp.WithPollingInterval(100*time.Millisecond))
				if _, err := chromedp.Run(tab, poll); err != nil {
					t.Errorf("%s does not come to %d: %v", test.player, height, err)
				}
			}
			browser.Screenshot(tab, t, "encoded-"+test.player+".png")
		})
		t.Logf("%s: %.2f s behind, %d stalls, %d of %d frames dropped", test.player, w.Latency, w.Stalls, w.Dropped, w.Frames)
	}
}

// TestEncodeConfig: what does not go together is refused, with the reason.
func TestEncodeConfig(t *testing.T) {
	whole := live.Config{Part: -1}
	for name, test := range map[string]struct {
		c    Config
		want string
	}{
		"well":        {Config{Live: whole, Encode: &Encode{Height: 360, Bitrate: 600_000}}, ""},
		"low latency": {Config{Encode: &Encode{Height: 360, Bitrate: 600_000}}, "low latency"},
		"encrypted":   {Config{Live: whole, Encode: &Encode{Height: 360, Bitrate: 600_000}, Encryption: []Encryption{{Scheme: "cbcs", PublicKeys: true}}}, "in the clear"},
		"odd":         {Config{Live: whole, Encode: &Encode{Height: 361, Bitrate: 600_000}}, "even"},
		"no rate":     {Config{Live: whole, Encode: &Encode{Height: 360}}, "bitrate 0"},
		"pattern":     {Config{Live: whole, Encode: &Encode{Streams: []string{"*****"}, Height: 360, Bitrate: 600_000}}, "four"},
	} {
		err := test.c.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for text, want := range map[string]BitRate{"600k": 600_000, "1.5M": 1_500_000, " 800000 ": 800_000, "0": 0, "-1k": 0, "600kB": 0, "": 0, "NaN": 0, "1e300M": 0} {
		var r BitRate
		if err := r.UnmarshalText([]byte(text)); (err == nil) != (want > 0) || r != want {
			t.Errorf("%q: %d, %v", text, r, err)
		}
	}
	name := filepath.Join(t.TempDir(), "cleave.yaml")
	if err := os.WriteFile(name, []byte("low_latency: false\nencode: {height: 360, bitrate: 600k, streams: [live/*]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var c Config
	f.Apply(&c)
	if err := c.Validate(); err != nil || c.Encode == nil || c.Encode.Height != 360 || c.Encode.Bitrate != 600_000 {
		t.Errorf("%+v, %v", c.Encode, err)
	}
	if x := c.Encode.config(""); !x.Streams("live/cam") || x.Streams("cam") {
		t.Error("streams")
	}
	t.Setenv("CLEAVE_AV", filepath.Join(t.TempDir(), "none"))
	if err := Run(t.Context(), Config{Data: t.TempDir(), Live: whole, Encode: c.Encode}); err == nil || !strings.Contains(err.Error(), "encode") {
		t.Errorf("without cleave-av: %v", err)
	}
}
