package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// input is a Demuxer that waits to be closed, or ends with err.
type input struct {
	err    error
	closed chan struct{}
	once   sync.Once
}

func newInput(err error) *input { return &input{err: err, closed: make(chan struct{})} }

func (d *input) Tracks() []av.Track       { return nil }
func (d *input) Progress() (int64, int64) { return 42, 0 }
func (d *input) Close() error             { d.once.Do(func() { close(d.closed) }); return nil }
func (d *input) ReadPacket(av.Allocator) (av.Packet, error) {
	if d.err != nil {
		return av.Packet{}, d.err
	}
	<-d.closed
	return av.Packet{}, io.ErrClosedPipe
}

// publish reads until the end, as a hub does.
func publish(ctx context.Context, _ string, d av.Demuxer, _ func()) error {
	stop := context.AfterFunc(ctx, func() { d.Close() })
	defer stop()
	_, err := d.ReadPacket(nil)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// A source that fails is opened again, later each time, and its state and last
// error are told.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []time.Duration
		start := time.Now()
		broken := errors.New("broken")
		s := New(Config{Publish: publish, MaxDelay: 8 * time.Second, Open: map[string]Open{"x": func(context.Context, *url.URL) (av.Demuxer, error) {
			attempts = append(attempts, time.Since(start))
			if len(attempts) < 7 {
				return nil, broken
			}
			return newInput(nil), nil
		}}})
		if err := s.Add(Source{Name: "a", URL: "x://user:secret@host/"}); err != nil {
			t.Fatal(err)
		}
		if st := s.List(); st[0].State != Idle || strings.Contains(st[0].URL, "secret") {
			t.Errorf("%+v", st)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		synctest.Wait()
		if st := s.List()[0]; st.State != Waiting || !errors.Is(st.LastErr, broken) || st.Failed != 1 {
			t.Errorf("%+v", st)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := s.List()[0]; st.State != Running || st.Tried != 7 || st.Failed != 6 || st.Bytes != 42 {
			t.Errorf("%+v", st)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if st := s.List()[0]; st.State != Stopped {
			t.Errorf("%+v", st)
		}
		for i, most := range []time.Duration{0, 1, 2, 4, 8, 8, 8} {
			gap := attempts[i]
			if i > 0 {
				gap -= attempts[i-1]
			}
			if gap > most*time.Second || gap < most*time.Second/2 {
				t.Errorf("attempt %d came %v behind the one before", i, gap)
			}
		}
	})
}

// A source that ends in order comes back soon, and one that ran long forgets what
// failed before.
func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := New(Config{Publish: publish, Open: map[string]Open{"x": func(context.Context, *url.URL) (av.Demuxer, error) {
			if n++; n%4 != 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return newInput(io.EOF), nil
		}}})
		if err := s.Add(Source{Name: "a", URL: "x:"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		for range 600 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if st := s.List()[0]; st.Failed > 3 {
				t.Fatalf("%+v", st)
			}
		}
		if n < 24 {
			t.Errorf("%d attempts in a minute", n)
		}
		cancel()
		<-ended
	})
}

// 200 sources are opened at the same time: none waits for another, nor does who
// asks how they are.
func TestManyAtOnce(t *testing.T) {
	const many = 200
	var inside atomic.Int32
	all := make(chan struct{})
	s := New(Config{Publish: publish, Open: map[string]Open{"x": func(ctx context.Context, _ *url.URL) (av.Demuxer, error) {
		if inside.Add(1) == many {
			close(all)
		}
		select {
		case <-all:
		case <-ctx.Done():
		}
		return newInput(nil), nil
	}}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for i := range many {
		if err := s.Add(Source{Name: fmt.Sprint("s", i), URL: "x:"}); err != nil {
			t.Fatal(err)
		}
		s.List()
	}
	<-all
	for running := 0; running < many; {
		running = 0
		for _, st := range s.List() {
			if st.State == Running {
				running++
			}
		}
	}
	if !s.Remove("s7") || s.Remove("s7") || len(s.List()) != many-1 {
		t.Error("s7 is not removed")
	}
	cancel()
	<-ended
}

func TestAddRefuses(t *testing.T) {
	bad := errors.New("bad name")
	s := New(Config{
		Publish: publish, Max: 2, Open: map[string]Open{"x": nil, "y": func(context.Context, *url.URL) (av.Demuxer, error) { return nil, io.EOF }},
		Check: func(name string) error {
			if name == "bad" {
				return bad
			}
			return nil
		},
	})
	for _, test := range []struct {
		src  Source
		want error
	}{
		{Source{Name: "a", URL: "y://h"}, nil},
		{Source{Name: "a", URL: "y://h"}, ErrExists},
		{Source{Name: "b", URL: "file:///etc/passwd"}, ErrScheme},
		{Source{Name: "b", URL: "x://h"}, ErrScheme},
		{Source{Name: "b", URL: "gopher://h"}, ErrScheme},
		{Source{Name: "b", URL: "concat:a|b"}, ErrScheme},
		{Source{Name: "bad", URL: "y://h"}, bad},
		{Source{Name: "b", URL: "y://h"}, nil},
		{Source{Name: "c", URL: "y://h"}, ErrMany},
	} {
		if err := s.Add(test.src); !errors.Is(err, test.want) {
			t.Errorf("%v: %v, want %v", test.src, err, test.want)
		}
	}
	if err := s.Add(Source{Name: "d", URL: "://"}); err == nil {
		t.Error("a URL that is none")
	}
	if !s.Remove("a") {
		t.Error("a is not removed before it ran")
	}
}

// HOSTILE: what a name turns out to be is checked, however it is written.
func TestPolicy(t *testing.T) {
	for ip, want := range map[string][2]bool{ // allowed, allowed with AllowPrivate
		"93.184.216.34": {true, true}, "2606:2800:220:1::1": {true, true}, "1.1.1.1": {true, true},
		"127.0.0.1": {false, true}, "127.8.9.10": {false, true}, "::1": {false, true}, "::ffff:127.0.0.1": {false, true},
		"10.1.2.3": {false, true}, "172.16.0.1": {false, true}, "192.168.1.1": {false, true}, "::ffff:10.0.0.1": {false, true},
		"fd00::1": {false, true}, "100.64.0.1": {false, true}, "198.18.0.1": {false, true}, "fec0::1": {false, true}, "192.0.0.8": {false, true},
		"169.254.169.254": {false, false}, "::ffff:169.254.169.254": {false, false}, "fe80::1": {false, false}, "0.0.0.0": {false, false}, "0.1.2.3": {false, false},
		"::": {false, false}, "224.0.0.1": {false, false}, "ff02::1": {false, false}, "255.255.255.255": {false, false}, "240.0.0.1": {false, false},
		"64:ff9b::7f00:1": {false, true}, "64:ff9b::a9fe:a9fe": {false, false}, "64:ff9b::5db8:d822": {true, true}, "64:ff9b:1::1": {false, false},
		"2002:7f00:1::": {false, true}, "2002:a9fe:a9fe::1": {false, false}, "2001::1": {false, false}, "fe80::1%eth0": {false, false},
	} {
		for i, p := range []Policy{{}, {AllowPrivate: true}} {
			err := p.Check(netip.MustParseAddr(ip))
			if (err == nil) != want[i] || err != nil && !errors.Is(err, ErrAddress) {
				t.Errorf("%s, %+v: %v", ip, p, err)
			}
		}
	}
	if err := (Policy{}).Check(netip.Addr{}); !errors.Is(err, ErrAddress) {
		t.Error(err)
	}
}

// HOSTILE: a redirect to another scheme, to a private address, or once too often.
func TestClientRedirects(t *testing.T) {
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	mux.HandleFunc("/n/{n}", func(w http.ResponseWriter, r *http.Request) {
		var n int
		fmt.Sscan(r.PathValue("n"), &n)
		if n > 0 {
			http.Redirect(w, r, fmt.Sprintf("/n/%d", n-1), http.StatusFound)
		}
	})
	mux.HandleFunc("/to", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", r.URL.Query().Get("u"))
		w.WriteHeader(http.StatusFound)
	})
	c := Policy{AllowPrivate: true}.Client()
	defer c.CloseIdleConnections()
	for path, want := range map[string]bool{
		"/n/3": true, "/n/4": false, "/to?u=file:///etc/passwd": false, "/to?u=gopher://127.0.0.1/": false, "/to?u=concat:a": false,
		"/to?u=http://169.254.169.254/latest/meta-data/": false, "/to?u=/n/0": true,
	} {
		res, err := c.Get(srv.URL + path)
		if (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			res.Body.Close()
		}
	}
	public := Policy{}.Client()
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"} {
		u := strings.Replace(srv.URL, "127.0.0.1", host, 1)
		if res, err := public.Get(u + "/n/0"); err == nil {
			res.Body.Close()
			t.Errorf("%s was reached", host)
		}
	}
	if _, err := (Policy{}).Resolve(t.Context(), "localhost"); !errors.Is(err, ErrAddress) {
		t.Error(err)
	}
	if a, err := (Policy{AllowPrivate: true}).Resolve(t.Context(), "127.0.0.1"); err != nil || a.String() != "127.0.0.1" {
		t.Error(a, err)
	}
}
