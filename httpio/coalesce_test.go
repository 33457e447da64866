package httpio

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// socket is a connection that notes what is written to it.
type socket struct {
	net.Conn
	mu    sync.Mutex // guards what follows
	began time.Time
	at    []time.Duration
	sizes []int
	body  bytes.Buffer
	until time.Time // for writing
	fails error
}

func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return 0, s.fails
	}
	s.at, s.sizes = append(s.at, time.Since(s.began)), append(s.sizes, len(b))
	return s.body.Write(b)
}

func (s *socket) Read([]byte) (int, error)           { return 0, io.EOF }
func (s *socket) Close() error                       { return nil }
func (s *socket) SetReadDeadline(time.Time) error    { return nil }
func (s *socket) SetWriteDeadline(t time.Time) error { s.until = t; return nil }

func (s *socket) expect(t *testing.T, what string, at []time.Duration, sizes []int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	same := len(at) == len(s.at)
	for i := range at {
		same = same && at[i] == s.at[i] && sizes[i] == s.sizes[i]
	}
	if !same {
		t.Errorf("%s: %v bytes after %v, want %v after %v", what, s.sizes, s.at, sizes, at)
	}
	s.at, s.sizes = nil, nil
}

func fill(t *testing.T, c *Coalesced, sizes ...int) {
	t.Helper()
	for _, n := range sizes {
		if m, err := c.Write(make([]byte, n)); m != n || err != nil {
			t.Error(m, err)
		}
	}
}

// TestCoalesced: what its comment says.
func TestCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Coalescing
		s := &socket{began: time.Now()}
		c := all.Conn(s)
		rest := func() { time.Sleep(time.Second); synctest.Wait(); s.began = time.Now() }
		rest()
		fill(t, c, 100, 200, 300)
		time.Sleep(linger)
		synctest.Wait()
		s.expect(t, "behind a pause", []time.Duration{0, linger}, []int{100, 500})
		fill(t, c, 10)
		if err := c.Flush(); err != nil {
			t.Error(err)
		}
		s.expect(t, "Flush", []time.Duration{linger}, []int{10})
		rest()
		fill(t, c, 1, 40000, 20000, 20000, 7)
		s.expect(t, "64 KiB", []time.Duration{0, 0}, []int{1, 80000})
		if _, err := c.Read(nil); err != io.EOF {
			t.Error(err)
		}
		s.expect(t, "Read", []time.Duration{0}, []int{7})
		fill(t, c, 8)
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		s.expect(t, "SetReadDeadline", []time.Duration{0}, []int{8})
		fill(t, c, 9)
		if err := c.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
			t.Error(err)
		}
		s.expect(t, "another deadline", nil, nil)
		if err := c.SetWriteDeadline(time.Time{}); err != nil || !s.until.IsZero() {
			t.Error(err)
		}
		s.expect(t, "no deadline any more", []time.Duration{0}, []int{9})
		if err := c.Hold(); err != nil {
			t.Error(err)
		}
		rest()
		fill(t, c, 5, 6)
		rest()
		s.expect(t, "Hold", []time.Duration{linger}, []int{11})
		fill(t, c, 100000)
		s.expect(t, "more than waits", []time.Duration{0}, []int{100000})
		fill(t, c, 3)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		s.expect(t, "Close", []time.Duration{0}, []int{3})
		if _, err := c.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if st := all.Stats(); st.Bytes != int64(s.body.Len()) || st.Records != 15 || st.Writes != 11 {
			t.Errorf("%+v, %d bytes", st, s.body.Len())
		}
	})
}

// TestCoalescedFails: what fails when nobody writes is told to the next call.
func TestCoalescedFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Coalescing
		s := &socket{fails: errors.New("gone")}
		c := all.Conn(s)
		if err := c.Hold(); err != nil {
			t.Error(err)
		}
		fill(t, c, 1)
		time.Sleep(time.Second)
		synctest.Wait()
		if _, err := c.Write([]byte{1}); !errors.Is(err, s.fails) {
			t.Error(err)
		}
		if err := c.Flush(); !errors.Is(err, s.fails) {
			t.Error(err)
		}
	})
}

// secure starts a server whose TLS coalesces.
func secure(t *testing.T, h http.Handler, h2 bool) (*httptest.Server, *Coalescing) {
	t.Helper()
	var all Coalescing
	s := httptest.NewUnstartedServer(h)
	s.Listener, s.EnableHTTP2 = all.Listener(s.Listener), h2
	s.Config.ConnContext = WithConn
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, &all
}

// TestCoalescedTLS: bodies of all sizes are whole, on connections that serve many requests
// and on such that end with one, by several at a time; and the system calls are fewer than
// the records.
func TestCoalescedTLS(t *testing.T) {
	text := make([]byte, 1<<19)
	sum := sha256.New()
	for i := 0; i < len(text); i += sha256.Size {
		copy(text[i:], sum.Sum(nil))
		sum.Write(text[i : i+1])
	}
	for _, h2 := range []bool{false, true} {
		s, all := secure(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(text[:r.ContentLength]) // as long as what was asked with
			_, _ = io.Copy(io.Discard, r.Body)
		}), h2)
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				for n := range 30 {
					size := (n*n*n*16 + i*5000) % len(text)
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, bytes.NewReader(text[:size]))
					if err != nil {
						t.Error(err)
						return
					}
					req.Close = n%5 == 0 && !h2
					res, err := s.Client().Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					b, err := io.ReadAll(res.Body)
					res.Body.Close()
					if err != nil || !bytes.Equal(b, text[:size]) || res.ProtoMajor == 2 != h2 {
						t.Errorf("%s: %d bytes of %d, %v", res.Proto, len(b), size, err)
					}
				}
			})
		}
		group.Wait()
		if st := all.Stats(); st.Writes*2 > st.Records {
			t.Errorf("HTTP/2 %v: %+v", h2, st)
		}
	}
}

// TestCoalescedEnd: a client that is slow gets all of an answer whose connection ends
// with it, also what did not fit into the socket when net/http was done.
func TestCoalescedEnd(t *testing.T) {
	const size = 8 << 20
	s, _ := secure(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = w.Write(make([]byte, size-1000))
		_, _ = w.Write(make([]byte, 1000))
	}), false)
	c, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if i := bytes.Index(b, []byte("\r\n\r\n")); err != nil || len(b)-i-4 != size {
		t.Errorf("%d bytes: %v", len(b), err)
	}
}

// TestFirstRecord: the first record fits a packet, so that it can be read as soon as that
// comes; crypto/tls sees to it.
func TestFirstRecord(t *testing.T) {
	s := &socket{}
	client, server := net.Pipe()
	defer client.Close()
	go func() { _ = tls.Client(client, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	over, _ := secure(t, http.NotFoundHandler(), false)
	switchable := &handover{Conn: server}
	c := tls.Server(switchable, over.TLS)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	switchable.to = s
	if _, err := c.Write(make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	if s.sizes[0] > 1460 || s.sizes[len(s.sizes)-2] <= s.sizes[0] {
		t.Errorf("records of %v bytes", s.sizes)
	}
	server.Close()
}

// handover writes elsewhere from some time on.
type handover struct {
	net.Conn
	to net.Conn
}

func (h *handover) Write(b []byte) (int, error) {
	if h.to != nil {
		return h.to.Write(b)
	}
	return h.Conn.Write(b)
}
