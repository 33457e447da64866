package httpio_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/httpio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers every request with the pieces given, and ends as whole says.
func serve(t *testing.T, whole bool, batches ...[]string) *httptest.Server {
	t.Helper()
	return httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/x-pieces")
		p, err := httpio.Start(w, r, httpio.Options{Route: httpio.NewRoute("test", httpio.Direct, time.Second)})
		if err != nil {
			t.Error(err)
			return
		}
		for _, b := range batches {
			var bufs [][]byte
			for _, s := range b {
				bufs = append(bufs, []byte(s))
			}
			if err := p.Write(bufs); err != nil {
				t.Error(err)
			}
		}
		if err := p.Close(whole); err != nil {
			t.Error(err)
		}
		if err := p.Write([][]byte{{1}}); !errors.Is(err, httpio.ErrClosed) {
			t.Error("a write after Close:", err)
		}
	}))
}

// raw sends a request and returns the answer's bytes behind the headers.
func raw(t *testing.T, s *httptest.Server, request string) (head http.Header, body string, err error) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	text, rest, _ := strings.Cut(string(all), "\r\n\r\n")
	res, perr := http.ReadResponse(bufio.NewReader(strings.NewReader(text+"\r\n\r\n")), nil)
	if perr != nil {
		t.Fatalf("%v in %q", perr, all)
	}
	res.Body.Close()
	if names := slices.Sorted(maps.Keys(res.Trailer)); len(names) > 0 {
		res.Header.Set("Trailer", strings.Join(names, ", ")) // net/http takes it away
	}
	return res.Header, rest, err
}

// TestChunks: one chunk a Write, its size in lower-case hexadecimal, none for an
// empty one. RFC 9112 7.1
func TestChunks(t *testing.T) {
	s := serve(t, true, []string{"one", "", "two"}, []string{}, []string{""}, []string{strings.Repeat("x", 27)})
	s.Start()
	defer s.Close()
	head, body, err := raw(t, s, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if want := "6\r\nonetwo\r\n1b\r\n" + strings.Repeat("x", 27) + "\r\n0\r\n\r\n"; body != want || err != nil {
		t.Errorf("%q, want %q: %v", body, want, err)
	}
	if head.Get("Content-Type") != "text/x-pieces" || head.Get("Date") == "" {
		t.Error(head)
	}
}

// one answers every request by write and ends properly.
func one(t *testing.T, o httpio.Options, write func(p *httpio.Response)) *httptest.Server {
	t.Helper()
	if o.Route == nil {
		o.Route = httpio.NewRoute("test", httpio.Direct, time.Second)
	}
	return httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := httpio.Start(w, r, o)
		if err != nil {
			t.Error(err)
			return
		}
		write(p)
		if err := p.Close(true); err != nil {
			t.Error(err)
		}
	}))
}

func put(t *testing.T, p *httpio.Response, text string) {
	t.Helper()
	if err := p.Write([][]byte{[]byte(text)}); err != nil {
		t.Error(err)
	}
}

// TestTrailer: it is declared before the body, and stands between the last chunk and an
// empty line (RFC 9112 7.1.2); the digest is there if the client asks for it.
func TestTrailer(t *testing.T) {
	s := one(t, httpio.Options{Frames: true}, func(p *httpio.Response) {
		put(t, p, "hello ")
		put(t, p, "world")
		p.SetFrames(2, 1)
	})
	s.Start()
	defer s.Close()
	head, body, err := raw(t, s, "GET / HTTP/1.1\r\nHost: a\r\nWant-Content-Digest: sha-256=9\r\n\r\n")
	want := "6\r\nhello \r\n5\r\nworld\r\n0\r\nContent-Digest: sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:\r\n" +
		"X-Frames-Sent: 2\r\nX-Frames-Skipped: 1\r\n\r\n"
	if body != want || err != nil || head.Get("Trailer") != "Content-Digest, X-Frames-Sent, X-Frames-Skipped" {
		t.Errorf("%q, want %q: %v, %v", body, want, err, head)
	}
	if head, body, _ := raw(t, s, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); strings.Contains(body, "Digest") || head.Get("Trailer") != "X-Frames-Sent, X-Frames-Skipped" {
		t.Errorf("nobody asked for a digest: %q, %v", body, head)
	}
	if head, body, _ := raw(t, s, "GET / HTTP/1.0\r\n\r\n"); body != "hello world" || head.Get("Trailer") != "" {
		t.Errorf("HTTP/1.0: %q, %v", body, head)
	}
}

// TestTrailerClients: Go's client and curl read the same trailers, whoever frames.
func TestTrailerClients(t *testing.T) {
	curl, noCurl := exec.LookPath("curl")
	for name, c := range map[string]struct {
		keep  bool
		start func(s *httptest.Server)
	}{
		"HTTP/1.1":      {false, (*httptest.Server).Start},
		"HTTP/1.1 TLS":  {false, (*httptest.Server).StartTLS},
		"HTTP/1.1 kept": {true, (*httptest.Server).Start},
		"HTTP/2.0":      {false, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }},
	} {
		t.Run(name, func(t *testing.T) {
			s := one(t, httpio.Options{Frames: true, Keep: c.keep}, func(p *httpio.Response) {
				put(t, p, "hello world")
				p.SetFrames(7, 3)
			})
			c.start(s)
			defer s.Close()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Want-Content-Digest", "sha-256=1")
			res, err := s.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			const digest = "sha-256=:uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=:"
			if err != nil || string(b) != "hello world" || res.Trailer.Get("X-Frames-Sent") != "7" || res.Trailer.Get("X-Frames-Skipped") != "3" || res.Trailer.Get("Content-Digest") != digest {
				t.Errorf("%q, %v, %v", b, res.Trailer, err)
			}
			if noCurl != nil {
				t.Skip("there is no curl")
			}
			out, err := exec.CommandContext(t.Context(), curl, "-sSk", "-D", "-", "-H", "Want-Content-Digest: sha-256=1", s.URL).CombinedOutput()
			text := strings.ToLower(string(out))
			if err != nil || !strings.Contains(text, "x-frames-sent: 7") || !strings.Contains(text, "content-digest: "+strings.ToLower(digest)) {
				t.Errorf("curl: %v: %s", err, out)
			}
		})
	}
}

// TestTimed: each chunk says when its oldest byte was given, in an extension that
// clients ignore (RFC 9112 7.1.1).
func TestTimed(t *testing.T) {
	route := httpio.NewRoute("test", httpio.Buffered, time.Second)
	s := one(t, httpio.Options{Route: route, Timed: true}, func(p *httpio.Response) {
		put(t, p, "one")
		time.Sleep(20 * time.Millisecond)
		put(t, p, "two")
	})
	s.Start()
	defer s.Close()
	began := time.Now()
	_, body, err := raw(t, s, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	m := regexp.MustCompile(`^6;given=([0-9]+)\r\nonetwo\r\n0\r\n\r\n$`).FindStringSubmatch(body)
	if m == nil || err != nil {
		t.Fatalf("%q, %v", body, err)
	}
	us, err := strconv.ParseInt(m[1], 10, 64)
	if at := time.UnixMicro(us); err != nil || at.Before(began.Add(-time.Millisecond)) || time.Since(at) < 20*time.Millisecond {
		t.Errorf("given at %v, %v", at, err)
	}
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "onetwo" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// TestKept: a connection that net/http frames on serves more requests, and has one chunk
// for each write.
func TestKept(t *testing.T) {
	s := one(t, httpio.Options{Keep: true}, func(p *httpio.Response) {
		if err := p.Write([][]byte{[]byte("one"), nil, []byte("two")}); err != nil {
			t.Error(err)
		}
		put(t, p, "")
		put(t, p, strings.Repeat("x", 0xABC))
	})
	s.Start()
	defer s.Close()
	_, body, err := raw(t, s, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	want := "6\r\nonetwo\r\nabc\r\n" + strings.Repeat("x", 0xABC) + "\r\n0\r\n\r\n"
	if err != nil || !strings.HasPrefix(body, want+"HTTP/1.1 200 OK") || !strings.HasSuffix(body, want) {
		t.Errorf("%.300q, %v", body, err)
	}
}

func TestHTTP10(t *testing.T) {
	s := serve(t, true, []string{"one", "two"})
	s.Start()
	defer s.Close()
	if _, body, err := raw(t, s, "GET / HTTP/1.0\r\nHost: a\r\n\r\n"); body != "onetwo" || err != nil {
		t.Errorf("%q %v", body, err)
	}
}

// TestTruncation: a body that is not whole is seen not to be, by every version.
func TestTruncation(t *testing.T) {
	s := serve(t, false, []string{"one", "two"})
	s.Start()
	defer s.Close()
	if _, body, _ := raw(t, s, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); strings.Contains(body, "0\r\n\r\n") {
		t.Errorf("%q ends as if it were whole", body)
	}
	h2 := serve(t, false, []string{"one", "two"})
	h2.EnableHTTP2 = true
	h2.StartTLS()
	defer h2.Close()
	res, err := h2.Client().Get(h2.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("%q was taken for whole on %s", b, res.Proto)
	}
}

// TestClients: Go's client reads it on each version and on TLS.
func TestClients(t *testing.T) {
	for name, start := range map[string]func(s *httptest.Server){
		"HTTP/1.1": (*httptest.Server).Start,
		"TLS":      (*httptest.Server).StartTLS,
		"HTTP/2.0": func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, true, []string{"one", "two"}, []string{"three"})
			start(s)
			defer s.Close()
			res, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil || string(b) != "onetwothree" || strings.HasPrefix(name, "HTTP") && res.Proto != name {
				t.Errorf("%s: %q %v", res.Proto, b, err)
			}
		})
	}
}

// TestTryWrite: whatever was taken without waiting, the body is the same, on every
// version; an answer of HTTP/1 outlives its handler.
func TestTryWrite(t *testing.T) {
	for name, start := range map[string]func(s *httptest.Server){
		"HTTP/1.1": (*httptest.Server).Start,
		"TLS":      (*httptest.Server).StartTLS,
		"HTTP/2.0": func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			var group sync.WaitGroup
			defer group.Wait()
			var want []byte
			for i := range 40 {
				want = append(want, bytes.Repeat([]byte{byte('a' + i)}, 100000*(i%5)+i)...)
			}
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				p, err := httpio.Start(w, r, httpio.Options{Route: httpio.NewRoute("test", httpio.Direct, 20*time.Second)})
				if err != nil {
					t.Error(err)
					return
				}
				answer := func() {
					left := 0
					rest := want
					for i := 0; len(rest) > 0; i++ {
						n := min(len(rest), 5+i*1000)
						whole, err := p.TryWrite([][]byte{rest[:n/2], nil, rest[n/2 : n]})
						if rest = rest[n:]; err == nil && !whole {
							left++
							n = min(len(rest), left%2*10)
							err = p.Write([][]byte{rest[:n]})
							rest = rest[n:]
						}
						if err != nil {
							t.Error(err)
							break
						}
					}
					if err := p.Close(true); err != nil {
						t.Error(err)
					}
					if _, err := p.TryWrite([][]byte{{1}}); !errors.Is(err, httpio.ErrClosed) {
						t.Error("a write after Close:", err)
					}
					if left == 0 {
						t.Error("nothing was left")
					}
				}
				if p.Detached() != (r.ProtoMajor == 1) {
					t.Error("Detached is", p.Detached(), "on", r.Proto)
				}
				if p.Detached() {
					group.Go(answer)
					return
				}
				answer()
			}))
			s.Config.ConnState = func(c net.Conn, _ http.ConnState) {
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.SetWriteBuffer(16 << 10)
				}
			}
			start(s)
			defer s.Close()
			res, err := s.Client().Get(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, want %d: %v", len(got), len(want), err)
			}
		})
	}
}

// narrow connects to s with a small buffer for receiving.
func narrow(t *testing.T, s *httptest.Server) net.Conn {
	t.Helper()
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10) })
		return errors.Join(err, cerr)
	}}
	conn, err := d.DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestBacklog: an adaptive answer to a client that takes less than it is given batches
// because of what its socket has not sent, with TLS and without.
func TestBacklog(t *testing.T) {
	for _, start := range []func(s *httptest.Server){(*httptest.Server).Start, (*httptest.Server).StartTLS} {
		route := httpio.NewRoute("test", httpio.Adaptive, 20*time.Second)
		s := one(t, httpio.Options{Route: route}, func(p *httpio.Response) {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			piece := [][]byte{make([]byte, 1000)}
			for until := time.Now().Add(20 * time.Second); route.Stats().Changes[httpio.Backlog] == 0; <-tick.C {
				if err := p.Write(piece); err != nil || time.Now().After(until) {
					t.Errorf("%v, %+v", err, route.Stats())
					return
				}
			}
		})
		start(s)
		conn := narrow(t, s)
		if s.TLS != nil {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		tick := time.NewTicker(5 * time.Millisecond)
		for b := make([]byte, 1000); ; { // a fifth of what comes
			if _, err := conn.Read(b); err != nil {
				break
			}
			if route.Stats().Changes[httpio.Backlog] == 0 {
				<-tick.C
			}
		}
		tick.Stop()
		conn.Close()
		s.Close()
		if st := route.Stats(); st.Whole != 1 || st.Held != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// TestSlow: a client that always takes something before the deadline gets everything.
func TestSlow(t *testing.T) {
	const size = 400 << 10
	s := one(t, httpio.Options{Route: httpio.NewRoute("test", httpio.Direct, time.Second)}, func(p *httpio.Response) {
		if err := p.Write([][]byte{make([]byte, size/2), make([]byte, size/2)}); err != nil {
			t.Error(err)
		}
	})
	s.Config.ConnState = func(c net.Conn, _ http.ConnState) {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetWriteBuffer(4 << 10)
		}
	}
	s.Start()
	defer s.Close()
	conn := narrow(t, s)
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	tick := time.NewTicker(5 * time.Millisecond) // two seconds and more in all
	defer tick.Stop()
	n, b := 0, make([]byte, 1000)
	var err error
	for err == nil {
		<-tick.C
		var k int
		k, err = conn.Read(b)
		n += k
	}
	if err != io.EOF || n < size {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestDeadline: a client that does not read is given up.
func TestDeadline(t *testing.T) {
	ended := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := httpio.Start(w, r, httpio.Options{Route: httpio.NewRoute("test", httpio.Direct, 50*time.Millisecond)})
		if err != nil {
			t.Error(err)
			return
		}
		piece := make([]byte, 1<<20)
		for err == nil {
			err = p.Write([][]byte{piece})
		}
		_ = p.Close(false)
		ended <- err
	}))
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	select {
	case err := <-ended:
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("the client was waited for")
	}
}
