package httpio

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestStreamText: text as it comes, compressed for who wants that; an error before the
// first of it is the caller's to answer with, a later one cuts it off.
func TestStreamText(t *testing.T) {
	z := &Zipper{}
	want := strings.Repeat("a line\n", 50_000)
	text := Text{Type: "text/x", CacheControl: "no-cache"}
	fault := errors.New("fault")
	for _, test := range []struct {
		method, accept string
		err            error // behind so much
		behind         int
	}{
		{http.MethodGet, "", nil, 0},
		{http.MethodGet, "gzip", nil, 0},
		{http.MethodHead, "gzip", nil, 0},
		{http.MethodHead, "", nil, 0},
		{http.MethodGet, "", fault, 0},
		{http.MethodGet, "gzip", fault, 1000},
		{http.MethodGet, "", fault, 1000},
	} {
		var got error
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = StreamText(w, r, text, z, func(w io.Writer) error {
				if test.err == nil || test.behind > 0 {
					if _, err := io.WriteString(w, want); err != nil {
						return err
					}
				}
				return test.err
			})
			if got != nil {
				Fail(w, http.StatusNotFound, got.Error())
			}
		}))
		req, err := http.NewRequestWithContext(t.Context(), test.method, srv.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", test.accept)
		res, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		var body io.Reader = res.Body
		if res.Header.Get("Content-Encoding") == "gzip" && test.method == http.MethodGet {
			if body, err = gzip.NewReader(body); err != nil {
				t.Fatal(err)
			}
		}
		b, err := io.ReadAll(body)
		res.Body.Close()
		srv.Close()
		switch {
		case test.err == nil && test.method == http.MethodHead:
			if len(b) > 0 || res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != text.Type {
				t.Errorf("%+v: %d, %d bytes", test, res.StatusCode, len(b))
			}
		case test.err == nil:
			if string(b) != want || err != nil || (res.Header.Get("Content-Encoding") == "gzip") != (test.accept == "gzip") {
				t.Errorf("%+v: %d bytes, %v, %v", test, len(b), err, res.Header)
			}
		case test.behind == 0:
			if !errors.Is(got, fault) || res.StatusCode != http.StatusNotFound || string(b) != "fault\n" {
				t.Errorf("%+v: %v, %d, %q", test, got, res.StatusCode, b)
			}
		case err == nil:
			t.Errorf("%+v: nobody was told that the rest is missing", test)
		}
	}
}
