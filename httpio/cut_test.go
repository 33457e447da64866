package httpio_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/httpio"
)

// TestTruncationHTTP10: where the end of the connection is the end of the body, a body
// that is not whole ends by a reset, whoever frames it, and below TLS, too.
func TestTruncationHTTP10(t *testing.T) {
	text := httpio.Text{Type: "text/plain"}
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request, whole bool){
		"own": func(w http.ResponseWriter, r *http.Request, whole bool) { begun(t, w, r, false, whole) },
		"net/http's": func(w http.ResponseWriter, r *http.Request, whole bool) {
			begun(t, w, r, true, whole)
		},
		"text": func(w http.ResponseWriter, r *http.Request, whole bool) {
			_ = httpio.StreamText(w, r, text, &httpio.Zipper{}, func(w io.Writer) error {
				_, err := io.WriteString(w, "onetwo")
				if !whole {
					err = errors.New("the rest is missing")
				}
				return err
			})
		},
	} {
		for _, secure := range []bool{false, true} {
			for _, whole := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, TLS %v, whole %v", name, secure, whole), func(t *testing.T) {
					s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r, whole) }))
					s.Config.ConnContext = httpio.WithConn
					start := s.Start
					if secure {
						var all httpio.Coalescing
						s.Listener, start = all.Listener(s.Listener), s.StartTLS
					}
					start()
					defer s.Close()
					body, err := old(t, s)
					if (err == nil) != whole || whole && !strings.HasSuffix(body, "\r\n\r\nonetwo") {
						t.Errorf("%q, %v", body, err)
					}
				})
			}
		}
	}
}

// begun answers with a body, and ends as whole says.
func begun(t *testing.T, w http.ResponseWriter, r *http.Request, keep, whole bool) {
	t.Helper()
	p, err := httpio.Start(w, r, httpio.Options{Route: httpio.NewRoute("test", httpio.Direct, time.Second), Keep: keep})
	if err != nil {
		t.Error(err)
		return
	}
	put(t, p, "onetwo")
	_ = p.Close(whole)
}

// old asks s by HTTP/1.0 and reads to the end of the connection.
func old(t *testing.T, s *httptest.Server) (all string, err error) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if s.TLS != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	return string(b), err
}

// TestAbort: it ends also a write of which the client has taken a part, and those to come.
func TestAbort(t *testing.T) {
	const size = 16 << 20
	answers := make(chan *httpio.Response, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := httpio.Start(w, r, httpio.Options{Route: httpio.NewRoute("test", httpio.Direct, 20*time.Second)})
		if err != nil {
			t.Error(err)
			return
		}
		answers <- p
		for range 2 {
			if err := p.Write([][]byte{make([]byte, size)}); err == nil {
				t.Error("it was written")
			}
		}
		_ = p.Close(false)
	}))
	defer s.Close()
	conn := narrow(t, s)
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, conn, size/4); err != nil {
		t.Fatal(err)
	}
	(<-answers).Abort()
	if n, err := io.Copy(io.Discard, conn); n >= size || err == nil {
		t.Errorf("%d bytes more, %v", n, err)
	}
}
