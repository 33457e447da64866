package frames

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/annexb"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store/disk"
)

// rig is a camera's stream, "cam", of GOPs of 23 frames at 25 a second with B
// pictures, behind a Handler, in a bubble.
type rig struct {
	t      *testing.T
	h      *Handler
	hub    *live.Hub
	camera *avtest.Paced
	wg     sync.WaitGroup
	cancel context.CancelFunc
}

func newRig(t *testing.T, cfg live.Config, video int) *rig {
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
	r.publish(video)
	return r
}

func (r *rig) publish(video int) {
	d := avtest.Pace(avtest.NewSynthetic(avtest.Spec{
		Video: avtest.Video{Frames: video, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600, Size: 2000, GOPs: []int{23}, B: 1},
		Audio: avtest.Audio{Frames: 1 << 20},
	}))
	r.camera = d
	r.wg.Go(func() { _ = r.hub.Publish(context.Background(), "cam", d) })
}

func (r *rig) end() {
	r.t.Helper()
	r.camera.Close()
	r.cancel()
	r.wg.Wait()
	_ = r.hub.Close()
	if n := r.hub.InUse(); n != 0 {
		r.t.Errorf("%d bytes did not come home", n)
	}
	if n := r.h.copied.Load(); n != 0 {
		r.t.Errorf("%d bytes of copies are still counted", n)
	}
}

func (r *rig) do(method, path string, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.h.ServeHTTP(w, req)
	return w
}

func (r *rig) get(path string, header ...string) *httptest.ResponseRecorder {
	return r.do(http.MethodGet, path, header...)
}

func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

const endless = 1 << 20

func TestParameters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(10 * time.Second)
		for _, c := range []struct {
			path string
			code int
			text string
		}{
			{"/cam/keyframe", 200, ""},
			{"/cam/gop", 200, ""},
			{"/cam/frames", 200, ""},
			{"/nobody/keyframe", 404, "no such stream"},
			{"/keyframe", 404, "no such stream"},
			{"/cam/keyframe?at=", 400, "not a number"},
			{"/cam/keyframe?at=x", 400, "not a number"},
			{"/cam/keyframe?at=1e3", 400, "not a number"},
			{"/cam/keyframe?at=--1", 400, "not a number"},
			{"/cam/keyframe?at=%2B1", 400, "not a number"},
			{"/cam/keyframe?at=1.", 400, "decimals"},
			{"/cam/keyframe?at=.5", 400, "decimals"},
			{"/cam/keyframe?at=1.0123456789", 400, "decimals"},
			{"/cam/keyframe?at=99999999999", 400, "more than"},
			{"/cam/keyframe?at=99999999999999999999999", 400, "more than"},
			{"/cam/keyframe?at=NaN", 400, "not a number"},
			{"/cam/keyframe?at=1&at=2", 400, "twice"},
			{"/cam/keyframe?at=1&index=2", 400, "only one"},
			{"/cam/keyframe?index=1.5", 400, "whole number"},
			{"/cam/keyframe?index=9223372036854775808", 400, "whole number"},
			{"/cam/keyframe?index=9223372036854775807", 404, "number yet"},
			{"/cam/keyframe?index=-9223372036854775808", 404, "older"},
			{"/cam/keyframe?index=-99", 404, "older"},
			{"/cam/keyframe?format=png", 400, "not annexb"},
			{"/cam/keyframe?format=mp4&format=mp4", 400, "twice"},
			{"/cam/keyframe?format=jpeg", 501, "no cleave-av"},
			{"/cam/gop?format=jpeg", 400, "annexb, mp4 or frames"},
			{"/cam/keyframe?at=-100", 404, "older"},
			{"/cam/frames?after=x", 400, "PTS"},
			{"/cam/frames?after=1&after=2", 400, "PTS"},
			{"/cam/frames?payload=2", 400, "0 or 1"},
		} {
			w := r.get(c.path)
			if w.Code != c.code || c.code != 200 && !strings.Contains(w.Body.String(), c.text) {
				t.Errorf("%s: %d %.100q, want %d %q", c.path, w.Code, w.Body, c.code, c.text)
			}
			if c.code != 200 && w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: may be cached", c.path)
			}
		}
		if w := r.do(http.MethodPost, "/cam/keyframe"); w.Code != 405 || w.Header().Get("Allow") == "" {
			t.Errorf("POST: %d", w.Code)
		}
		if w := r.do(http.MethodOptions, "/cam/frames"); w.Code != 204 || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "Last-Event-ID") {
			t.Errorf("OPTIONS: %d", w.Code)
		}
	})
}

func TestSeconds(t *testing.T) {
	for text, want := range map[string]time.Duration{"0": 0, "1.5": 1500 * time.Millisecond, "3600.000000001": time.Hour + 1, "007.10": 7100 * time.Millisecond} {
		if got, err := seconds(text); got != want || err != nil {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
}

func ticks(t *testing.T, w *httptest.ResponseRecorder, name string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(w.Header().Get(name), 10, 64)
	if err != nil {
		t.Fatalf("%d, %s: %v: %.200s", w.Code, name, err, w.Body)
	}
	return n
}

// frameDur and gopDur are of the rig's camera, in ticks.
const (
	frameDur = 3600
	gopDur   = 23 * frameDur
)

// Whatever the time, the answer is the key frame at or before it, also those that do
// not begin a part.
func TestKeyFrameAtTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Window: 20 * time.Second}, endless)
		defer r.end()
		pass(30 * time.Second)
		first := ticks(t, r.get("/cam/keyframe?index=0"), "X-Frame-PTS-Ticks")
		check := func() {
			t.Helper()
			for n := range int64(25) {
				pts := first + n*gopDur
				for _, late := range []int64{0, 1, gopDur / 2, gopDur - frameDur} {
					at := av.Clock90k.Duration(pts + late)
					w := r.get("/cam/keyframe?at=" + strconv.FormatFloat(at.Seconds(), 'f', 6, 64))
					if got := ticks(t, w, "X-Frame-Pts-Ticks"); got != pts || w.Header().Get("X-Frame-Key") != "true" {
						t.Fatalf("at %v: %d, want %d", at, got, pts)
					}
					if ns := ticks(t, w, "X-Frame-Pts"); ns != int64(av.Clock90k.Duration(pts)) {
						t.Errorf("%d ns", ns)
					}
				}
			}
		}
		check()
		pass(3 * time.Second) // and while segments move on
		check()
	})
}

// What memory has let go is read from the store.
func TestKeyFrameFromStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{StreamMemory: 1 << 20, Memory: 1 << 20}, endless)
		defer r.end()
		pass(60 * time.Second)
		x, err := video(r.hub.Lookup("cam").Edge())
		if err != nil {
			t.Fatal(err)
		}
		oldest := newestFirst(x)
		seg := oldest[len(oldest)-1]
		if seg.Retain() != nil {
			t.Fatal("the oldest segment is still in memory: nothing is read from the store")
		}
		at := strconv.FormatFloat(av.Clock90k.Seconds(seg.Start), 'f', 6, 64)
		for _, path := range []string{"keyframe", "gop"} {
			for _, f := range []string{"annexb", "mp4"} {
				w := r.get("/cam/" + path + "?format=" + f + "&at=" + at)
				if w.Code != 200 || ticks(t, w, "X-Frame-PTS-Ticks") != seg.Start {
					t.Errorf("%s as %s: %d, %v", path, f, w.Code, w.Header())
				}
				checkBody(t, w, f, map[string]int{"keyframe": 1, "gop": 23}[path])
			}
		}
		if w := r.get("/cam/keyframe?index=" + strconv.FormatInt(seg.FirstKey, 10)); ticks(t, w, "X-Frame-PTS-Ticks") != seg.Keys[0].PTS {
			t.Error("by number: another key frame")
		}
	})
}

// checkBody reads a body back with the program's own demuxers.
func checkBody(t *testing.T, w *httptest.ResponseRecorder, format string, frames int) {
	t.Helper()
	body := w.Body.Bytes()
	var d av.Demuxer = mp4.New(bytes.NewReader(body), int64(len(body)))
	if format == "annexb" {
		d = annexb.NewDemuxer(bytes.NewReader(body), av.H264)
	}
	defer d.Close()
	g := avtest.ReadAll(t, d)
	if len(g) != 1 || len(g[0].Packets) != frames || !g[0].Packets[0].Flags.Has(av.Key) {
		t.Fatalf("%s: %d generations, want %d frames", format, len(g), frames)
	}
	if format != "mp4" {
		return
	}
	if p := g[0].Packets[0]; p.PTS != ticks(t, w, "X-Frame-PTS-Ticks") || p.DTS != ticks(t, w, "X-Frame-DTS-Ticks") {
		t.Errorf("times in the file: %d, %d", p.PTS, p.DTS)
	}
}

func TestIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(20*time.Second + 300*time.Millisecond)
		newest := ticks(t, r.get("/cam/keyframe"), "X-Frame-PTS-Ticks")
		for n := range int64(15) {
			w := r.get("/cam/keyframe?index=" + strconv.FormatInt(-1-n, 10))
			if got := ticks(t, w, "X-Frame-PTS-Ticks"); got != newest-n*gopDur {
				t.Errorf("index %d: %d, the newest is %d", -1-n, got, newest)
			}
		}
		x, _ := video(r.hub.Lookup("cam").Edge())
		for _, seg := range newestFirst(x) {
			for i, k := range seg.Keys {
				w := r.get("/cam/keyframe?index=" + strconv.FormatInt(seg.FirstKey+int64(i), 10))
				if got := ticks(t, w, "X-Frame-PTS-Ticks"); got != k.PTS {
					t.Errorf("index %d: %d, want %d", seg.FirstKey+int64(i), got, k.PTS)
				}
			}
		}
		before := r.get("/cam/keyframe?at=-5")
		if got := ticks(t, before, "X-Frame-PTS-Ticks"); newest-got < 4*90000 || newest-got > 6*90000 {
			t.Errorf("5 s before the edge: %d, the newest is %d", got, newest)
		}
	})
}

// When a publisher returns, what was before is still there, and times go on.
func TestPublisherReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(5 * time.Second)
		l, stop := r.listen("/cam/frames", "Accept", "text/event-stream")
		pass(5 * time.Second)
		old := r.get("/cam/keyframe?index=-3&format=mp4")
		r.camera.Close()
		pass(2 * time.Second)
		r.publish(endless)
		pass(10 * time.Second)
		stop()
		newest := r.get("/cam/keyframe")
		if newest.Code != 200 || ticks(t, newest, "X-Frame-PTS-Ticks") < ticks(t, old, "X-Frame-PTS-Ticks")+5*90000 {
			t.Errorf("the newest: %v", newest.Header())
		}
		at := strconv.FormatFloat(av.Clock90k.Seconds(ticks(t, old, "X-Frame-PTS-Ticks")), 'f', 6, 64)
		if again := r.get("/cam/keyframe?format=mp4&at=" + at); !bytes.Equal(again.Body.Bytes(), old.Body.Bytes()) {
			t.Errorf("what was before: %d, %v", again.Code, again.Header())
		}
		list, _ := parseEvents(t, l.body())
		configs := 0
		for i, e := range list {
			if e.name == "config" {
				if configs++; !strings.Contains(list[i+1].data, `"key"`) {
					t.Errorf("%+v comes first", list[i+1])
				}
			}
		}
		if framesOf(t, list, false); configs != 2 {
			t.Errorf("%d configurations", configs)
		}
	})
}

// A stream without video has no key frames; that of one that begins is waited for.
func TestWithoutVideo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, 0)
		defer r.end()
		pass(10 * time.Second)
		for _, path := range []string{"/cam/keyframe", "/cam/gop", "/cam/frames", "/cam/frames?payload=1"} {
			if w := r.get(path, "Accept", "text/event-stream"); w.Code != 404 || !strings.Contains(w.Body.String(), "no video") {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(10 * time.Millisecond)
		from := time.Now()
		if w := r.get("/cam/keyframe"); w.Code != 200 || time.Since(from) == 0 || time.Since(from) > time.Second {
			t.Errorf("at the beginning, after %v: %d %s", time.Since(from), w.Code, w.Body)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		none := avtest.Pace(avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 1, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600, Size: 2000}}))
		none.Change = func(*av.Packet) bool { return false }
		r.wg.Go(func() { _ = r.hub.Publish(context.Background(), "none", none) })
		pass(10 * time.Millisecond)
		from := time.Now()
		if w := r.get("/none/keyframe"); w.Code != 503 || w.Header().Get("Retry-After") == "" || time.Since(from) != wait {
			t.Errorf("of one that does not go on, after %v: %d %s", time.Since(from), w.Code, w.Body)
		}
	})
}

func TestGOP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(20*time.Second + 300*time.Millisecond)
		for _, f := range []string{"annexb", "mp4"} {
			for n := 2; n < 10; n++ { // over cuts of segments
				w := r.get("/cam/gop?format=" + f + "&index=-" + strconv.Itoa(n))
				if w.Code != 200 || w.Header().Get("X-Gop-Frames") != "23" || w.Header().Get("X-Gop-Open") != "false" {
					t.Fatalf("%d, %v", w.Code, w.Header())
				}
				checkBody(t, w, f, 23)
			}
		}
		if w := r.get("/cam/gop"); w.Header().Get("X-Gop-Open") != "true" {
			t.Errorf("the newest: %v", w.Header())
		}
		key := r.get("/cam/keyframe?index=-3&format=mp4")
		checkBody(t, key, "mp4", 1)
	})
}

func TestConditionsAndRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(10 * time.Second)
		for _, path := range []string{"/cam/keyframe?index=1", "/cam/keyframe?index=1&format=mp4", "/cam/gop?index=1", "/cam/gop?index=1&format=mp4"} {
			whole := r.get(path)
			body, tag := whole.Body.Bytes(), whole.Header().Get("Etag")
			if whole.Code != 200 || tag == "" || whole.Header().Get("Content-Length") != strconv.Itoa(len(body)) {
				t.Fatalf("%s: %d, %v", path, whole.Code, whole.Header())
			}
			exposed := whole.Header().Get("Access-Control-Expose-Headers")
			for name := range whole.Header() {
				if strings.HasPrefix(name, "X-") && !strings.Contains(strings.ToLower(exposed), strings.ToLower(name)) {
					t.Errorf("%s is not exposed: %s", name, exposed)
				}
			}
			if w := r.do(http.MethodHead, path); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != strconv.Itoa(len(body)) || w.Header().Get("X-Frame-Key") != "true" {
				t.Errorf("HEAD: %d, %v", w.Code, w.Header())
			}
			if w := r.get(path, "If-None-Match", tag); w.Code != 304 || w.Body.Len() != 0 {
				t.Errorf("If-None-Match: %d", w.Code)
			}
			if w := r.get(path, "If-Match", `"other"`); w.Code != 412 {
				t.Errorf("If-Match: %d", w.Code)
			}
			for _, c := range []struct {
				header     string
				code       int
				start, end int
			}{{"bytes=0-99", 206, 0, 100}, {"bytes=100-", 206, 100, len(body)}, {"bytes=-7", 206, len(body) - 7, len(body)}, {"bytes=3-3", 206, 3, 4}} {
				if w := r.get(path, "Range", c.header); w.Code != c.code || !bytes.Equal(w.Body.Bytes(), body[c.start:c.end]) {
					t.Errorf("%s: %d, %d bytes", c.header, w.Code, w.Body.Len())
				}
			}
			if w := r.get(path, "Range", "bytes=99999999-"); w.Code != 416 {
				t.Errorf("beyond the end: %d", w.Code)
			}
			if w := r.get(path, "Range", "bytes=0-1"+strings.Repeat(",4-5", 8)); w.Code != 416 {
				t.Errorf("nine ranges: %d", w.Code)
			}
		}
	})
}

func TestMetaTravels(t *testing.T) {
	m := Meta{PTS: 1001, DTS: -1001, Timebase: av.Timebase{Num: 1, Den: 24000}, Key: true, Codec: "avc1.64001f"}
	var seen Meta
	h := Describe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { seen, _ = MetaFrom(r.Context()) }))
	w := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	h.ServeHTTP(w, req)
	if len(w.Header()) != 0 {
		t.Errorf("without a Meta: %v", w.Header())
	}
	w.Header().Set("Access-Control-Expose-Headers", "Date")
	h.ServeHTTP(w, req.WithContext(WithMeta(req.Context(), m)))
	if seen != m {
		t.Errorf("%+v", seen)
	}
	for name, want := range map[string]string{
		"X-Frame-PTS": "41708333", "X-Frame-DTS": "-41708333", "X-Frame-Key": "true", "X-Frame-Codec": "avc1.64001f", "X-Frame-Timebase": "1/24000",
		"X-Frame-PTS-Ticks": "1001", "X-Frame-DTS-Ticks": "-1001", "X-Frame-Duration": "", "Access-Control-Expose-Headers": "Date, " + exposedByFrames,
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func frameOf(t *testing.T, w *httptest.ResponseRecorder) (f Frame) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil || w.Code != 200 {
		t.Fatalf("%d: %v: %s", w.Code, err, w.Body)
	}
	return f
}

// Asking again and again with after gives every frame once, in the order of decoding.
func TestOneFrameAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{}, endless)
		defer r.end()
		pass(5*time.Second + 10*time.Millisecond)
		w := r.get("/cam/frames")
		f := frameOf(t, w)
		if f.Type != "delta" && f.Type != "key" || f.Codec == "" || f.Size != 2000 && f.Size != 6000 || f.Timestamp != f.PTS*1000000/90000 ||
			f.Timebase != "1/90000" || ticks(t, w, "X-Frame-PTS-Ticks") != f.PTS || w.Header().Get("Vary") != "Accept" || strings.Count(w.Body.String(), "\n") != 1 {
			t.Errorf("%+v, %v", f, w.Header())
		}
		for range 60 {
			before := time.Now()
			g := frameOf(t, r.get("/cam/frames?after="+strconv.FormatInt(f.PTS, 10)))
			if g.DTS != f.DTS+frameDur || time.Since(before) > 80*time.Millisecond {
				t.Fatalf("after %d came %d, in %v", f.DTS, g.DTS, time.Since(before))
			}
			f = g
		}
		// One that is not too old is answered at once.
		before := time.Now()
		if g := frameOf(t, r.get("/cam/frames?after="+strconv.FormatInt(f.PTS-10*frameDur, 10))); time.Since(before) != 0 || g.PTS > f.PTS {
			t.Errorf("after %v: %+v", time.Since(before), g)
		}
		// None that late comes in time.
		before = time.Now()
		if w := r.get("/cam/frames?after=999999999999"); w.Code != 204 || time.Since(before) != wait {
			t.Errorf("%d after %v", w.Code, time.Since(before))
		}
	})
}

func TestAccept(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "*/*": false, "text/*": false, "text/event-stream": true, "TEXT/Event-Stream ; Q=0.5": true, "text/event-stream;q=0": false,
		"text/event-stream;q=0.5, application/json": false, "application/json;q=0.5, text/event-stream": true, "text/event-stream;q=x": false,
		"text/event-stream;q=0.9;x=1, */*;q=1": true, "application/json": false, "text/event-stream;q=NaN": false, ",,;": false,
	} {
		if got := acceptsEvents([]string{header}); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}

func FuzzPlace(f *testing.F) {
	f.Add("at=1.5&index=-3&format=mp4")
	f.Add("at=-0.000000001")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		if p, err := parsePlace(q); err == nil && (p.at < 0 || p.at > maxAt+time.Second || p.kind == fromNewest && p.n < 0) {
			t.Errorf("%s: %+v", query, p)
		}
		_, _ = parseFormat(q, true)
	})
}
