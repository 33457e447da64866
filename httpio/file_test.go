package httpio_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-video/cleave/httpio"
)

// kernel is a writer that says what it was given to read from.
type kernel struct {
	http.ResponseWriter
	files int
}

func (k *kernel) ReadFrom(src io.Reader) (int64, error) {
	if l, ok := src.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			k.files++
		}
	}
	return k.ResponseWriter.(io.ReaderFrom).ReadFrom(src)
}

// TestServeFile: what is asked for of a part of a file, whose descriptor net/http is given
// unless several ranges are asked for: that is what it can have the kernel send.
func TestServeFile(t *testing.T) {
	b := make([]byte, 300_000)
	for i := range b {
		b[i] = byte(i * 7 / 3)
	}
	name := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	const off, size = 1000, 200_000
	part := b[off : off+size]
	files := make(chan int, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(name)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		k := &kernel{w, 0}
		w.Header().Set("Content-Type", "video/mp4")
		w.Header().Set("Etag", `"a"`)
		n := int64(size)
		if r.Header.Get("few") != "" {
			n = 5000
		}
		httpio.ServeFile(k, r, time.Time{}, f, off, n)
		files <- k.files
	}))
	defer s.Close()
	for _, c := range []struct {
		method, header, value string
		code, from, to, files int
	}{
		{"GET", "", "", 200, 0, size, 1},
		{"HEAD", "", "", 200, 0, 0, 0},
		{"GET", "Range", "bytes=5-99", 206, 5, 100, 1},
		{"GET", "Range", "bytes=-7", 206, size - 7, size, 1},
		{"GET", "Range", "bytes=200000-", 416, 0, 0, 0},
		{"GET", "If-None-Match", `"a"`, 304, 0, 0, 0},
		{"GET", "If-None-Match", `"b"`, 200, 0, size, 1},
		{"GET", "Range", "bytes=0-0,2-3", 206, -1, 0, 0},
		{"GET", "few", "x", 200, 0, 5000, 0},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != "" {
			req.Header.Set(c.header, c.value)
		}
		res, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		res.Body.Close()
		if n := <-files; err != nil || res.StatusCode != c.code || n != c.files {
			t.Errorf("%s %s: %d, %d files, %v", c.method, c.value, res.StatusCode, n, err)
		}
		if c.from >= 0 && c.code < 300 && !bytes.Equal(got, part[c.from:c.to]) {
			t.Errorf("%s %s: %d bytes that are not those", c.method, c.value, len(got))
		}
	}
}
