package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/deliver/frames"
	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/live"
)

// ask sends a request to the administration.
func ask(t *testing.T, s *running, method, path, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.addrs.Admin.String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// state waits until a source's state is that, and returns what is known of it.
func state(t *testing.T, s *running, name, want string) sourceInfo {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		code, body := ask(t, s, "GET", "/v1/streams", "")
		var list []streamInfo
		if err := json.Unmarshal([]byte(body), &list); err != nil || code != 200 {
			t.Fatal(code, err, body)
		}
		for _, x := range list {
			if x.Name == name && x.Source != nil && x.Source.State == want {
				return *x.Source
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is never %s: %s", name, want, body)
		}
	}
	return sourceInfo{}
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	s := start(t, live.Config{})
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n", "/v1/streams": "[]\n"} {
		if code, body := ask(t, s, "GET", path, ""); code != 200 || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	for _, test := range []struct {
		body    string
		headers []string
		want    int
	}{
		{`{"name":"live/a","url":"rtsp://127.0.0.1:1/x"}`, nil, 201},
		{`{"name":"live/a","url":"rtsp://127.0.0.1:1/x"}`, nil, 409},
		{`{"name":"../a","url":"rtsp://127.0.0.1:1/x"}`, nil, 400},
		{`{"name":"live/b","url":"gopher://127.0.0.1:1/x"}`, nil, 400},
		{`{"name":"live/b","url":"file:///etc/passwd"}`, nil, 403},
		{`{"name":"live/b","url":"FILE:///etc/passwd"}`, nil, 403},
		{`{"name":"live/b","url":"://"}`, nil, 400},
		{`{"name":"live/b","link":"x"}`, nil, 400},
		{`{"name":"`, nil, 400},
		{strings.Repeat("[", 100<<10), nil, 400}, // more than is read, and little enough to be sent
		{`{"name":"live/b","url":"http://127.0.0.1:1/"}`, []string{"Content-Type", "text/plain"}, 415},
		{`{"name":"live/b","url":"http://127.0.0.1:1/"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{`{"name":"live/b","url":"http://127.0.0.1:1/"}`, []string{"Origin", "http://evil.example"}, 403},
	} {
		if code, body := ask(t, s, "POST", "/v1/streams", test.body, test.headers...); code != test.want {
			t.Errorf("%.80s: %d %s, want %d", test.body, code, body, test.want)
		}
	}
	if st := state(t, s, "live/a", "waiting"); !strings.Contains(st.Error, "not allowed") || st.Failed < 1 {
		t.Errorf("a source on a private address: %+v", st)
	}
	if code, _ := ask(t, s, "DELETE", "/v1/streams/live/a", ""); code != 204 {
		t.Errorf("%d", code)
	}
	if code, _ := ask(t, s, "DELETE", "/v1/streams/live/a", ""); code != 404 {
		t.Errorf("%d", code)
	}
}

// Declared sources play: a file that loops, MPEG-TS over HTTP, and RTMP; what is
// not there yet comes when it is.
func TestSources(t *testing.T) {
	t.Parallel()
	ffmpeg := need(t, "ffmpeg")
	file := filepath.Join(t.TempDir(), "loop.mp4")
	args := strings.Fields(strings.Replace(testPicture, "-re", "-t 3", 1) + "-t 3 " + file)
	if out, err := exec.CommandContext(t.Context(), ffmpeg, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cmd := exec.CommandContext(r.Context(), ffmpeg, append(strings.Fields(testPicture), "-f", strings.TrimPrefix(r.URL.Path, "/"), "-")...)
		cmd.Stdout = w
		_ = cmd.Run() // it ends with the request
	}))
	defer web.Close()
	s := startWith(t, Config{
		Live: live.Config{Target: time.Second}, AllowPrivate: true,
		Sources: []pull.Source{{Name: "live/loop", URL: "file://" + file}, {Name: "live/ts", URL: web.URL + "/mpegts"}, {Name: "live/flv", URL: web.URL + "/flv"}},
	})
	for _, name := range []string{"live/loop", "live/ts", "live/flv"} {
		arrives(t, s, name, h264AndAAC...)
		if st := state(t, s, name, "running"); st.Bytes == 0 {
			t.Errorf("%s: %+v", name, st)
		}
	}
	// The file began anew, on one timeline.
	list := until(t, s.http+"/live/loop/video0/index.m3u8", "#EXT-X-DISCONTINUITY\n")
	if strings.Contains(list, "ENDLIST") {
		t.Errorf("%s", list)
	}
	s.stop()
}

// A stream of one server is pulled by another as HLS, declared while it runs.
func TestSourceOfHLS(t *testing.T) {
	t.Parallel()
	ffmpeg := need(t, "ffmpeg")
	first := start(t, live.Config{Target: time.Second})
	stop := publishBy(t, ffmpeg, append(strings.Fields(testPicture), "-f", "flv", first.rtmp+"/live/cam")...)
	second := startWith(t, Config{Live: live.Config{Target: time.Second}, AllowPrivate: true})
	until(t, first.http+"/live/cam/video0/index.m3u8", "-2.m4s")
	if code, text := ask(t, second, "POST", "/v1/streams", fmt.Sprintf(`{"name":"live/copy","url":"%s/live/cam/index.m3u8"}`, first.http)); code != 201 {
		t.Fatal(code, text)
	}
	arrives(t, second, "live/copy", h264AndAAC...)
	second.stop()
	stop()
	first.stop()
}

// HOSTILE: whatever a source's address leads to, only what the policy allows is
// connected to.
func TestSourceAddresses(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was connected to") }))
	defer web.Close()
	s := start(t, live.Config{})
	port := web.URL[strings.LastIndex(web.URL, ":"):]
	for i, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "0.0.0.0", "2130706433", "10.0.0.1"} {
		for _, scheme := range []string{"http", "rtsp", "rtmp", "srt"} {
			name := fmt.Sprintf("live/%s%d", scheme, i)
			body := fmt.Sprintf(`{"name":%q,"url":"%s://%s%s/live/a.m3u8"}`, name, scheme, host, port)
			if code, text := ask(t, s, "POST", "/v1/streams", body); code != 201 {
				t.Fatal(code, text)
			}
			if st := state(t, s, name, "waiting"); st.Error == "" {
				t.Errorf("%s: %+v", body, st)
			}
		}
	}
	s.stop()
}

func TestReadFile(t *testing.T) {
	write := func(text string) string {
		name := filepath.Join(t.TempDir(), "cleave.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	f, err := ReadFile(write("http: \":81\"\nrtmp: off\nsrt_passphrase: correct horse\ntarget: 1500ms\nallow_private: true\nsources:\n  - name: live/a\n    url: rtsp://host/x\n  - {name: live/b, url: \"http://host/y.ts\", on_demand: true}\non_demand_timeout: 3s\non_demand_idle: 1m\nfiles:\n  - {name: vod, dir: /srv/films}\nfiles_index: 1MiB\n"))
	if err != nil {
		t.Fatal(err)
	}
	c := Config{HTTP: ":80", Sources: []pull.Source{{Name: "z", URL: "u"}}}
	f.Apply(&c)
	if c.HTTP != ":80" || c.RTMP != "off" || c.SRTPassphrase != "correct horse" || c.Live.Target != 1500*time.Millisecond || !c.AllowPrivate || len(c.Sources) != 3 || c.Sources[2].URL != "http://host/y.ts" || !c.Sources[2].OnDemand || c.Sources[1].OnDemand || c.OnDemandTimeout != 3*time.Second || c.OnDemandIdle != time.Minute ||
		c.FilesIndex != 1<<20 || !slices.Equal(c.Files, []frames.Folder{{Name: "vod", Dir: "/srv/films"}}) {
		t.Errorf("%+v", c)
	}
	for text, want := range map[string]string{"htpp: x\n": "htpp", "sources: 5\n": "sources", "target: soon\n": "", "http: [\n": "", "sources:\n  - nmae: x\n": "nmae"} {
		if _, err := ReadFile(write(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := ReadFile("/nowhere"); err == nil {
		t.Error("no error")
	}
	if f, err := ReadFile(write("")); err != nil || f.HTTP != "" {
		t.Errorf("an empty file: %v", err)
	}
}

func TestBadSources(t *testing.T) {
	for _, src := range []pull.Source{{Name: "../x", URL: "http://h/"}, {Name: "x", URL: "gopher://h/"}} {
		if err := Run(t.Context(), Config{Data: t.TempDir(), Sources: []pull.Source{src}}); err == nil || !strings.Contains(err.Error(), src.Name) {
			t.Errorf("%v: %v", src, err)
		}
	}
}
