package server

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/cleave-video/cleave/deliver/frames"
	"github.com/cleave-video/cleave/format/libav"
)

// answer is what a client got.
type answer struct {
	code   int
	proto  string
	header http.Header
	body   []byte
}

// client asks for a URL of the server, by one version of HTTP.
type client func(t *testing.T, method, path string, header ...string) answer

// goClient is net/http's. Connections are not kept, but for HTTP/2's one.
func goClient(base string, c *tls.Config, version int) (client, *http.Client) {
	var p http.Protocols
	p.SetHTTP1(version == 1)
	p.SetHTTP2(version == 2)
	hc := &http.Client{Transport: &http.Transport{TLSClientConfig: c, Protocols: &p, DisableKeepAlives: version == 1, DisableCompression: true}}
	return func(t *testing.T, method, path string, header ...string) answer {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(method, path, header, err)
		}
		return answer{res.StatusCode, res.Proto, res.Header, b}
	}, hc
}

// curlClient is curl, which fails the test if it finds the answer broken.
func curlClient(curl, base, cert, version string) client {
	return func(t *testing.T, method, path string, header ...string) answer {
		t.Helper()
		args := []string{"-sS", "--max-time", "30", "--cacert", cert, version, "-D", "-", base + path}
		if method == http.MethodHead {
			args = append(args, "--head")
		} else {
			args = append(args, "-X", method)
		}
		for i := 0; i+1 < len(header); i += 2 {
			args = append(args, "-H", header[i]+": "+header[i+1])
		}
		var out, complaints bytes.Buffer
		cmd := exec.Command(curl, args...)
		cmd.Stdout, cmd.Stderr = &out, &complaints
		if err := cmd.Run(); err != nil {
			t.Fatalf("curl %s: %v %s", strings.Join(args, " "), err, &complaints)
		}
		head, body, _ := bytes.Cut(out.Bytes(), []byte("\r\n\r\n"))
		line, rest, _ := strings.Cut(string(head), "\r\n")
		proto, status, _ := strings.Cut(line, " ")
		a := answer{proto: proto, header: http.Header{}, body: body}
		a.code, _ = strconv.Atoi(status[:min(3, len(status))])
		for l := range strings.SplitSeq(rest, "\r\n") {
			name, value, _ := strings.Cut(l, ":")
			a.header.Add(name, strings.TrimSpace(value))
		}
		if method == http.MethodHead {
			a.body = nil // --head prints the headers twice
		}
		return a
	}
}

// conforming is a server with a live stream and a stored file, by HTTP and HTTPS.
type conforming struct {
	*running
	cert  string
	trust *tls.Config
	file  string // path of the file
}

func startConforming(t *testing.T) *conforming {
	t.Helper()
	ffmpeg := need(t, "ffmpeg")
	cert, key := writePair(t, t.TempDir(), "localhost", time.Now())
	pem, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	dir := t.TempDir()
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=size=320x180:rate=25 -t 3 -c:v libx264 -bf 2 -g 25 " + dir + "/film.mp4")
	if out, err := exec.Command(ffmpeg, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	s := startWith(t, Config{TLSCert: cert, TLSKey: key, Files: []frames.Folder{{Name: "vod", Dir: dir}}})
	t.Cleanup(publish(t, s.rtmp+"/live/cam"))
	until(t, s.http+"/live/cam/video0/index.m3u8", "1-2.m4s")
	return &conforming{s, cert, &tls.Config{RootCAs: pool}, "/vod/film.mp4"}
}

func (s *conforming) https() string { return "https://" + s.addrs.HTTPS.String() }

// TestHTTPSemantics: every route with frames answers HEAD, ranges and conditions as RFC
// 9110 says, to Go's client and to curl, by HTTP/1.1 and HTTP/2.
func TestHTTPSemantics(t *testing.T) {
	t.Parallel()
	curl := need(t, "curl")
	s := startConforming(t)
	routes := []string{
		"/live/cam/keyframe?index=1", "/live/cam/keyframe?index=1&format=mp4", "/live/cam/gop?index=1", "/live/cam/gop?index=1&format=mp4", "/live/cam/gop?index=1&format=frames",
		s.file + "/keyframe?at=1.5", s.file + "/gop?index=1&format=mp4", s.file + "/gop?at=2&format=frames",
	}
	if _, err := libav.Find(); err == nil {
		routes = append(routes, "/live/cam/keyframe?index=1&format=jpeg", s.file+"/keyframe?index=1&format=jpeg")
	}
	one, _ := goClient(s.http, nil, 1)
	two, keeps := goClient(s.https(), s.trust, 2)
	defer keeps.CloseIdleConnections()
	for _, c := range []struct {
		name, proto string
		do          client
	}{
		{"Go, HTTP/1.1", "HTTP/1.1", one},
		{"Go, HTTP/2", "HTTP/2.0", two},
		{"curl, HTTP/1.1", "HTTP/1.1", curlClient(curl, s.http, s.cert, "--http1.1")},
		{"curl, HTTP/2", "HTTP/2", curlClient(curl, s.https(), s.cert, "--http2")},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range routes {
				if a := c.do(t, "GET", path); a.proto != c.proto {
					t.Fatalf("%s was spoken", a.proto)
				}
				conforms(t, c.do, path)
			}
			jsonConforms(t, c.do, "/live/cam/frames")
		})
	}
}

// conforms checks a route whose answer has a length and an ETag.
func conforms(t *testing.T, do client, path string) {
	t.Helper()
	whole := do(t, "GET", path)
	tag, n := whole.header.Get("Etag"), len(whole.body)
	if whole.code != 200 || n < 100 || tag == "" || whole.header.Get("Content-Length") != strconv.Itoa(n) || whole.header.Get("Accept-Ranges") != "bytes" || whole.header.Get("X-Frame-Key") != "true" {
		t.Fatalf("%s: %d, %d bytes, %v", path, whole.code, n, whole.header)
	}
	head := do(t, "HEAD", path)
	for _, name := range []string{"Content-Length", "Content-Type", "Etag", "X-Frame-Pts", "X-Frame-Timebase", "X-Gop-Frames"} {
		if head.code != 200 || len(head.body) != 0 || head.header.Get(name) != whole.header.Get(name) {
			t.Errorf("HEAD %s: %d, %s: %q, GET says %q", path, head.code, name, head.header.Get(name), whole.header.Get(name))
		}
	}
	if a := do(t, "HEAD", path, "Range", "bytes=0-9"); a.code != 200 || a.header.Get("Content-Length") != strconv.Itoa(n) {
		t.Errorf("HEAD %s with a range: %d, %v", path, a.code, a.header)
	}
	span := func(from, to int) string { return fmt.Sprintf("bytes %d-%d/%d", from, to-1, n) }
	for _, x := range []struct {
		header   []string
		code     int
		from, to int
		span     string
	}{
		{[]string{"Range", "bytes=0-9"}, 206, 0, 10, span(0, 10)},
		{[]string{"Range", "bytes=50-"}, 206, 50, n, span(50, n)},
		{[]string{"Range", "bytes=-5"}, 206, n - 5, n, span(n-5, n)},
		{[]string{"Range", "bytes=90-99999999"}, 206, 90, n, span(90, n)},
		{[]string{"Range", "bytes=99999999-"}, 416, 0, -1, fmt.Sprintf("bytes */%d", n)},
		{[]string{"Range", "bytes=0-0" + strings.Repeat(",2-2", 8)}, 416, 0, -1, ""},
		{[]string{"Range", "lines=1-2"}, 200, 0, n, ""},
		{[]string{"Range", "bytes=0-9", "If-Range", tag}, 206, 0, 10, span(0, 10)},
		{[]string{"Range", "bytes=0-9", "If-Range", `"other"`}, 200, 0, n, ""},
		{[]string{"If-None-Match", tag}, 304, 0, 0, ""},
		{[]string{"If-None-Match", "W/" + tag}, 304, 0, 0, ""},
		{[]string{"If-None-Match", `"other"`}, 200, 0, n, ""},
		{[]string{"If-None-Match", tag, "Range", "bytes=0-9"}, 304, 0, 0, ""},
		{[]string{"If-Match", tag}, 200, 0, n, ""},
		{[]string{"If-Match", `"other"`}, 412, 0, 0, ""},
	} {
		a := do(t, "GET", path, x.header...)
		if a.code != x.code || a.header.Get("Content-Range") != x.span || x.to >= 0 && !bytes.Equal(a.body, whole.body[x.from:x.to]) {
			t.Errorf("%s, %v: %d, %d bytes, %q; want %d, %q", path, x.header, a.code, len(a.body), a.header.Get("Content-Range"), x.code, x.span)
		}
		if x.code == 304 && (a.header.Get("Etag") != tag || a.header.Get("Content-Type") != "") {
			t.Errorf("%s, %v: %v", path, x.header, a.header)
		}
	}
	ranges(t, do, path, whole)
}

// ranges asks for eight at once.
func ranges(t *testing.T, do client, path string, whole answer) {
	t.Helper()
	a := do(t, "GET", path, "Range", "bytes=0-0,2-3,10-19,20-20,30-30,40-49,50-50,-7")
	kind, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if a.code != 206 || err != nil || kind != "multipart/byteranges" || a.header.Get("Content-Length") != strconv.Itoa(len(a.body)) {
		t.Fatalf("%s, eight ranges: %d, %v", path, a.code, a.header)
	}
	n := len(whole.body)
	parts := multipart.NewReader(bytes.NewReader(a.body), params["boundary"])
	for _, want := range [][2]int{{0, 1}, {2, 4}, {10, 20}, {20, 21}, {30, 31}, {40, 50}, {50, 51}, {n - 7, n}} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(path, want, err)
		}
		b, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(b, whole.body[want[0]:want[1]]) || p.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", want[0], want[1]-1, n) {
			t.Errorf("%s, %v: %d bytes, %v, %v", path, want, len(b), p.Header, err)
		}
	}
	if _, err := parts.NextPart(); !errors.Is(err, io.EOF) {
		t.Error(path, "behind the parts:", err)
	}
}

// jsonConforms checks the answer of one frame, which is another one every time: it has no
// ranges and no ETag.
func jsonConforms(t *testing.T, do client, path string) {
	t.Helper()
	for _, header := range [][]string{nil, {"Range", "bytes=0-9"}, {"If-None-Match", "*"}, {"Accept", "text/event-stream;q=0.2, application/json"}} {
		a := do(t, "GET", path, header...)
		var f frames.Frame
		if err := json.Unmarshal(a.body, &f); err != nil || a.code != 200 || f.Codec == "" || a.header.Get("Etag") != "" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Vary") != "Accept" {
			t.Errorf("%s, %v: %d, %v, %v", path, header, a.code, err, a.header)
		}
	}
	if a := do(t, "HEAD", path); a.code != 200 || len(a.body) != 0 || a.header.Get("Content-Type") != "application/json" || a.header.Get("X-Frame-Codec") == "" {
		t.Errorf("HEAD: %d, %v", a.code, a.header)
	}
	for _, header := range [][]string{{"Accept", "text/event-stream"}, nil} {
		want, more := "text/event-stream", ""
		if header == nil {
			want, more = "application/vnd.cleave.frames", "?payload=1"
		}
		if a := do(t, "HEAD", path+more, header...); a.code != 200 || len(a.body) != 0 || a.header.Get("Content-Type") != want {
			t.Errorf("HEAD of what goes on: %d, %v", a.code, a.header)
		}
	}
	if a := do(t, "OPTIONS", path, "Origin", "http://a.example", "Access-Control-Request-Method", "GET"); a.code != 204 || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("OPTIONS: %d, %v", a.code, a.header)
	}
}

// TestStreamsOfFrames: events and the binary stream come frame by frame, not when the
// answer ends, by HTTP/1.1 and HTTP/2, to Go's client and to curl.
func TestStreamsOfFrames(t *testing.T) {
	t.Parallel()
	curl := need(t, "curl")
	s := startConforming(t)
	for version, base := range map[int]string{1: s.http, 2: s.https()} {
		_, hc := goClient(base, s.trust, version)
		defer hc.CloseIdleConnections()
		open := func(path string, header ...string) *http.Response {
			req, err := http.NewRequestWithContext(t.Context(), "GET", base+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i+1 < len(header); i += 2 {
				req.Header.Set(header[i], header[i+1])
			}
			res, err := hc.Do(req)
			if err != nil || res.StatusCode != 200 || res.ProtoMajor != version || res.ContentLength != -1 {
				t.Fatalf("%v: %+v", err, res)
			}
			return res
		}
		res := open("/live/cam/frames", "Accept", "text/event-stream")
		list := takeEvents(t, res.Body, 60)
		res.Body.Close()
		for i := 1; i < len(list); i++ {
			if list[i].DTS-list[i-1].DTS != 40 {
				t.Errorf("HTTP/%d: after %d came %d", version, list[i-1].DTS, list[i].DTS)
			}
		}
		res = open("/live/cam/frames", "Accept", "text/event-stream", "Last-Event-ID", list[len(list)-5].ID)
		if again := takeEvents(t, res.Body, 4); again[0].DTS != list[len(list)-4].DTS {
			t.Errorf("HTTP/%d: it goes on with %+v", version, again[0])
		}
		res.Body.Close()
		res = open("/live/cam/frames?payload=1")
		n, keys := 0, 0
		for n < 60 {
			m, err := frames.ReadMessage(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if m.Frame() {
				n++
			}
			if m.Key() {
				keys++
			}
		}
		res.Body.Close()
		if keys < 2 {
			t.Errorf("HTTP/%d: %d key frames", version, keys)
		}
		curls(t, curl, base, s.cert, version)
	}
}

// takeEvents reads n frames.
func takeEvents(t *testing.T, r io.Reader, n int) (list []frames.Frame) {
	t.Helper()
	for lines := bufio.NewScanner(r); len(list) < n && lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || !strings.Contains(data, `"timestamp"`) {
			continue
		}
		var f frames.Frame
		if err := json.Unmarshal([]byte(data), &f); err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	if len(list) < n {
		t.Fatalf("only %d frames came", len(list))
	}
	return list
}

// curls has curl print events as they come.
func curls(t *testing.T, curl, base, cert string, version int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, curl, "-sSN", "--cacert", cert, map[int]string{1: "--http1.1", 2: "--http2"}[version], "-H", "Accept: text/event-stream", base+"/live/cam/frames")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	takeEvents(t, out, 50)
	cancel()
	_ = cmd.Wait() // it was ended
}

// TestEventSource: Chromium's EventSource takes the events by HTTP/2; when the connection
// breaks it goes on behind the last one it has seen.
func TestEventSource(t *testing.T) {
	t.Parallel()
	s := startConforming(t)
	// A page of the server itself, by HTTPS.
	p := openFramesPage(t, "about:blank", 600, 600, chromedp.Flag("ignore-certificate-errors", true))
	if _, err := chromedp.Run(p.ctx, chromedp.Navigate(s.https()+"/vod/film.mp4/frames.html")); err != nil {
		t.Fatal(err)
	}
	const listen = `window.seen = []; window.opened = 0;
const source = new EventSource(%q);
source.onopen = () => opened++;
source.addEventListener('frame', e => { const f = JSON.parse(e.data); if (f.id === e.lastEventId) seen.push(f.dts); });
source.addEventListener('skip', e => seen.push('skip'));
0`
	run := func(js string) {
		t.Helper()
		if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[any](js)); err != nil {
			t.Fatal(err)
		}
	}
	gapless := func() {
		t.Helper()
		list, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]float64]("seen.map(x => x === 'skip' ? -1 : x)"))
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; i < len(list); i++ {
			if list[i] == -1 || list[i-1] == -1 {
				continue // it was told: a browser that comes back late has missed something
			}
			if list[i]-list[i-1] != 40 {
				t.Errorf("after %v came %v", list[i-1], list[i])
			}
		}
	}
	run(fmt.Sprintf(listen, s.https()+"/live/cam/frames"))
	p.until("seen.length > 60")
	gapless()
	run("source.close(); 0") // then it is done, and its timing known
	p.until("performance.getEntriesByType('resource').some(x => x.name.endsWith('/live/cam/frames') && x.nextHopProtocol === 'h2')")

	// The same through something that breaks the first answers off.
	asked := make(chan string, 10)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Last-Event-ID")
		req, err := http.NewRequestWithContext(r.Context(), "GET", s.http+"/live/cam/frames", nil)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header = r.Header.Clone()
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			return // it was left
		}
		defer res.Body.Close()
		w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
		w.Header().Set("Access-Control-Allow-Origin", "*")
		n := 0
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			fmt.Fprintln(w, lines.Text())
			if n++; n == 200 && len(asked) < 3 {
				panic(http.ErrAbortHandler)
			}
			_ = http.NewResponseController(w).Flush()
		}
	}))
	defer broken.Close()
	if _, err := chromedp.Run(p.ctx, chromedp.Navigate(s.http+"/vod/film.mp4/frames.html")); err != nil {
		t.Fatal(err)
	}
	run(strings.Replace(fmt.Sprintf(listen, broken.URL), "const source", "var source", 1))
	p.until("opened === 3 && seen.length > 150")
	run("source.close(); 0")
	gapless()
	if first, second := <-asked, <-asked; first != "" || second == "" {
		t.Errorf("it asked behind %q, then behind %q", first, second)
	}
	broken.CloseClientConnections()
}
