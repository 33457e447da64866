package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cleave-video/cleave/format/libav"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/test/browser"
)

// fetch is get that returns the headers, too.
func fetch(t *testing.T, url string, header ...string) (*http.Response, []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	return res, b.Bytes()
}

// pictures has ffmpeg decode what it is given and returns the digest of every picture.
func pictures(t *testing.T, in []byte, args string) []string {
	t.Helper()
	cmd := exec.Command("ffmpeg", strings.Fields("-v error -nostdin "+args+" -map 0:v -fps_mode passthrough -f framemd5 -")...)
	cmd.Stdin = bytes.NewReader(in)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil || complaints.Len() > 0 {
		t.Fatalf("ffmpeg %s: %v\n%s", args, err, &complaints)
	}
	var list []string
	for _, m := range regexp.MustCompile(`(?m)^0,.*, ([0-9a-f]{32})\s*$`).FindAllStringSubmatch(string(out), -1) {
		list = append(list, m[1])
	}
	return list
}

// A key frame is one whole picture, the one that is in the HLS segment, in every
// format; a GOP is all of its pictures.
func TestKeyFrameIsThePictureOfTheSegment(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{})
	defer s.stop()
	stop := publish(t, s.rtmp+"/live/cam")
	defer stop()
	cam := s.http + "/live/cam"
	list := until(t, cam+"/video0/index.m3u8", "1-2.m4s")
	header := regexp.MustCompile(`URI="(init-[^"]+)"`).FindStringSubmatch(list)
	_, segment := fetch(t, cam+"/video0/1-2.m4s")
	_, section := fetch(t, cam+"/video0/"+header[1])
	want := pictures(t, append(bytes.Clone(section), segment...), "-f mp4 -i pipe:0")
	if len(want) != 50 {
		t.Fatalf("%d pictures in the segment", len(want))
	}
	// Its first key frame by number, and the second by its time.
	res, annexb := fetch(t, cam+"/keyframe?index=3")
	if res.Header.Get("Content-Type") != "video/H264" || res.Header.Get("X-Frame-Key") != "true" {
		t.Errorf("%d, %v", res.StatusCode, res.Header)
	}
	ns, err := strconv.ParseInt(res.Header.Get("X-Frame-PTS"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	first := -1
	for i, p := range want {
		if got := pictures(t, annexb, "-f h264 -i pipe:0"); len(got) == 1 && got[0] == p {
			first = i
		}
		if i%25 == 0 && first >= 0 {
			break
		}
	}
	if first != 0 && first != 25 {
		t.Fatalf("Annex B: picture %d of the segment", first)
	}
	at := fmt.Sprintf("at=%.6f", float64(ns)/1e9+0.5)
	for _, c := range []struct{ query, args string }{
		{"keyframe?" + at, "-f h264 -i pipe:0"},
		{"keyframe?format=mp4&" + at, "-f mp4 -i pipe:0"},
	} {
		res, body := fetch(t, cam+"/"+c.query)
		if got := pictures(t, body, c.args); res.StatusCode != 200 || len(got) != 1 || got[0] != want[first] {
			t.Errorf("%s: %d, %d pictures, want %s: %v", c.query, res.StatusCode, len(got), want[first], got)
		}
	}
	for _, c := range []struct{ query, args string }{{"gop?" + at, "-f h264 -i pipe:0"}, {"gop?format=mp4&" + at, "-f mp4 -i pipe:0"}} {
		res, body := fetch(t, cam+"/"+c.query)
		got := pictures(t, body, c.args)
		if res.StatusCode != 200 || fmt.Sprint(got) != fmt.Sprint(want[first:first+25]) {
			t.Errorf("%s: %d, %d pictures", c.query, res.StatusCode, len(got))
		}
	}
	jpegOf(t, cam+"/keyframe?format=jpeg&"+at)
	stop()
	s.stop()
}

// The formats fit the codec.
func TestKeyFrameOfOtherCodecs(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{})
	for _, c := range []struct {
		name, encoder, kind, args string // args: of the byte stream; empty: there is none
	}{
		{"hevc", "libx265 -preset ultrafast -x265-params log-level=none:keyint=25:min-keyint=25", "video/H265", "-f hevc -i pipe:0"},
		{"av1", "libaom-av1 -cpu-used 8 -usage realtime -lag-in-frames 0 -g 25 -b:v 1M", `video/mp4; codecs="av01.`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, _ := exec.Command("ffmpeg", "-hide_banner", "-encoders").Output()
			if name, _, _ := strings.Cut(c.encoder, " "); !bytes.Contains(out, []byte(name)) {
				t.Skipf("ffmpeg has no %s", name)
			}
			cam := s.http + "/live/" + c.name
			args := "-v error -nostdin -re -f lavfi -i testsrc2=size=192x128:rate=25 -pix_fmt yuv420p -c:v " + c.encoder +
				" -flush_packets 1 -movflags frag_keyframe+delay_moov+default_base_moof -f mp4 -method PUT " + cam + ".mp4"
			defer publishBy(t, "ffmpeg", strings.Fields(args)...)()
			until(t, cam+"/video0/index.m3u8", "1-1.m4s")
			res, body := fetch(t, cam+"/keyframe?index=-1")
			if !strings.HasPrefix(res.Header.Get("Content-Type"), c.kind) {
				t.Errorf("%d, %v", res.StatusCode, res.Header)
			}
			at := "at=" + seconds(t, res)
			_, file := fetch(t, cam+"/keyframe?format=mp4&"+at)
			want := pictures(t, file, "-f mp4 -i pipe:0")
			if len(want) != 1 {
				t.Fatalf("%d pictures", len(want))
			}
			if c.args == "" {
				if res, _ := fetch(t, cam+"/keyframe?format=annexb"); res.StatusCode != http.StatusNotAcceptable {
					t.Errorf("Annex B: %d", res.StatusCode)
				}
			} else if got := pictures(t, body, c.args); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v, %v", got, want)
			}
			jpegOf(t, cam+"/keyframe?format=jpeg&"+at)
		})
	}
}

// jpegOf fetches a picture, if there is a worker to make it, and once more.
func jpegOf(t *testing.T, url string) {
	t.Helper()
	if _, err := libav.Find(); err != nil {
		t.Log("JPEG is left out: ", err)
		return
	}
	res, body := fetch(t, url)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "image/jpeg" || !bytes.HasPrefix(body, []byte{0xff, 0xd8}) {
		t.Fatalf("JPEG: %d, %.100q", res.StatusCode, body)
	}
	if n := len(pictures(t, body, "-f mjpeg -i pipe:0")); n != 1 {
		t.Errorf("JPEG: %d pictures", n)
	}
	if again, b := fetch(t, url, "If-None-Match", res.Header.Get("Etag")); again.StatusCode != 304 || len(b) != 0 {
		t.Errorf("JPEG again: %d", again.StatusCode)
	}
}

// seconds is the PTS that a header says, as at takes it.
func seconds(t *testing.T, res *http.Response) string {
	t.Helper()
	ns, err := strconv.ParseInt(res.Header.Get("X-Frame-PTS"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d.%09d", ns/1e9, ns%1e9)
}

// A Go program reads the events: every frame, in order.
func TestEventsInGo(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{})
	defer s.stop()
	stop := publish(t, s.rtmp+"/live/cam")
	defer stop()
	until(t, s.http+"/live/cam/frames", `"type":`)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http+"/live/cam/frames", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	keys, last := 0, int64(-1)
	for _, f := range takeEvents(t, res.Body, 80) {
		if last >= 0 && f.DTS-last != 40 || f.Timebase != "1/1000" || f.PTS < f.DTS || f.Timestamp != f.PTS*1000 {
			t.Errorf("after %d: %+v", last, f)
		}
		if f.Type == "key" {
			keys++
		}
		last = f.DTS
	}
	if keys < 3 || keys > 4 {
		t.Errorf("%d of 80 frames are key frames", keys)
	}
	// At the server's end the answer ends, too.
	s.stop()
	stop()
}

// page listens by EventSource, and decodes the binary stream with WebCodecs to the
// canvas.
const page = `<!doctype html><canvas id=c width=320 height=180></canvas><script>
const state = {events: 0, keys: 0, config: null, ids: [], faults: [], drawn: 0, first: null, last: null};
const base = new URLSearchParams(location.search).get('cam');
const source = new EventSource(base + '/frames');
source.addEventListener('config', e => state.config = JSON.parse(e.data));
source.addEventListener('frame', e => {
  const f = JSON.parse(e.data);
  state.events++; if (f.type === 'key') state.keys++;
  if (f.id !== e.lastEventId) state.faults.push('id ' + e.lastEventId);
  state.ids.push(f.dts);
});
const canvas = document.getElementById('c').getContext('2d', {willReadFrequently: true});
const decoder = new VideoDecoder({
  output: f => {
    canvas.drawImage(f, 0, 0);
    const p = canvas.getImageData(0, 0, 320, 180).data;
    state.first ??= {timestamp: f.timestamp, pixels: Array.from(p)};
    state.drawn++; state.last = f.timestamp; f.close();
  },
  error: e => state.faults.push(String(e)),
});
(async () => {
  const reader = (await fetch(base + '/frames?payload=1')).body.getReader();
  let have = new Uint8Array(0);
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const all = new Uint8Array(have.length + value.length); all.set(have); all.set(value, have.length); have = all;
    for (;;) {
      if (have.length < 4) break;
      const view = new DataView(have.buffer, have.byteOffset), n = view.getUint32(0);
      if (have.length < 4 + n) break;
      const flags = view.getUint8(4), timestamp = Number(view.getBigInt64(5)), duration = view.getUint32(13), data = have.slice(17, 4 + n);
      have = have.slice(4 + n);
      if (flags & 0x40) {
        const c = JSON.parse(new TextDecoder().decode(data));
        decoder.configure({codec: c.codec, codedWidth: c.codedWidth, codedHeight: c.codedHeight, optimizeForLatency: true,
          description: Uint8Array.from(atob(c.description), x => x.charCodeAt(0))});
      } else if (!(flags & 0xa0)) {
        decoder.decode(new EncodedVideoChunk({type: flags & 1 ? 'key' : 'delta', timestamp, duration: duration || undefined, data}));
      }
    }
  }
})().catch(e => state.faults.push(String(e)));
</script>`

// Chromium's EventSource takes the events, and its WebCodecs the payload: the pixels
// are those that ffmpeg decodes.
func TestFramesInBrowser(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	need(t, "chromium")
	s := start(t, live.Config{})
	defer publish(t, s.rtmp+"/live/cam")()
	cam := s.http + "/live/cam"
	until(t, cam+"/video0/index.m3u8", "1-1.m4s")
	// Another origin, whose scripts may read all this; WebCodecs needs a secure one.
	pages := pageServer(t, page)
	ctx, stopBrowser := browser.Start(t, 90*time.Second)
	defer stopBrowser()
	if _, err := chromedp.Run(ctx, chromedp.Navigate(pages+"?cam="+cam)); err != nil {
		t.Fatal(err)
	}
	_, perr := chromedp.Run(ctx, chromedp.Poll[bool]("state.faults.length > 0 || state.events > 60 && state.keys > 1 && state.drawn > 60",
		chromedp.WithPollingTimeout(40*time.Second), chromedp.WithPollingInterval(200*time.Millisecond)))
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("JSON.stringify(state)"))
	if err != nil {
		t.Fatal(perr, err)
	}
	var got struct {
		Events, Keys, Drawn int
		Faults              []string
		IDs                 []int64
		First               *struct {
			Timestamp int64
			Pixels    []int
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || perr != nil || len(got.Faults) > 0 || got.First == nil {
		t.Fatalf("%v %v: %.600s", err, perr, text)
	}
	for i, dts := range got.IDs[1:] {
		if dts-got.IDs[i] != 40 {
			t.Errorf("after %d came %d", got.IDs[i], dts)
		}
	}
	browser.Screenshot(ctx, t, "frames.png")
	// Of the pictures of its GOP, as ffmpeg has them, the first one is the nearest.
	res, body := fetch(t, fmt.Sprintf("%s/gop?at=%d.%06d", cam, got.First.Timestamp/1e6, got.First.Timestamp%1e6))
	if ns := res.Header.Get("X-Frame-PTS"); ns != strconv.FormatInt(got.First.Timestamp*1000, 10) {
		t.Fatalf("the first picture drawn has %d µs, the key frame %s ns", got.First.Timestamp, ns)
	}
	// Chromium takes BT.709 where the stream does not say.
	cmd := exec.Command("ffmpeg", strings.Fields("-v error -nostdin -f h264 -i pipe:0 -vf scale=in_color_matrix=bt709:flags=accurate_rnd+full_chroma_int,format=rgba -f rawvideo -")...)
	cmd.Stdin = bytes.NewReader(body)
	want, err := cmd.Output()
	const size = 320 * 180 * 4
	if err != nil || len(want) != 25*size || len(got.First.Pixels) != size {
		t.Fatalf("%v: %d and %d bytes", err, len(want), len(got.First.Pixels))
	}
	nearest, least := -1, 1e9
	for i := range 25 {
		if d := distance(got.First.Pixels, want[i*size:][:size]); d < least {
			nearest, least = i, d
		}
	}
	t.Logf("%d pictures drawn; pixels differ by %.2f on average", got.Drawn, least)
	if nearest != 0 || least > 4 { // each scales chroma in its own way
		t.Errorf("picture %d is the nearest, pixels differ by %.2f on average", nearest, least)
	}
}

// distance is the mean difference of two pictures' colours.
func distance(a []int, b []byte) float64 {
	sum := 0
	for i, v := range a {
		if d := v - int(b[i]); i%4 < 3 {
			sum += max(d, -d)
		}
	}
	return float64(sum) / float64(len(a)*3/4)
}

// pageServer serves one page on the loopback.
func pageServer(t *testing.T, text string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
	t.Cleanup(s.Close)
	return s.URL + "/"
}
