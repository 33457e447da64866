package seal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
)

func TestRandomSupply(t *testing.T) {
	a, err := Random{}.Next(t.Context(), "s", 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Random{}.Next(t.Context(), "s", 1, &a)
	if err != nil || a.ID == b.ID || a.Key == b.Key || a.IV == b.IV {
		t.Errorf("%v %v %v", a, b, err)
	}
}

func keyLine(n int) string { return fmt.Sprintf("%032x:%032x\n", n, 1000+n) }

// TestFileSupply: keys of a file follow one another, also those that were added to it;
// a file that was replaced begins at its first.
func TestFileSupply(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys")
	write := func(from, to int) {
		t.Helper()
		var b strings.Builder
		for n := from; n < to; n++ {
			b.WriteString(keyLine(n))
		}
		if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(0, 2)
	var last *Key
	next := func(want int) {
		t.Helper()
		k, err := File(name).Next(t.Context(), "s", 0, last)
		if want < 0 {
			if !errors.Is(err, ErrNoKey) {
				t.Fatal(k.Name(), err)
			}
			return
		}
		if err != nil || k.Name() != fmt.Sprintf("%032x", want) {
			t.Fatalf("%s, %v, want %d", k.Name(), err, want)
		}
		last = &k
	}
	next(0)
	next(1)
	next(-1)
	write(0, 3)
	next(2)
	next(-1)
	write(10, 12)
	next(10)
	next(11)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := File(name).Next(t.Context(), "s", 0, last); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestService: what is asked, and what each answer means. No error tells a secret.
func TestService(t *testing.T) {
	answer := func(w http.ResponseWriter) { fmt.Fprint(w, keyLine(7)) }
	var asked *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r
		answer(w)
	}))
	defer srv.Close()
	s := &Service{URL: srv.URL + "/keys?of={stream}&n={number}", Token: "secret"}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	k, err := s.Next(t.Context(), "live/cam&1", 12, nil)
	if err != nil || k.Name() != fmt.Sprintf("%032x", 7) {
		t.Fatal(k.Name(), err)
	}
	if q := asked.URL.Query(); q.Get("of") != "live/cam&1" || q.Get("n") != "12" || asked.Header.Get("Authorization") != "Bearer secret" {
		t.Errorf("%s, %v", asked.URL, asked.Header)
	}
	status := func(code int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { http.Error(w, keyLine(7), code) }
	}
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter)
		last   *Key
		err    error // nil: any
	}{
		"the last again": {answer, &k, ErrNoKey},
		"no content":     {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, &k, ErrNoKey},
		"not found":      {status(http.StatusNotFound), &k, ErrNoKey},
		"forbidden":      {status(http.StatusForbidden), nil, nil},
		"too large":      {func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat(keyLine(7), 100)) }, nil, av.ErrTooLarge},
		"no key":         {func(w http.ResponseWriter) { fmt.Fprint(w, keyLine(7)[1:]) }, nil, av.ErrInvalid},
		"redirect": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusFound)
		}, nil, errRedirect},
	} {
		answer = test.answer
		_, err := s.Next(t.Context(), "s", 0, test.last)
		if err == nil || test.err != nil && !errors.Is(err, test.err) || test.err != ErrNoKey && errors.Is(err, ErrNoKey) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), keyLine(7)[33:60]) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	stop := make(chan struct{})
	answer = func(http.ResponseWriter) { <-stop }
	if _, err := s.Next(ctx, "s", 0, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(stop)
	for _, url := range []string{"", "ftp://h/k", "http:///k", "keys.txt", "http://h/%zz"} {
		if err := (&Service{URL: url}).Validate(); err == nil {
			t.Errorf("%q is taken", url)
		}
	}
}

// TestNumber: Number decides in place of Rotation which chunks share a key.
func TestNumber(t *testing.T) {
	starts := []uint64{0, 3, 4, 9} // of periods
	s, err := NewStream(Config{Scheme: CENC, Keys: NewGenerated(), Number: func(chunk uint64) (n uint64) {
		for i, first := range starts {
			if chunk >= first {
				n = uint64(i)
			}
		}
		return n
	}})
	if err != nil || !s.Rotates() {
		t.Fatal(err)
	}
	for chunk, want := range []uint64{0, 0, 0, 1, 2, 2, 2, 2, 2, 3} {
		if p, err := s.Period(uint64(chunk)); err != nil || p.Number != want {
			t.Errorf("chunk %d: %+v, %v, want %d", chunk, p, err, want)
		}
	}
}
