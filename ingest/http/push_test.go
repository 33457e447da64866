package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type result struct {
	name string
	sets []avtest.Generation
	err  error
}

// serve runs a Handler until the test ends.
func serve(t *testing.T, c Config) (address string, out chan result) {
	t.Helper()
	out = make(chan result, 8)
	if c.Publish == nil {
		c.Publish = func(ctx context.Context, p *Publisher) error {
			l, err := avtest.Read(p)
			out <- result{p.Name(), l, err}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	s := httptest.NewServer(New(c))
	t.Cleanup(s.Close)
	return s.URL, out
}

// media makes a file of a format by ffmpeg.
func media(t *testing.T, format ...string) []byte {
	t.Helper()
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: bodies of real media are left out")
	}
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=s=160x120:r=25:d=3 -f lavfi -i sine=r=48000:d=3 -c:v libx264 -preset ultrafast -bf 2 -g 25 -pix_fmt yuv420p -c:a aac")
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), tool, append(append(args, format...), "-")...)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var formats = map[string][]string{
	".ts":  {"-f", "mpegts"},
	".flv": {"-f", "flv"},
	".mp4": {"-f", "mp4", "-movflags", "empty_moov+frag_keyframe+default_base_moof"},
}

func put(t *testing.T, method, url string, body io.Reader) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

// Bodies of every format, of known length and chunked, arrive whole.
func TestBodies(t *testing.T) {
	for suffix, args := range formats {
		body := media(t, args...)
		address, out := serve(t, Config{})
		for _, method := range []string{http.MethodPut, http.MethodPost} {
			for name, r := range map[string]io.Reader{"known": bytes.NewReader(body), "chunked": io.MultiReader(bytes.NewReader(body))} {
				if code, text := put(t, method, address+"/live/cam"+suffix, r); code != http.StatusNoContent {
					t.Errorf("%s %s %s: %d %s", method, suffix, name, code, text)
				}
				g := <-out
				if g.name != "live/cam" || g.err != io.EOF || len(g.sets) != 1 {
					t.Fatalf("%s: %q, %d sets, %v", suffix, g.name, len(g.sets), g.err)
				}
				var n [2]int
				for _, p := range g.sets[0].Packets {
					n[p.Track]++
				}
				if n[0] != 75 || n[1] < 141 {
					t.Errorf("%s: %v packets", suffix, n)
				}
			}
		}
	}
}

// Requests that publish nothing are answered with what is wrong.
func TestRefuses(t *testing.T) {
	flv := media(t, formats[".flv"]...)
	// What a client has sent when it is refused: more would be cut off under its hands.
	head := flv[:min(len(flv), 64<<10)]
	taken := func(context.Context, *Publisher) error { return &Refused{http.StatusConflict, "taken"} }
	for name, test := range map[string]struct {
		config Config
		method string
		path   string
		body   []byte
		want   int
	}{
		"suffix":       {Config{}, "PUT", "/live/cam", head, 415},
		"other suffix": {Config{}, "PUT", "/live/cam.mkv", head, 415},
		"format":       {Config{}, "PUT", "/live/cam.ts", head, 415},
		"format 2":     {Config{}, "POST", "/live/cam.mp4", head, 415},
		"empty":        {Config{}, "PUT", "/live/cam.flv", nil, 400},
		"cut head":     {Config{}, "PUT", "/live/cam.flv", flv[:5], 415},
		"no media":     {Config{}, "PUT", "/live/cam.flv", flv[:13], 400},
		"method":       {Config{}, "DELETE", "/live/cam.flv", nil, 405},
		"taken":        {Config{Publish: taken}, "PUT", "/live/cam.flv", head, 409},
		"crowded":      {Config{MaxBodies: -1}, "PUT", "/live/cam.flv", flv, 204},
	} {
		t.Run(name, func(t *testing.T) {
			address, _ := serve(t, test.config)
			if code, text := put(t, test.method, address+test.path, bytes.NewReader(test.body)); code != test.want {
				t.Errorf("%d %s, want %d", code, text, test.want)
			}
		})
	}
}

// A progressive MP4 whose moov stands behind the media cannot be live.
func TestProgressiveMP4IsRefused(t *testing.T) {
	body := append([]byte("\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"), 0x7f, 0xff, 0xff, 0xff, 'm', 'd', 'a', 't')
	address, _ := serve(t, Config{})
	if code, text := put(t, "PUT", address+"/a.mp4", bytes.NewReader(body)); code != http.StatusUnsupportedMediaType || !strings.Contains(text, "moov") {
		t.Errorf("%d %s", code, text)
	}
}

// One body too many is refused; its place is free again later.
func TestMaxBodies(t *testing.T) {
	let := make(chan struct{})
	inside := make(chan struct{}, 1)
	address, _ := serve(t, Config{MaxBodies: 1, Publish: func(context.Context, *Publisher) error {
		inside <- struct{}{}
		<-let
		return nil
	}})
	first := make(chan int, 1)
	go func() {
		code, _ := put(t, "PUT", address+"/a.ts", strings.NewReader("x"))
		first <- code
	}()
	<-inside
	if code, _ := put(t, "PUT", address+"/b.ts", strings.NewReader("x")); code != http.StatusServiceUnavailable {
		t.Errorf("%d", code)
	}
	close(let)
	if code := <-first; code != http.StatusNoContent {
		t.Errorf("the first: %d", code)
	}
	if code, _ := put(t, "PUT", address+"/b.ts", strings.NewReader("x")); code != http.StatusNoContent {
		t.Errorf("the next: %d", code)
	}
}

// One address has its share of the places, and another one the rest.
func TestMaxPerAddress(t *testing.T) {
	h := New(Config{MaxBodies: 3, Publish: func(context.Context, *Publisher) error { return nil }})
	for _, c := range []struct {
		from string
		want bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"b", false}} {
		if err := h.enter(c.from); (err == nil) != c.want {
			t.Errorf("%s: %v", c.from, err)
		}
	}
	h.leave("a")
	if err := h.enter("a"); err != nil {
		t.Error(err)
	}
}

// A body that says nothing is given up, and one whose client is gone.
func TestSilentBody(t *testing.T) {
	address, out := serve(t, Config{IdleTimeout: 100 * time.Millisecond})
	r, w := io.Pipe()
	defer w.Close()
	if code, _ := put(t, "PUT", address+"/a.flv", r); code != http.StatusRequestTimeout {
		t.Errorf("%d", code)
	}
	<-out
	c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "PUT /a.flv HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nFLV")
	c.Close()
	if r := <-out; !errors.Is(r.err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", r.err)
	}
}

// The server's end ends ReadPacket.
func TestServerEnds(t *testing.T) {
	out := make(chan error, 1)
	begun := make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s := httptest.NewServer(New(Config{End: ctx, Publish: func(_ context.Context, p *Publisher) error {
		close(begun)
		_, err := avtest.Read(p)
		out <- err
		return err
	}}))
	defer s.Close()
	r, w := io.Pipe()
	defer w.Close()
	go func() {
		<-begun
		stop()
	}()
	if code, _ := put(t, "PUT", s.URL+"/a.flv", r); code != http.StatusServiceUnavailable {
		t.Errorf("%d", code)
	}
	if err := <-out; err == nil {
		t.Error("no error")
	}
}

// A client that hangs up behind its body, without waiting for the answer, has
// published all of it.
func TestHangsUpBehindBody(t *testing.T) {
	ended := make(chan error, 1)
	gone := make(chan struct{})
	address, _ := serve(t, Config{Publish: func(ctx context.Context, p *Publisher) error {
		_, err := avtest.Read(p)
		<-gone // what is left to be done, such as to store the end
		if err == io.EOF {
			err = ctx.Err()
		}
		ended <- err
		return err
	}})
	body := media(t, formats[".flv"]...)
	c, err := net.Dial("tcp", strings.TrimPrefix(address, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "PUT /a.flv HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
	c.Write(body)
	c.Close()
	close(gone)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// Every prefix of a body ends with an error or its end, never a panic.
func TestPrefixes(t *testing.T) {
	for suffix, args := range formats {
		body := media(t, args...)
		_, c, _ := bySuffix("x" + suffix)
		for n := 0; n < len(body); n += max(1, len(body)/300) {
			d := c.open(bytes.NewReader(body[:n]), DefaultMaxUnit)
			if _, err := avtest.Read(d); err == nil || errors.Is(err, av.ErrTracks) {
				t.Fatalf("%s cut at %d: %v", suffix, n, err)
			}
		}
	}
}
