package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/proto/srt"
	"github.com/cleave-video/cleave/test/browser"
)

// relay passes connections on to a server, and counts them.
type relay struct {
	l     net.Listener
	group sync.WaitGroup

	mu    sync.Mutex // guards what follows
	total int
	open  map[net.Conn]bool
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l, open: make(map[net.Conn]bool)}
	r.group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.group.Go(func() { r.pass(c, to) })
		}
	})
	return r
}

func (r *relay) pass(c net.Conn, to string) {
	defer c.Close()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	r.mu.Lock()
	r.total++
	r.open[c] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.open, c)
	}()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(c, far)
		c.Close()
	})
	_, _ = io.Copy(far, c)
	far.Close()
	back.Wait()
}

func (r *relay) counts() (total, open int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total, len(r.open)
}

func (r *relay) address() string { return r.l.Addr().String() }

func (r *relay) close() {
	r.l.Close()
	r.group.Wait()
}

// remote is a server that has live/cam, whose addresses count who pulls it.
type remote struct {
	*running
	byRTMP *relay
	stop   func()
}

func startRemote(t *testing.T) *remote {
	t.Helper()
	s := start(t, live.Config{Target: time.Second})
	stop := publish(t, s.rtmp+"/live/cam")
	until(t, s.http+"/live/cam/index.m3u8", "#EXTM3U")
	r := &remote{running: s, byRTMP: newRelay(t, s.addrs.RTMP.String())}
	r.stop = func() {
		stop()
		s.stop()
		r.byRTMP.close()
	}
	return r
}

// drop ends what is open.
func (r *relay) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		c.Close()
	}
}

// open begins to read an answer without end.
func open(t *testing.T, url string) (close func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, res.Body, 20000); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %v", url, res.Status, err)
	}
	return func() {
		cancel()
		res.Body.Close()
	}
}

// The first viewer connects to the source, others share that; when the last one has gone
// it ends; and a new viewer has it begin anew, with what comes then.
func TestOnDemand(t *testing.T) {
	need(t, "ffmpeg")
	far := startRemote(t)
	s := startWith(t, Config{
		Live: live.Config{Target: time.Second}, AllowPrivate: true, OnDemandIdle: time.Second,
		Sources: []pull.Source{{Name: "live/door", URL: "rtmp://" + far.byRTMP.address() + "/live/cam", OnDemand: true}},
	})
	door := s.http + "/live/door"
	state(t, s, "live/door", "waiting for a viewer")
	// What is no viewer starts nothing.
	for _, path := range []string{"/", "/live/door/", "/live/door/video0/1-0.m4s", "/live/door/manifest.mpd?time"} {
		get(t, s.http+path)
	}
	if _, home := get(t, s.http+"/"); !strings.Contains(home, `href="/live/door/"`) {
		t.Errorf("it is not on the first page: %s", home)
	}
	if res, err := http.Head(door + ".flv"); err != nil || res.StatusCode != http.StatusOK {
		t.Error(res, err)
	}
	scrape(t, s)
	if total, _ := far.byRTMP.counts(); total != 0 {
		t.Errorf("%d connections without a viewer", total)
	}
	for run := 1; run <= 2; run++ {
		crowd(t, door+".flv")
		first := open(t, door+".flv")
		second := open(t, door+".ts")
		list := until(t, door+"/video0/index.m3u8", "#EXTM3U")
		if total, open := far.byRTMP.counts(); total != run || open != 1 {
			t.Errorf("run %d: %d connections, %d open", run, total, open)
		}
		if !strings.Contains(list, fmt.Sprintf("\n%d-", run)) || run == 2 && strings.Contains(list, "\n1-") {
			t.Errorf("run %d is not epoch %d alone:\n%s", run, run, list)
		}
		decodes(t, door+"/index.m3u8")
		f := scrape(t, s)
		if value(f["cleave_source_state"], "stream", "live/door", "state", "running") != 1 {
			t.Error(f["cleave_source_state"])
		}
		first()
		second()
		st := state(t, s, "live/door", "waiting for a viewer")
		if !st.OnDemand || st.Error != "" {
			t.Errorf("%+v", st)
		}
		closed(t, far.byRTMP)
		f = scrape(t, s)
		if value(f["cleave_source_state"], "stream", "live/door", "state", "waiting for a viewer") != 1 || value(f["cleave_streams"]) != 0 || value(f["cleave_memory_in_use_bytes"]) != 0 {
			t.Error("after the last viewer:", f)
		}
	}
	// What is lost while somebody watches comes back.
	leave := open(t, door+".flv")
	until(t, door+"/video0/index.m3u8", "#EXTM3U")
	far.byRTMP.drop()
	list := until(t, door+"/video0/index.m3u8", "#EXT-X-DISCONTINUITY\n", "\n3-", "\n4-")
	if total, open := far.byRTMP.counts(); total != 4 || open != 1 {
		t.Errorf("%d connections, %d open:\n%s", total, open, list)
	}
	leave()
	http.DefaultClient.CloseIdleConnections()
	s.stop()
	far.stop()
}

// crowd is a hundred viewers who come at once.
func crowd(t *testing.T, url string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			res, err := client.Get(url)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if _, err := io.CopyN(io.Discard, res.Body, 1000); err != nil || res.StatusCode != http.StatusOK {
				t.Error(res.Status, err)
			}
		})
	}
	group.Wait()
}

// closed waits until no connection is open.
func closed(t *testing.T, r *relay) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, open := r.counts(); open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a connection to the source stays open")
		}
	}
}

// delivery is a way to watch: the URL has %s where the name is.
type delivery struct {
	name, url string
	watch     func(t *testing.T, url string)
}

// has gets a URL whose body has all of want.
func has(want ...string) func(t *testing.T, url string) {
	return func(t *testing.T, url string) {
		t.Helper()
		code, body := get(t, url)
		for _, w := range want {
			if code != http.StatusOK || !strings.Contains(body, w) {
				t.Errorf("%d, without %q: %.300q", code, w, body)
			}
		}
	}
}

// probed has ffprobe find both tracks.
func probed(args ...string) func(t *testing.T, url string) {
	return func(t *testing.T, url string) {
		t.Helper()
		args := append(args[:len(args):len(args)], "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", url)
		out, err := exec.CommandContext(t.Context(), need(t, "ffprobe"), args...).CombinedOutput()
		if text := string(out); err != nil || !strings.Contains(text, "h264") || !strings.Contains(text, "aac") {
			t.Errorf("%v %s", err, out)
		}
	}
}

func deliveries(s *running) []delivery {
	stream := func(t *testing.T, url string) { open(t, url)() }
	return []delivery{
		{"HLS", s.http + "/%s/index.m3u8", has("#EXTM3U", "CODECS=")},
		{"LL-HLS", s.http + "/%s/video0/index.m3u8", func(t *testing.T, url string) {
			has("#EXT-X-PRELOAD-HINT")(t, url)
			has("#EXT-X-PART:", "-1.0.m4s")(t, url+"?_HLS_msn=1&_HLS_part=1")
		}},
		{"key frames", s.http + "/%s/video0/iframes.m3u8", has("#EXT-X-I-FRAMES-ONLY")},
		{"DASH", s.http + "/%s/manifest.mpd", has("<MPD", "SegmentTimeline")},
		{"HTTP-FLV", s.http + "/%s.flv", stream},
		{"HTTP-TS", s.http + "/%s.ts", stream},
		{"HTTP-MP4", s.http + "/%s.mp4", stream},
		{"keyframe", s.http + "/%s/keyframe?format=annexb", has("\x00\x00\x00\x01")},
		{"gop", s.http + "/%s/gop", has("\x00\x00\x00\x01")},
		{"frame", s.http + "/%s/frames", has(`"codec":"avc1.`)},
		{"frames", s.http + "/%s/frames?payload=1", stream},
		{"WebSocket", "ws" + strings.TrimPrefix(s.http, "http") + "/%s.flv", func(t *testing.T, url string) {
			c, _, err := websocket.Dial(t.Context(), url, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer c.CloseNow()
			c.SetReadLimit(-1)
			if kind, b, err := c.Read(t.Context()); err != nil || kind != websocket.MessageBinary || !strings.HasPrefix(string(b), "FLV") {
				t.Errorf("%v %.10q %v", kind, b, err)
			}
		}},
		{"RTMP", s.rtmp + "/%s", probed()},
		{"SRT", s.srt + "?streamid=read:%s", probed()},
		{"RTSP", s.rtsp + "/%s", probed("-rtsp_transport", "tcp")},
	}
}

// Every delivery starts a source for its first viewer.
func TestOnDemandDeliveries(t *testing.T) {
	need(t, "ffmpeg")
	far := startRemote(t)
	s := startWith(t, Config{Live: live.Config{Target: time.Second}, AllowPrivate: true, OnDemandIdle: time.Second})
	t.Run("all", func(t *testing.T) {
		for i, d := range deliveries(s) {
			t.Run(d.name, func(t *testing.T) {
				t.Parallel()
				counted := newRelay(t, far.addrs.HTTP.String())
				defer counted.close()
				name := fmt.Sprintf("live/x%d", i)
				body := fmt.Sprintf(`{"name":%q,"url":"http://%s/live/cam.flv","on_demand":true}`, name, counted.address())
				if code, text := ask(t, s, "POST", "/v1/streams", body); code != http.StatusCreated {
					t.Fatal(code, text)
				}
				state(t, s, name, "waiting for a viewer")
				d.watch(t, fmt.Sprintf(d.url, name))
				state(t, s, name, "waiting for a viewer")
				closed(t, counted)
				if total, _ := counted.counts(); total != 1 {
					t.Errorf("%d connections", total)
				}
			})
		}
	})
	s.stop()
	far.stop()
}

// Why there is nothing to watch is said at once, where that is known, and never shows
// what is secret in the address of a source.
func TestOnDemandErrors(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	silent := newRelay(t, "127.0.0.1:1") // it hangs up
	silent.close()
	slow, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	source := func(name, scheme, host string) pull.Source {
		return pull.Source{Name: name, URL: scheme + "://user:geheim@" + host + "/live/cam?token=geheim2", OnDemand: true}
	}
	far := strings.TrimPrefix(web.URL, "http://")
	empty := start(t, live.Config{}) // it has no such stream
	s := startWith(t, Config{AllowPrivate: true, OnDemandTimeout: 500 * time.Millisecond, OnDemandIdle: 100 * time.Millisecond, Sources: []pull.Source{
		source("live/missing", "http", far), source("live/refused", "rtmp", silent.address()), source("live/slow", "http", slow.Addr().String()),
		source("live/wrong", "rtsp", silent.address()), source("live/local", "http", "169.254.169.254"),
		source("live/norms", "rtmp", empty.addrs.RTMP.String()), source("live/norts", "rtsp", empty.addrs.RTSP.String()),
		{Name: "live/nolist", URL: "http://user:geheim@" + far + "/index.m3u8?token=geheim2", OnDemand: true},
	}})
	type refusal struct {
		code int
		text string
	}
	t.Run("all", func(t *testing.T) {
		for name, want := range map[string]refusal{
			"missing": {502, "it answered 404 Not Found"}, "refused": {502, "its host refuses the connection"}, "wrong": {502, "its host refuses the connection"},
			"local": {502, "its address is not allowed"}, "slow": {503, "has not begun in time"}, "none": {404, "no such"},
			"norms": {502, "it answered NetStream.Play.StreamNotFound"}, "norts": {502, "it answered 404 Not Found"}, "nolist": {502, "it answered 404 Not Found"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				refuses(t, s, "live/"+name, want.code, want.text)
				played(t, s, "live/"+name, want.code, want.text)
			})
		}
		for name, want := range map[string]srt.Reason{"missing": srt.Gateway, "slow": srt.Down, "none": srt.NotFound} {
			t.Run("SRT "+name, func(t *testing.T) {
				t.Parallel()
				u, err := url.Parse(s.srt + "?streamid=read:live/" + name)
				if err != nil {
					t.Fatal(err)
				}
				var no *srt.Refused
				if _, err := srt.Pull(t.Context(), u, srt.PullConfig{}); !errors.As(err, &no) || no.Reason != want {
					t.Error(err)
				}
			})
		}
	})
	for _, name := range []string{"missing", "refused", "wrong", "local", "norms", "norts", "nolist"} {
		if st := state(t, s, "live/"+name, "waiting for a viewer"); st.Error == "" || strings.Contains(st.Error, "geheim") {
			t.Errorf("%s: the last error is %q", name, st.Error)
		}
	}
	s.stop()
	empty.stop()
}

// refuses asks by HTTP for what cannot be played.
func refuses(t *testing.T, s *running, name string, code int, why string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/index.m3u8", "/video0/index.m3u8", "/manifest.mpd", ".flv", ".ts", ".mp4", "/keyframe", "/gop", "/frames", "/frames?payload=1"} {
		from := time.Now()
		res, err := client.Get(s.http + "/" + name + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if text := string(body); err != nil || res.StatusCode != code || !strings.Contains(text, why) || strings.Contains(text, "geheim") || strings.Contains(text, "127.0.0.1") {
			t.Errorf("%s%s: %s %s, want %d, %q", name, path, res.Status, text, code, why)
		}
		head := res.Header
		if head.Get("Cache-Control") != "no-store" || (code == 404) != (head.Get("Retry-After") == "") || head.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s%s: %v", name, path, head)
		}
		if d := time.Since(from); d > 9*time.Second { // less than a dial takes that is not answered
			t.Errorf("%s%s: after %v", name, path, d)
		}
	}
	_, res, err := websocket.Dial(t.Context(), "ws"+strings.TrimPrefix(s.http, "http")+"/"+name+".flv", nil)
	if err == nil || res == nil || res.StatusCode != code {
		t.Errorf("%s: a WebSocket: %v %v", name, res, err)
	}
}

// played has ffprobe play by RTMP and RTSP what cannot be, if it is there.
func played(t *testing.T, s *running, name string, code int, why string) {
	t.Helper()
	probe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Log("no ffprobe: RTMP and RTSP are not tried")
		return
	}
	status := fmt.Sprint(code)
	for address, want := range map[string]string{s.rtmp + "/" + name: why, s.rtsp + "/" + name: status} {
		out, err := exec.CommandContext(t.Context(), probe, "-v", "error", address).CombinedOutput()
		var failed *exec.ExitError
		if !errors.As(err, &failed) || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v %s", address, err, out)
		}
	}
}

// The player page plays a source that its visitor starts.
func TestOnDemandPage(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	need(t, "chromium")
	far := startRemote(t)
	defer far.stop()
	s := startWith(t, Config{
		Live: live.Config{Target: time.Second}, AllowPrivate: true, OnDemandIdle: time.Second,
		Sources: []pull.Source{{Name: "live/door", URL: "rtmp://" + far.byRTMP.address() + "/live/cam", OnDemand: true}},
	})
	browser.NeedScript(t, s.http)
	ctx, stopBrowser := browser.Start(t, 90*time.Second, chromedp.WindowSize(1100, 900), browser.Autoplay)
	defer stopBrowser()
	state(t, s, "live/door", "waiting for a viewer")
	if _, err := chromedp.Run(ctx, chromedp.Navigate(s.http+"/live/door")); err != nil { // which redirects
		t.Fatal(err)
	}
	js := "document.querySelector('video').getVideoPlaybackQuality().totalVideoFrames > 100"
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](js, chromedp.WithPollingTimeout(45*time.Second), chromedp.WithPollingInterval(200*time.Millisecond))); err != nil {
		browser.Screenshot(ctx, t, "on-demand-stuck.png")
		t.Fatal("the page does not play: ", err)
	}
	browser.Screenshot(ctx, t, "on-demand.png")
	if total, open := far.byRTMP.counts(); total != 1 || open != 1 {
		t.Errorf("%d connections, %d open", total, open)
	}
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatal(err)
	}
	state(t, s, "live/door", "waiting for a viewer")
	closed(t, far.byRTMP)
}
