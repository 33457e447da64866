package httpio_test

import (
	"bytes"
	"context"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/mem"
)

// recorder keeps what Write was given, itself.
type recorder struct {
	httptest.ResponseRecorder
	bufs [][]byte
}

func (w *recorder) Write(b []byte) (int, error) {
	w.bufs = append(w.bufs, b)
	return w.ResponseRecorder.Write(b)
}

func request(method string, headers ...string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), method, "/", nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

// TestServeReader: what is asked for, from the memory itself, which is let go of.
func TestServeReader(t *testing.T) {
	b := make([]byte, 10_000)
	for i := range b {
		b[i] = byte(i * 3)
	}
	changed := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		method, header, value string
		code, from, to        int
		pieces                int
	}{
		{"GET", "", "", 200, 0, 10_000, 3},
		{"HEAD", "", "", 200, 0, 0, 0},
		{"GET", "Range", "bytes=3000-6999", 206, 3000, 7000, 2},
		{"GET", "Range", "bytes=-1", 206, 9999, 10_000, 1},
		{"GET", "Range", "bytes=10000-", 416, 0, -1, 1},
		{"GET", "Range", "bytes=x", 416, 0, -1, 1},
		{"GET", "Range", "Bytes=1-2", 206, 1, 3, 1},
		{"GET", "Range", "lines=1-2", 200, 0, 10_000, 3},
		{"GET", "Range", "bytes=0-0" + strings.Repeat(",2-2", 8), 416, 0, -1, 1},
		{"GET", "If-None-Match", `"a"`, 304, 0, 0, 0},
		{"GET", "If-Modified-Since", changed.Format(http.TimeFormat), 304, 0, 0, 0},
		{"GET", "If-Match", `"b"`, 412, 0, 0, 0},
		{"HEAD", "Range", "bytes=0-9", 200, 0, 0, 0},
		{"HEAD", "Range", "bytes=99999-", 200, 0, 0, 0},
	} {
		w := &recorder{ResponseRecorder: *httptest.NewRecorder()}
		w.Header().Set("Content-Type", "video/mp4")
		if c.header != "If-Modified-Since" {
			w.Header().Set("Etag", `"a"`)
		}
		released := 0
		m := mem.NewReader([][]byte{b[:4000], b[4000:8000], b[8000:]}, func() { released++ })
		httpio.ServeReader(w, request(c.method, c.header, c.value), changed, m)
		if w.Code != c.code || len(w.bufs) != c.pieces || released != 1 {
			t.Errorf("%s %s %s: %d in %d writes, released %d times", c.method, c.header, c.value, w.Code, len(w.bufs), released)
		}
		if c.to >= 0 && !bytes.Equal(w.Body.Bytes(), b[c.from:c.to]) {
			t.Errorf("%s %s: %d bytes", c.header, c.value, w.Body.Len())
		}
		if c.to > 0 && len(w.bufs) > 0 && &w.bufs[0][0] != &b[c.from] {
			t.Errorf("%s %s: a copy", c.header, c.value)
		}
	}
}

// TestServeReaderManyRanges: each is a part of its own.
func TestServeReaderManyRanges(t *testing.T) {
	b := []byte("0123456789abcdef")
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "video/mp4")
	httpio.ServeReader(w, request("GET", "Range", "bytes=0-1,4-5,-2"), time.Time{}, mem.NewReader([][]byte{b[:5], b[5:]}, nil))
	_, params, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil || w.Code != 206 {
		t.Fatal(w.Code, err, w.Header())
	}
	parts := multipart.NewReader(w.Body, params["boundary"])
	for _, want := range []string{"01", "45", "ef"} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(p); err != nil || string(got) != want || p.Header.Get("Content-Type") != "video/mp4" {
			t.Errorf("%q, %v, want %q; %v", got, err, want, p.Header)
		}
	}
}

// TestServeReaderClientGoes: a client that asks for several ranges and leaves, while
// net/http's goroutine reads, brings nothing down, and the memory comes home.
func TestServeReaderClientGoes(t *testing.T) {
	p := mem.NewPool(256 << 20)
	defer p.Close()
	home := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k, err := p.TryNewBlock(16 << 20) // unmapped when it is let go of
		if err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Type", "video/mp4")
		httpio.ServeReader(w, r, time.Time{}, mem.NewReader([][]byte{k.Bytes()}, func() {
			k.Release()
			home <- struct{}{}
		}))
	}))
	defer s.Close()
	for range 20 {
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=0-8000000,8000001-\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 100_000)); err != nil {
			t.Error(err)
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
		<-home
		if n := p.InUse(); n != 0 {
			t.Errorf("%d bytes did not come home", n)
		}
	}
}
