package httpio_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
		p, err := httpio.Open(w, r, time.Second)
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
				p, err := httpio.Open(w, r, 20*time.Second)
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

// TestDeadline: a client that does not read is given up.
func TestDeadline(t *testing.T) {
	ended := make(chan error, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := httpio.Open(w, r, 50*time.Millisecond)
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
