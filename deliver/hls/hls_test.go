package hls

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store/disk"
)

// rig is a camera's stream, "cam", of parts of 200 ms, segments of two seconds and
// GOPs of one, behind a Handler, in a bubble.
type rig struct {
	t      *testing.T
	h      *Handler
	hub    *live.Hub
	camera *avtest.Paced
	stall  chan struct{} // closed, it lets the camera go on
	until  time.Duration // of media that stall lets through
	wg     sync.WaitGroup
	cancel context.CancelFunc
}

func newRig(t *testing.T, cfg live.Config) *rig {
	t.Helper()
	st, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = st
	hub, err := live.NewHub(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &rig{t: t, hub: hub, h: New(Config{Hub: hub, Store: st}), cancel: cancel}
	r.wg.Go(func() { _ = hub.Run(ctx) })
	return r
}

// publish begins to publish, until stop or the end of the rig.
func (r *rig) publish() (stop func()) {
	d := avtest.Pace(avtest.NewSynthetic(avtest.Spec{
		Video: avtest.Video{Frames: 1 << 20, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600, Size: 2000},
		Audio: avtest.Audio{Frames: 1 << 20},
	}))
	d.Change = func(p *av.Packet) bool {
		if r.stall != nil && d.Tracks()[p.Track].Timebase.Duration(p.DTS) >= r.until {
			<-r.stall
		}
		return true
	}
	r.camera = d
	done := make(chan struct{})
	r.wg.Go(func() {
		defer close(done)
		_ = r.hub.Publish(context.Background(), "cam", d)
	})
	return func() { d.Close(); <-done }
}

func (r *rig) end() {
	r.t.Helper()
	if r.stall != nil {
		close(r.stall)
	}
	if r.camera != nil {
		r.camera.Close()
	}
	r.cancel()
	r.wg.Wait()
	_ = r.hub.Close()
	if n := r.hub.InUse(); n != 0 {
		r.t.Errorf("%d bytes did not come home", n)
	}
}

type answer struct {
	*httptest.ResponseRecorder
	took time.Duration
}

func (r *rig) do(method, path string, header ...string) answer {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	began := time.Now()
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	return answer{w, time.Since(began)}
}

func (r *rig) get(path string, header ...string) answer { return r.do(http.MethodGet, path, header...) }

// at waits until so much of the stream's second segment and later ones has passed:
// the video is at segment 4, whose part 3 comes next.
func (r *rig) at() {
	r.publish()
	time.Sleep(6*time.Second + 700*time.Millisecond)
	synctest.Wait()
}

const video = "/cam/video0/"

// TestBlockingReload has the rules L17 to L24, at a moment when segment 3 is whole and
// segment 4 has the parts 0 to 2.
func TestBlockingReload(t *testing.T) {
	for _, c := range []struct {
		name, query string
		code        int
		least, most time.Duration
		has, hasNot string
	}{
		{"none", "", 200, 0, 0, "4.2.m4s", "4.3.m4s\",IND"},
		{"L17 next segment", "?_HLS_msn=4", 200, time.Second, 2 * time.Second, "\n1-4.m4s", "\n1-5.m4s"},
		{"L17 the one after", "?_HLS_msn=5", 200, 3 * time.Second, 4 * time.Second, "\n1-5.m4s", ""},
		{"L18 next part", "?_HLS_msn=4&_HLS_part=3", 200, 1, 300 * time.Millisecond, `URI="1-4.3.m4s"`, "#EXT-X-PART:DURATION=0.200,URI=\"1-4.4.m4s"},
		{"L18 part there", "?_HLS_msn=4&_HLS_part=2", 200, 0, 0, `URI="1-4.2.m4s"`, ""},
		{"L18 later part", "?_HLS_msn=4&_HLS_part=5", 200, 400 * time.Millisecond, 700 * time.Millisecond, `URI="1-4.5.m4s"`, ""},
		{"L19 beyond the last", "?_HLS_msn=3&_HLS_part=10", 200, 0, 0, `URI="1-4.0.m4s"`, ""},
		{"L19 beyond that to come", "?_HLS_msn=4&_HLS_part=10", 200, time.Second, 2 * time.Second, `URI="1-5.0.m4s"`, ""},
		{"L18 in the next segment", "?_HLS_msn=5&_HLS_part=0", 200, time.Second, 2 * time.Second, `URI="1-5.0.m4s"`, ""},
		{"L20 part alone", "?_HLS_part=3", 400, 0, 0, "", ""},
		{"L21 too far", "?_HLS_msn=6", 400, 0, 0, "", ""},
		{"L21 part too far", "?_HLS_msn=4&_HLS_part=18", 400, 0, 0, "", ""},
		{"L21 part just not too far", "?_HLS_msn=4&_HLS_part=17", 200, time.Second, 2 * time.Second, `URI="1-5.0.m4s"`, ""},
		{"L22 old", "?_HLS_msn=0", 200, 0, 0, "4.2.m4s", ""},
		{"L22 old part", "?_HLS_msn=1&_HLS_part=3", 200, 0, 0, "4.2.m4s", ""},
		{"2^63", "?_HLS_msn=9223372036854775808", 400, 0, 0, "", ""},
		{"2^63-1", "?_HLS_msn=9223372036854775807", 400, 0, 0, "", ""},
		{"negative", "?_HLS_msn=-1", 400, 0, 0, "", ""},
		{"no number", "?_HLS_msn=4&_HLS_part=x", 400, 0, 0, "", ""},
		{"empty", "?_HLS_msn=", 400, 0, 0, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, live.Config{})
				defer r.end()
				r.at()
				a := r.get(video + "index.m3u8" + c.query)
				body := a.Body.String()
				if a.Code != c.code || a.took < c.least || a.took > c.most {
					t.Errorf("%d after %v, want %d after %v to %v\n%s", a.Code, a.took, c.code, c.least, c.most, body)
				}
				if !strings.Contains(body, c.has) || c.hasNot != "" && strings.Contains(body, c.hasNot) {
					t.Errorf("want %q, not %q:\n%s", c.has, c.hasNot, body)
				}
				cached := strings.Contains(a.Header().Get("Cache-Control"), "max-age=12")
				if want := c.code == 200 && c.query != ""; cached != want {
					t.Errorf("Cache-Control: %s", a.Header().Get("Cache-Control"))
				}
			})
		})
	}
}

// L23: who waits for longer than three target durations is told so. L24: directives
// are ignored when the stream has ended.
func TestBlockingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Grace: 20 * time.Second})
		defer r.end()
		stop := r.publish()
		time.Sleep(7 * time.Second)
		stop()
		a := r.get(video + "index.m3u8?_HLS_msn=5")
		if a.Code != 503 || a.took != 6*time.Second || a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("Retry-After") == "" {
			t.Errorf("%d after %v, %v", a.Code, a.took, a.Header())
		}
		if a = r.get(video + "1-5.0.m4s"); a.Code != 404 && a.Code != 503 {
			t.Errorf("a part that never comes: %d", a.Code)
		}
		time.Sleep(20 * time.Second)
		for _, q := range []string{"?_HLS_msn=99", "?_HLS_part=1", "?_HLS_msn=x", "?_HLS_skip=YES", ""} {
			a = r.get(video + "index.m3u8" + q)
			if a.Code != 200 || a.took != 0 || !strings.Contains(a.Body.String(), "#EXT-X-ENDLIST") || strings.Contains(a.Body.String(), "PRELOAD-HINT") {
				t.Errorf("%q after the end: %d after %v\n%s", q, a.Code, a.took, a.Body)
			}
		}
	})
}

// A request that is given up leaves nobody waiting, and a publisher that returns
// answers the others, with a discontinuity.
func TestWaitingIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		stop := r.publish()
		time.Sleep(7 * time.Second)
		stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		r.h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, video+"index.m3u8?_HLS_msn=5", nil))
		if w.Code != 503 {
			t.Errorf("cancelled: %d", w.Code)
		}
		r.publish()
		a := r.get(video + "index.m3u8?_HLS_msn=5&_HLS_part=0")
		if a.Code != 200 || !strings.Contains(a.Body.String(), "#EXT-X-DISCONTINUITY\n") || !strings.Contains(a.Body.String(), `URI="2-5.0.m4s",INDEPENDENT=YES`) {
			t.Errorf("after the return: %d\n%s", a.Code, a.Body)
		}
	})
}

// L14, L15: the part that was hinted at is answered when it is whole, at once; what
// was not is not there.
func TestHintedPart(t *testing.T) {
	hinted := regexp.MustCompile(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="([^"]+)"`)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.at()
		for range 25 { // over two cuts
			list := r.get(video + "index.m3u8").Body.String()
			m := hinted.FindStringSubmatch(list)
			if m == nil {
				t.Fatalf("no hint:\n%s", list)
			}
			a := r.get(video + m[1])
			if a.Code != 200 || a.took == 0 || a.took > 300*time.Millisecond || a.Body.Len() == 0 {
				t.Errorf("%s: %d after %v", m[1], a.Code, a.took)
			}
			list = r.get(video + "index.m3u8").Body.String()
			if !strings.Contains(list, `#EXT-X-PART:DURATION=0.200,URI="`+m[1]) {
				t.Errorf("%s was hinted at, but is not what came:\n%s", m[1], list)
			}
		}
		for _, name := range []string{"1-4.99.m4s", "1-99.0.m4s", "2-5.0.m4s", "1-4.03.m4s", "1-4.-1.m4s", "01-4.0.m4s", "1-4.m4s.m4s", "1-99.m4s", "x.m4s", "1-9223372036854775808.0.m4s", "init-0.mp4"} {
			if a := r.get(video + name); a.Code != 404 || a.took != 0 || a.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d after %v", name, a.Code, a.took)
			}
		}
	})
}

// L12, L16: the parts of a segment, one behind the other, are the segment, whether they
// come from memory or, later, from the store.
func TestPartsAreTheSegment(t *testing.T) {
	uri := regexp.MustCompile(`(?m)^1-\d+\.m4s$`)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.at()
		check := func() {
			t.Helper()
			for _, rend := range []string{video, "/cam/audio0/"} {
				for _, name := range uri.FindAllString(r.get(rend+"index.m3u8").Body.String(), -1) {
					whole := r.get(rend + name)
					if whole.Code != 200 || whole.Body.Len() == 0 || whole.Header().Get("Content-Length") != strconv.Itoa(whole.Body.Len()) {
						t.Fatalf("%s: %d, %v", name, whole.Code, whole.Header())
					}
					var joined []byte
					for i := 0; ; i++ {
						a := r.get(fmt.Sprintf("%s%s.%d.m4s", rend, strings.TrimSuffix(name, ".m4s"), i))
						if a.Code != 200 {
							break
						}
						joined = append(joined, a.Body.Bytes()...)
					}
					if !bytes.Equal(joined, whole.Body.Bytes()) {
						t.Errorf("%s%s has %d bytes, its parts %d", rend, name, whole.Body.Len(), len(joined))
					}
				}
			}
		}
		check()
		time.Sleep(30 * time.Second)
		check()
	})
}

// L25: a delta update leaves out segments that are farther from the end than the skip
// boundary, and is else the same.
func TestDeltaUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.at()
		if a := r.get(video + "index.m3u8?_HLS_skip=YES"); strings.Contains(a.Body.String(), "EXT-X-SKIP") {
			t.Errorf("nothing is beyond the boundary:\n%s", a.Body)
		}
		time.Sleep(23 * time.Second)
		synctest.Wait()
		full, delta := r.get(video+"index.m3u8").Body.String(), r.get(video+"index.m3u8?_HLS_skip=YES").Body.String()
		m := regexp.MustCompile(`#EXT-X-SKIP:SKIPPED-SEGMENTS=(\d+)\n`).FindStringSubmatch(delta)
		if m == nil {
			t.Fatalf("no SKIP:\n%s", delta)
		}
		n, _ := strconv.Atoi(m[1])
		all, left := strings.Count(full, "#EXTINF:"), strings.Count(delta, "#EXTINF:")
		if n+left != all {
			t.Errorf("%d skipped and %d left of %d", n, left, all)
		}
		durations := regexp.MustCompile(`(?:#EXTINF:|PART:DURATION=)([0-9.]+)`)
		// The distance from the end of the first segment that is left is less than the
		// boundary, that of the last one skipped is not.
		lines := strings.SplitAfter(delta, "#EXTINF:")
		first, _, _ := strings.Cut(lines[1], ",")
		distance := -parse(t, first)
		open := delta[strings.LastIndex(delta, "#EXTINF:"):]
		for _, d := range regexp.MustCompile(`#EXTINF:([0-9.]+)`).FindAllStringSubmatch(delta, -1) {
			distance += parse(t, d[1])
		}
		for _, d := range durations.FindAllStringSubmatch(open[8:], -1) {
			distance += parse(t, d[1])
		}
		if distance+parse(t, first) < 12 || distance >= 12 {
			t.Errorf("%v s are behind the first segment that is left, the boundary is 12 s:\n%s", distance, delta)
		}
		for _, tag := range []string{"#EXT-X-MEDIA-SEQUENCE:", "#EXT-X-DISCONTINUITY-SEQUENCE:", "#EXT-X-TARGETDURATION:", "#EXT-X-SERVER-CONTROL:", "#EXT-X-PART-INF:", "#EXT-X-VERSION:"} {
			if line(full, tag) != line(delta, tag) {
				t.Errorf("%q and %q", line(full, tag), line(delta, tag))
			}
		}
		tail := delta[strings.Index(delta, "#EXT-X-PROGRAM-DATE-TIME"):]
		if !strings.HasSuffix(full, tail) {
			t.Error("what is not skipped differs")
		}
	})
}

func parse(t *testing.T, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func line(list, tag string) string {
	_, rest, _ := strings.Cut(list, tag)
	rest, _, _ = strings.Cut(rest, "\n")
	return rest
}

// L27: reports of the other renditions are as fresh as the playlist.
func TestRenditionReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.at()
		for range 12 {
			e := r.hub.Lookup("cam").Edge()
			x := e.Rendition("audio0")
			last := &x.Segments[len(x.Segments)-1]
			if x.Open != nil && x.Open.Listed > 0 {
				last = x.Open
			}
			want := fmt.Sprintf("#EXT-X-RENDITION-REPORT:URI=\"../audio0/index.m3u8\",LAST-MSN=%d,LAST-PART=%d\n", last.MSN, last.Listed-1)
			if a := r.get(video + "index.m3u8"); !strings.Contains(a.Body.String(), want) {
				t.Errorf("want %s in\n%s", want, a.Body)
			}
			time.Sleep(170 * time.Millisecond)
			synctest.Wait()
		}
	})
}

// L30: the playlist of key frames waits for a key frame, and its ranges are key frames.
func TestIFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.at()
		a := r.get(video + "iframes.m3u8")
		body := a.Body.String()
		m := regexp.MustCompile(`#EXTINF:([0-9.]+),\n#EXT-X-BYTERANGE:(\d+)@(\d+)\n(\S+)`).FindAllStringSubmatch(body, -1)
		if a.Code != 200 || len(m) != 6 || !strings.Contains(body, "#EXT-X-I-FRAMES-ONLY") {
			t.Fatalf("%d, %d key frames:\n%s", a.Code, len(m), body)
		}
		for _, k := range m {
			size, off := int(parse(t, k[2])), int(parse(t, k[3]))
			got := r.get(video+k[4], "Range", fmt.Sprintf("bytes=%d-%d", off, off+size-1))
			if got.Code != 206 || got.Body.Len() != size || string(got.Body.Bytes()[4:8]) != "moof" {
				t.Errorf("%s: %d, %d bytes", k[4], got.Code, got.Body.Len())
			}
			if d := parse(t, k[1]); d != 1 {
				t.Errorf("a key frame lasts %v s", d)
			}
		}
		if a = r.get(video + "iframes.m3u8?_HLS_msn=7"); a.Code != 200 || a.took == 0 || strings.Count(a.Body.String(), "#EXTINF") != 8 {
			t.Errorf("%d after %v:\n%s", a.Code, a.took, a.Body)
		}
		if a = r.get(video + "iframes.m3u8?_HLS_msn=99"); a.Code != 400 {
			t.Errorf("far ahead: %d", a.Code)
		}
		if a = r.get("/cam/audio0/iframes.m3u8"); a.Code != 404 {
			t.Errorf("of audio: %d", a.Code)
		}
		if a = r.get("/cam/index.m3u8"); !strings.Contains(a.Body.String(), `URI="video0/iframes.m3u8"`) {
			t.Errorf("it is not announced:\n%s", a.Body)
		}
	})
}

// Headers, HEAD, ranges, compression and other methods.
func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.at()
		seg := r.get(video + "1-3.m4s")
		for _, path := range []string{"/cam/index.m3u8", video + "index.m3u8", video + "iframes.m3u8", video + "1-3.m4s", video + "1-3.2.m4s", video + initOf(r)} {
			get, head := r.get(path), r.do(http.MethodHead, path)
			if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") || get.Body.Len() == 0 {
				t.Errorf("HEAD %s: %d, %d bytes, %v", path, head.Code, head.Body.Len(), head.Header())
			}
			if get.Header().Get("Access-Control-Allow-Origin") != "*" || get.Header().Get("Set-Cookie") != "" {
				t.Errorf("%s: %v", path, get.Header())
			}
			media := strings.HasSuffix(path, ".m4s") || strings.HasSuffix(path, ".mp4")
			if media != strings.Contains(get.Header().Get("Cache-Control"), "immutable") || media != (get.Header().Get("Content-Type") == "video/mp4") {
				t.Errorf("%s: %v", path, get.Header())
			}
			if !media {
				compressed(t, r, path, get.Body.Bytes())
			}
		}
		for _, c := range []struct {
			ranges string
			code   int
			want   []byte
		}{
			{"bytes=0-9", 206, seg.Body.Bytes()[:10]},
			{"bytes=24900-25100", 206, seg.Body.Bytes()[24900:25101]},
			{"bytes=-7", 206, seg.Body.Bytes()[seg.Body.Len()-7:]},
			{"bytes=99999999-", 416, nil},
			{"bytes=" + strings.Repeat("0-1,", 1000) + "5-6", 416, nil},
			{"chunks=1-2", 200, seg.Body.Bytes()}, // RFC 9110 14.2
		} {
			a := r.get(video+"1-3.m4s", "Range", c.ranges)
			if a.Code != c.code || c.want != nil && !bytes.Equal(a.Body.Bytes(), c.want) {
				t.Errorf("%.20s: %d, %d bytes", c.ranges, a.Code, a.Body.Len())
			}
		}
		if a := r.get(video+"1-3.m4s", "If-None-Match", seg.Header().Get("Etag")); a.Code != 304 {
			t.Errorf("the same again: %d", a.Code)
		}
		if a := r.do(http.MethodOptions, video+"index.m3u8"); a.Code != 204 || a.Header().Get("Access-Control-Allow-Headers") == "" {
			t.Errorf("OPTIONS: %d %v", a.Code, a.Header())
		}
		if a := r.do(http.MethodPost, video+"index.m3u8"); a.Code != 405 || a.Header().Get("Allow") == "" {
			t.Errorf("POST: %d %v", a.Code, a.Header())
		}
		if a := r.get("/nobody/video0/index.m3u8"); a.Code != 404 {
			t.Errorf("no stream: %d", a.Code)
		}
	})
}

func initOf(r *rig) string { return r.hub.Lookup("cam").Edge().Rendition("video0").Segments[0].Init }

func compressed(t *testing.T, r *rig, path string, want []byte) {
	t.Helper()
	for header, zipped := range map[string]bool{"gzip": true, "br, gzip;q=0.5": true, "*": true, "gzip;q=0": false, "gzip; q=0.0, *": false, "identity": false, "xgzip": false} {
		a := r.get(path, "Accept-Encoding", header)
		if (a.Header().Get("Content-Encoding") == "gzip") != zipped || a.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding: %s: %v", header, a.Header())
			continue
		}
		body := a.Body.Bytes()
		if zipped {
			zr, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(zr); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(body, want) {
			t.Errorf("%s by %s differs", path, header)
		}
	}
}

// A thousand requests for the next part share one rendering.
func TestOneRenderingForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.at()
		var wg sync.WaitGroup
		bodies := make([]*bytes.Buffer, 1000)
		for i := range bodies {
			wg.Go(func() { bodies[i] = r.get(video + "index.m3u8?_HLS_msn=4&_HLS_part=3").Body })
		}
		wg.Wait()
		for _, b := range bodies {
			if !bytes.Equal(b.Bytes(), bodies[0].Bytes()) {
				t.Fatal("answers differ")
			}
		}
		e := r.hub.Lookup("cam").Edge()
		if n := testing.AllocsPerRun(10, func() {
			e.Text("video0", func() []byte { t.Error("rendered again"); return nil })
		}); n > 1 {
			t.Errorf("%v allocations for a text that is there", n)
		}
	})
}

// A first request of a stream that begins waits for its first segment, which is one
// GOP; of a running one it does not wait at all.
func TestFirstPlaylist(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.publish()
		synctest.Wait()
		a := r.get("/cam/index.m3u8")
		if a.Code != 200 || a.took > 1300*time.Millisecond {
			t.Errorf("%d after %v", a.Code, a.took)
		}
		if a = r.get(video + "index.m3u8"); a.took != 0 || !strings.Contains(a.Body.String(), "#EXTINF:1.000,") {
			t.Errorf("after %v:\n%s", a.took, a.Body)
		}
	})
}

func TestWithoutLowLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Part: -1})
		defer r.end()
		r.at()
		body := r.get(video + "index.m3u8").Body.String()
		if strings.Contains(body, "PART") || !strings.Contains(body, "CAN-BLOCK-RELOAD=YES") {
			t.Error(body)
		}
		if a := r.get(video + "index.m3u8?_HLS_msn=4"); a.Code != 200 || a.took == 0 || !strings.Contains(a.Body.String(), "\n1-4.m4s") {
			t.Errorf("%d after %v", a.Code, a.took)
		}
	})
}
