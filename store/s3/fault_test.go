package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/mem"
	"github.com/cleave-video/cleave/store/retry"
)

// fault is what a service does wrong with a request.
type fault string

const (
	answers503    fault = "answers 503"
	answers500    fault = "answers 500"
	answers429    fault = "answers 429"
	drops         fault = "drops the connection"
	doesAndDrops  fault = "does it, then drops the connection"
	doesAnd503    fault = "does it, then answers 503"
	doesAndStalls fault = "does it, then does not answer"
	stalls        fault = "does not answer"
	cutsShort     fault = "ends the answer early"
	shortLength   fault = "answers with fewer bytes and says so"
	flipsBit      fault = "changes a bit of the answer"
	ignoresRange  fault = "answers with all bytes"
)

// faulty stands before a service and does something wrong with some requests.
type faulty struct {
	inner http.Handler
	mu    sync.Mutex // guards what follows
	next  map[string][]fault
	seen  []string
	done  chan struct{} // ends stalls
}

func newFaulty(t *testing.T, change func(*Config)) (*faulty, *S3) {
	f := &faulty{inner: fake(), next: make(map[string][]fault), done: make(chan struct{})}
	srv := httptest.NewServer(f)
	t.Cleanup(func() {
		close(f.done)
		srv.Close()
	})
	makeBucket(t, srv.Listener.Addr().String())
	return f, connect(t, srv.Listener.Addr().String(), "", change)
}

// will has the next requests of a method meet faults, one each; "" is none.
func (f *faulty) will(method string, list ...fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next[method], f.seen = list, nil
}

func (f *faulty) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, m := range f.seen {
		if m == method {
			n++
		}
	}
	return n
}

func (f *faulty) take(r *http.Request) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	method := r.Method
	if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
		method = "COMPLETE"
	}
	f.seen = append(f.seen, method)
	list := f.next[method]
	if len(list) == 0 {
		return ""
	}
	f.next[method] = list[1:]
	return list[0]
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what := f.take(r)
	fail := func(status int) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>SlowDown</Code><Message>%d</Message></Error>", status)
	}
	switch what {
	case answers503:
		fail(503)
		return
	case answers500:
		w.WriteHeader(500)
		return
	case answers429:
		fail(429)
		return
	case drops:
		panic(http.ErrAbortHandler)
	case stalls:
		f.stall(r)
		return
	case ignoresRange:
		r.Header.Del("Range")
	}
	rec := httptest.NewRecorder()
	f.inner.ServeHTTP(rec, r)
	switch what {
	case doesAndDrops:
		panic(http.ErrAbortHandler)
	case doesAnd503:
		fail(503)
		return
	case doesAndStalls:
		f.stall(r)
		return
	}
	body := rec.Body.Bytes()
	for k, v := range rec.Header() {
		w.Header()[k] = v
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	switch what {
	case cutsShort:
		body = body[:len(body)/2]
	case shortLength:
		body = body[:len(body)/2]
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	case flipsBit:
		body = bytes.Clone(body)
		body[len(body)/2] ^= 1
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(body)
}

func (f *faulty) stall(r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	select {
	case <-f.done:
	case <-r.Context().Done():
	}
}

func content(n int) []byte { return bytes.Repeat([]byte("0123456789abcdef"), (n+15)/16)[:n] }

func read(o store.Object) ([]byte, error) {
	return io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
}

func check1(t *testing.T, s store.Store, key string, want []byte) {
	t.Helper()
	o, err := s.Open(t.Context(), key)
	if err != nil {
		t.Errorf("%s: %v", key, err)
		return
	}
	defer o.Close()
	if b, err := read(o); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%s: %d bytes of %d, %v", key, len(b), len(want), err)
	}
}

// TestPutFaults puts an object while the service is at fault once: a fault before
// anything was stored is transient, and one after that is no fault at all.
func TestPutFaults(t *testing.T) {
	quick := func(c *Config) { c.Timeout = 300 * time.Millisecond }
	for _, what := range []fault{answers503, answers500, answers429, drops, stalls, doesAndDrops, doesAnd503, doesAndStalls} {
		for _, size := range []int{0, 1000, 11 << 20} {
			for _, fresh := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%v", what, size, fresh), func(t *testing.T) {
					change := quick
					if size > 1000 {
						if what != drops && what != doesAndDrops {
							t.Skip("the smaller ones show it")
						}
						change = nil // parts take longer than that on a slow machine
					}
					f, s := newFaulty(t, change)
					body := content(size)
					put := s.Put
					if fresh {
						put = s.PutNew
					}
					method := http.MethodPut
					if size > 1000 {
						method = "COMPLETE"
					}
					f.will(method, what)
					err := put(t.Context(), "k", bytes.NewReader(body), int64(size))
					if stored := strings.HasPrefix(string(what), "does it"); stored && err != nil {
						t.Fatalf("it was stored: %v", err)
					} else if !stored && !errors.Is(err, store.ErrTransient) {
						t.Fatalf("%v", err)
					}
					if err := put(t.Context(), "k", bytes.NewReader(body), int64(size)); err != nil {
						t.Errorf("again: %v", err)
					}
					check1(t, s, "k", body)
				})
			}
		}
	}
}

// TestAnswerLostTwice has the answer to a conditional put lost, and that to the
// question whether it was stored: the retry meets its own object.
func TestAnswerLostTwice(t *testing.T) {
	f, s := newFaulty(t, nil)
	f.will(http.MethodPut, doesAndDrops)
	f.will(http.MethodHead, drops)
	f.mu.Lock()
	f.next[http.MethodPut] = []fault{doesAndDrops}
	f.mu.Unlock()
	err := s.PutNew(t.Context(), "lease", strings.NewReader("mine"), 4)
	if !errors.Is(err, store.ErrTransient) {
		t.Fatalf("%v", err)
	}
	if err := s.PutNew(t.Context(), "lease", strings.NewReader("mine"), 4); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := s.PutNew(t.Context(), "lease", strings.NewReader("his."), 4); !errors.Is(err, store.ErrExist) {
		t.Errorf("another: %v", err)
	}
}

// TestReadFaults reads while the service is at fault once: no wrong byte is
// returned, and the next read is right.
func TestReadFaults(t *testing.T) {
	body := content(300000)
	for _, what := range []fault{answers503, drops, stalls, cutsShort, shortLength, flipsBit, ignoresRange} {
		for _, how := range []string{"whole", "sequence", "range"} {
			if what == flipsBit && how == "range" || what == ignoresRange && how != "range" {
				continue // a range has no checksum; others have no range
			}
			t.Run(string(what)+"/"+how, func(t *testing.T) {
				f, s := newFaulty(t, func(c *Config) { c.Timeout = 500 * time.Millisecond })
				if err := s.Put(t.Context(), "k", bytes.NewReader(body), int64(len(body))); err != nil {
					t.Fatal(err)
				}
				o, err := s.Open(t.Context(), "k")
				if err != nil {
					t.Fatal(err)
				}
				defer o.Close()
				attempt := func() ([]byte, error) {
					switch how {
					case "whole":
						b := make([]byte, len(body))
						n, err := o.ReadAt(b, 0)
						return b[:n], err
					case "sequence":
						return read(o)
					}
					b := make([]byte, 1000)
					n, err := o.ReadAt(b, 100000)
					return b[:n], err
				}
				f.will(http.MethodGet, what, what) // the HTTP client tries a dropped one again
				b, err := attempt()
				f.will(http.MethodGet)
				if !errors.Is(err, store.ErrTransient) {
					t.Errorf("%d bytes, %v", len(b), err)
				}
				if what == flipsBit && !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%v", err)
				}
				b, err = attempt()
				want := body
				if how == "range" {
					want = body[100000:101000]
				}
				if err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(b, want) {
					t.Errorf("again: %d bytes, %v", len(b), err)
				}
			})
		}
	}
}

func TestSequenceIsOneRequest(t *testing.T) {
	f, s := newFaulty(t, nil)
	body := content(1 << 20)
	if err := s.Put(t.Context(), "k", bytes.NewReader(body), 1<<20); err != nil {
		t.Fatal(err)
	}
	f.will(http.MethodGet)
	check1(t, s, "k", body)
	if n := f.count(http.MethodGet); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestListFaults(t *testing.T) {
	for _, what := range []fault{answers503, drops, cutsShort, shortLength} {
		f, s := newFaulty(t, nil)
		if err := s.Put(t.Context(), "k", strings.NewReader(""), 0); err != nil {
			t.Fatal(err)
		}
		f.will(http.MethodGet, what, what)
		for info, err := range s.List(t.Context(), "") {
			if !errors.Is(err, store.ErrTransient) {
				t.Errorf("%s: %v, %v", what, info, err)
			}
		}
	}
}

// TestRetry is a service with many faults behind package retry: all goes well.
func TestRetry(t *testing.T) {
	f, s := newFaulty(t, func(c *Config) { c.Timeout = 500 * time.Millisecond })
	r := retry.New(s, retry.Config{Base: time.Millisecond, Max: 2 * time.Millisecond})
	body := content(100000)
	for i := range 5 {
		key := fmt.Sprintf("k/%d", i)
		f.will(http.MethodPut, answers503, drops, doesAndDrops)
		if err := r.PutNew(t.Context(), key, bytes.NewReader(body), int64(len(body))); err != nil {
			t.Fatal(err)
		}
		f.will(http.MethodGet, answers503, cutsShort, shortLength)
		check1(t, r, key, body)
	}
	f.will(http.MethodGet, answers503, cutsShort)
	n := 0
	for _, err := range r.List(t.Context(), "k/") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d objects listed", n)
	}
}

// TestSendsFromMem moves an object from one store to another: an opened object is a
// body.
func TestSendsFromMem(t *testing.T) {
	m := mem.New(mem.Config{})
	defer m.Close()
	_, s := newFaulty(t, nil)
	body := content(12 << 20)
	if err := m.Put(t.Context(), "k", bytes.NewReader(body), int64(len(body))); err != nil {
		t.Fatal(err)
	}
	o, err := m.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if err := s.Put(t.Context(), "k", o, o.Size()); err != nil {
		t.Fatal(err)
	}
	check1(t, s, "k", body)
}
