package httpio

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// paper is a client that notes when what came.
type paper struct {
	mu    sync.Mutex // guards what follows
	head  http.Header
	began time.Time
	at    []time.Duration
	sizes []int
	body  bytes.Buffer
	until time.Time
	limit time.Time // the last that until was
	slow  time.Duration
	hold  chan struct{} // until it is closed, nothing is taken
	fails error
}

func (p *paper) Header() http.Header { return p.head }
func (p *paper) WriteHeader(int)     {}
func (p *paper) Flush()              {}

func (p *paper) SetWriteDeadline(at time.Time) error {
	if p.until = at; !at.IsZero() {
		p.limit = at
	}
	return nil
}

func (p *paper) Write(b []byte) (int, error) {
	if p.slow > 0 {
		time.Sleep(p.slow)
	}
	if p.hold != nil {
		<-p.hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails != nil {
		return 0, p.fails
	}
	p.at, p.sizes = append(p.at, time.Since(p.began)), append(p.sizes, len(b))
	return p.body.Write(b)
}

// begin begins an answer to a request of HTTP/2.
func begin(t *testing.T, route *Route) (*Response, *paper) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	r.Header.Set("Want-Content-Digest", "sha-256=1")
	w := &paper{head: http.Header{}, began: time.Now()}
	p, err := Start(w, r, Options{Route: route, Frames: true})
	if err != nil {
		t.Fatal(err)
	}
	return p, w
}

func expect(t *testing.T, w *paper, at []time.Duration, sizes []int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	same := len(at) == len(w.at)
	for i := range at {
		same = same && at[i] == w.at[i] && sizes[i] == w.sizes[i]
	}
	if !same {
		t.Errorf("%v bytes after %v, want %v after %v", w.sizes, w.at, sizes, at)
	}
}

const ms = time.Millisecond

// TestDirect: each write leaves at once, in one piece.
func TestDirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := begin(t, NewRoute("x", Direct, 0))
		for range 3 {
			if err := p.Write([][]byte{make([]byte, 10), nil, make([]byte, 20)}); err != nil {
				t.Error(err)
			}
			time.Sleep(100 * ms)
		}
		if err := p.Close(true); err != nil {
			t.Error(err)
		}
		expect(t, w, []time.Duration{0, 100 * ms, 200 * ms}, []int{30, 30, 30})
	})
}

// TestBuffered: no byte waits longer than 500 ms, a batch that is full for nothing, and
// what waits at the end leaves then; it is counted.
func TestBuffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := NewRoute("x", Buffered, 0)
		p, w := begin(t, route)
		write := func(n int) {
			t.Helper()
			piece := []byte{byte(n)}
			if whole, err := p.TryWrite([][]byte{bytes.Repeat(piece, n)}); whole != (n < maxBatch/2) || err != nil {
				t.Errorf("%d bytes: %v, %v", n, whole, err)
			} else if !whole {
				if err := p.Write(nil); err != nil {
					t.Error(err)
				}
			}
		}
		for range 6 {
			write(100)
			time.Sleep(110 * ms)
		}
		synctest.Wait()
		if s := route.Stats(); s.Held != 100 || s.In[Writing] != 1 || s.Bytes != 500 {
			t.Errorf("%+v", s)
		}
		write(maxBatch) // with the one before it, at once
		write(7)
		time.Sleep(time.Second)
		synctest.Wait()
		if s := route.Stats(); s.Held != 0 || s.In[Flushed] != 1 {
			t.Errorf("%+v", s)
		}
		write(8)
		if err := p.Close(true); err != nil {
			t.Error(err)
		}
		expect(t, w, []time.Duration{500 * ms, 660 * ms, 660 * ms, 1160 * ms, 1660 * ms}, []int{500, 100, maxBatch, 7, 8})
		s := route.Stats()
		if want := ([causes]int64{BySize: 1, ByTime: 2, AtEnd: 1}); s.Writes != want || s.Whole != 1 || s.Cut != 0 || s.In != [states]int64{Closed: 1} || s.Held != 0 || s.Bytes != int64(w.body.Len()) {
			t.Errorf("%+v", s)
		}
		sum := sha256.Sum256(w.body.Bytes())
		if got := w.head.Get("Content-Digest"); got != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
			t.Error(got)
		}
	})
}

// TestStrategyChanges: an answer under way follows with its next write.
func TestStrategyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := NewRoute("x", Buffered, 0)
		p, w := begin(t, route)
		piece := [][]byte{make([]byte, 10)}
		for i, s := range []Strategy{Buffered, Direct, Adaptive, Direct, Buffered} {
			route.SetStrategy(s)
			if err := p.Write(piece); err != nil {
				t.Error(i, err)
			}
			time.Sleep(300 * ms)
		}
		if err := p.Close(true); err != nil {
			t.Error(err)
		}
		expect(t, w, []time.Duration{300 * ms, 600 * ms, 900 * ms, 1500 * ms}, []int{20, 10, 10, 10})
		if s := route.Stats(); s.Changes[Unknown] != 1 { // the client's way is not known
			t.Errorf("%+v", s)
		}
	})
}

// TestTimerFails: what fails when nobody writes is told to who writes next, and the
// answer is cut off.
func TestTimerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := NewRoute("x", Buffered, 0)
		p, w := begin(t, route)
		w.fails = errors.New("gone")
		if err := p.Write([][]byte{{1}}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if err := p.Write([][]byte{{1}}); !errors.Is(err, w.fails) {
			t.Error(err)
		}
		func() {
			defer func() {
				if recover() != http.ErrAbortHandler {
					t.Error("it was ended properly")
				}
			}()
			_ = p.Close(true)
		}()
		if s := route.Stats(); s.Cut != 1 || s.Whole != 0 || s.Held != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// TestTimerWrites: while the timer waits for the client, TryWrite does not.
func TestTimerWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := begin(t, NewRoute("x", Buffered, 0))
		w.hold = make(chan struct{})
		if whole, err := p.TryWrite([][]byte{{1}}); !whole || err != nil {
			t.Error(whole, err)
		}
		time.Sleep(600 * ms)
		synctest.Wait()
		if whole, err := p.TryWrite([][]byte{{2}}); whole || err != nil {
			t.Error(whole, err)
		}
		close(w.hold)
		if err := p.Write([][]byte{{3}}); err != nil {
			t.Error(err)
		}
		if err := p.Close(true); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(w.body.Bytes(), []byte{1, 2, 3}) {
			t.Errorf("% x", w.body.Bytes())
		}
	})
}

// TestDeadlines: each write has one, at most the route's; what is quiet has none, for it
// would end a stream of HTTP/2.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := begin(t, NewRoute("x", Direct, 4*time.Second))
		for i, want := range []time.Duration{4 * time.Second, 2 * time.Second, 4 * time.Second} {
			w.slow = []time.Duration{time.Second, 0, 0}[i]
			began := time.Now()
			n := []int{1000, 100, 1 << 20}[i] // it takes 1000 bytes a second
			if err := p.Write([][]byte{make([]byte, n)}); err != nil || w.limit.Sub(began) != want || !w.until.IsZero() {
				t.Errorf("write %d: %v, want %v, then %v: %v", i, w.limit.Sub(began), want, w.until, err)
			}
		}
		if err := p.Close(true); err != nil || !w.until.IsZero() {
			t.Error("the connection keeps a deadline:", err, w.until)
		}
	})
}
