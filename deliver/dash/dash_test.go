package dash

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/deliver/hls"
	text "github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/store/disk"
	"github.com/cleave-video/cleave/verify"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a stream, "cam", behind the Handlers of DASH and HLS, in a bubble.
type rig struct {
	t      *testing.T
	h      *Handler
	media  *hls.Handler
	hub    *live.Hub
	wg     sync.WaitGroup
	cancel context.CancelFunc
	stop   func()
}

func newRig(t *testing.T, cfg live.Config) *rig {
	t.Helper()
	st, err := disk.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = st
	hub, err := live.NewHub(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &rig{t: t, hub: hub, h: New(Config{Hub: hub}), media: hls.New(hls.Config{Hub: hub, Store: st}), cancel: cancel, stop: func() {}}
	r.wg.Go(func() { _ = hub.Run(ctx) })
	return r
}

// camera is GOPs of one second with B pictures at 25 a second, with AAC.
func camera() avtest.Spec {
	return avtest.Spec{
		Video: avtest.Video{Frames: 1 << 20, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600, Size: 2000, B: 2},
		Audio: avtest.Audio{Frames: 1 << 20, SampleRate: 44100},
	}
}

func (r *rig) publish(spec avtest.Spec, change func(*av.Packet) bool) {
	d := avtest.Pace(avtest.NewSynthetic(spec))
	d.Change = change
	done := make(chan struct{})
	r.wg.Go(func() {
		defer close(done)
		_ = r.hub.Publish(context.Background(), "cam", d)
	})
	r.stop = func() { d.Close(); <-done }
}

func (r *rig) end() {
	r.t.Helper()
	r.stop()
	r.cancel()
	r.wg.Wait()
	_ = r.hub.Close()
	if n := r.hub.InUse(); n != 0 {
		r.t.Errorf("%d bytes did not come home", n)
	}
}

func (r *rig) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if Owns(q.URL.Path) {
		r.h.ServeHTTP(w, q)
	} else {
		r.media.ServeHTTP(w, q)
	}
}

func (r *rig) do(method, path string, header ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	q := httptest.NewRequestWithContext(r.t.Context(), method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		q.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, q)
	return w
}

func (r *rig) manifest() string {
	r.t.Helper()
	w := r.do(http.MethodGet, "/cam/manifest.mpd")
	if w.Code != http.StatusOK {
		r.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".mpd")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is now\n%s", file, got)
	}
}

func sleep(d time.Duration) { time.Sleep(d); synctest.Wait() }

// The manifests of a stream's life.
func TestGolden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Grace: 10 * time.Second})
		defer r.end()
		r.publish(camera(), nil)
		sleep(3 * time.Second)
		golden(t, "begun", r.manifest())
		sleep(9*time.Second + 500*time.Millisecond)
		golden(t, "low", r.manifest())
		r.stop()
		sleep(2 * time.Second)
		golden(t, "left", r.manifest())
		spec := camera()
		spec.Audio = avtest.Audio{}
		r.publish(spec, nil)
		sleep(8 * time.Second)
		golden(t, "returned", r.manifest())
		r.stop()
		sleep(12 * time.Second)
		golden(t, "ended", r.manifest())
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Part: -1})
		defer r.end()
		r.publish(camera(), nil)
		sleep(9 * time.Second)
		golden(t, "whole", r.manifest())
	})
}

// Where a track has nothing for a while, Periods are without it: a timeline has a
// segment for each number.
func TestGapSplitsPeriods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		start := time.Now()
		r.publish(camera(), func(p *av.Packet) bool {
			at := time.Since(start)
			return p.Track == 0 || at < 7*time.Second || at > 13*time.Second
		})
		var sets []string
		for range 12 {
			sleep(2 * time.Second)
			var reader text.Reader
			m, err := reader.MPD([]byte(r.manifest()))
			if err != nil {
				t.Fatal(err)
			}
			sets = sets[:0]
			for i := range m.Stretches {
				p := &m.Stretches[i]
				sets = append(sets, strings.Repeat("+", len(p.Sets)))
				for k := range p.Sets {
					list, err := reader.Segments(&p.Sets[k].Tracks[0], text.Absent, 0)
					if err != nil || len(list) == 0 {
						t.Fatalf("%v, %d segments", err, len(list))
					}
					for n, s := range list {
						growing := i == len(m.Stretches)-1 && n == len(list)-1
						if w := r.do(http.MethodHead, "/cam/"+s.URL); w.Code != http.StatusOK && !growing {
							t.Errorf("%s is not there: %d", s.URL, w.Code)
						}
					}
				}
			}
		}
		if got := strings.Join(sets, " "); got != "++ + ++" {
			t.Errorf("sets of the Periods: %s\n%s", got, r.manifest())
		}
	})
}

// A manifest changes only where it says something new, and publishTime with it; what was
// said of a segment stays.
func TestPublishTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.publish(camera(), nil)
		sleep(9 * time.Second)
		var reader text.Reader
		different := map[string]bool{}
		var last time.Time
		said := map[string]int64{}
		for range 200 {
			b := r.manifest()
			m, err := reader.MPD([]byte(b))
			if err != nil {
				t.Fatal(err)
			}
			if m.Publish.Before(last) || different[b] != m.Publish.Equal(last) && !last.IsZero() {
				t.Fatalf("publishTime %v after %v, the manifest is new: %v", m.Publish, last, !different[b])
			}
			different[b], last = true, m.Publish
			for k := range m.Stretches[0].Sets {
				list, err := reader.Segments(&m.Stretches[0].Sets[k].Tracks[0], text.Absent, 0)
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range list {
					if was, ok := said[s.URL]; ok && was != s.Time<<20+s.Dur {
						t.Errorf("%s is now at %d for %d ticks", s.URL, s.Time, s.Dur)
					}
					said[s.URL] = s.Time<<20 + s.Dur
				}
			}
			sleep(50 * time.Millisecond)
		}
		// Ten seconds are five segments of each track: one manifest each.
		if n := len(different); n < 5 || n > 16 {
			t.Errorf("%d manifests in 10 s", n)
		}
	})
}

// Headers, HEAD, compression, the clock, and what is not there.
func TestHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		if w := r.do(http.MethodGet, "/cam/manifest.mpd"); w.Code != http.StatusNotFound {
			t.Errorf("no stream: %d", w.Code)
		}
		r.publish(camera(), nil)
		synctest.Wait()
		get := r.do(http.MethodGet, "/cam/manifest.mpd") // it waits
		head := r.do(http.MethodHead, "/cam/manifest.mpd")
		for _, w := range []*httptest.ResponseRecorder{get, head} {
			h := w.Header()
			if w.Code != 200 || h.Get("Content-Type") != "application/dash+xml" || h.Get("Cache-Control") != "no-cache" || h.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%d %v", w.Code, h)
			}
		}
		if head.Body.Len() != 0 || get.Body.Len() == 0 {
			t.Errorf("HEAD has %d bytes, GET %d", head.Body.Len(), get.Body.Len())
		}
		zipped := r.do(http.MethodGet, "/cam/manifest.mpd", "Accept-Encoding", "gzip")
		zr, err := gzip.NewReader(zipped.Body)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(zr); err != nil || !bytes.Equal(b, get.Body.Bytes()) {
			t.Errorf("compressed it differs: %v", err)
		}
		now := r.do(http.MethodGet, "/cam/manifest.mpd?time")
		if at, err := time.Parse(time.RFC3339Nano, now.Body.String()); err != nil || time.Since(at).Abs() > time.Millisecond || now.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("the time is %s, %v, %v", now.Body, err, now.Header())
		}
		if w := r.do(http.MethodPost, "/cam/manifest.mpd"); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST: %d", w.Code)
		}
		e := r.hub.Lookup("cam").Edge()
		e.Text("dash", func() []byte { t.Error("rendered again"); return nil })
	})
}

// pipes is a listener of connections in memory.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- b:
		return a, nil
	case <-p.done:
		return nil, errors.New("the server is gone")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// The rules D1 to D13 hold while a stream goes on, in low latency and without, also
// when its publisher returns, and while keys change.
func TestRules(t *testing.T) {
	for name, c := range map[string]struct {
		cfg     live.Config
		returns bool
		scheme  seal.Scheme
	}{
		"low": {}, "whole": {cfg: live.Config{Part: -1}}, "returns": {returns: true}, "cbcs": {scheme: seal.CBCS, returns: true}, "cenc": {scheme: seal.CENC},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, c.cfg)
				if c.scheme != "" {
					r.end()
					r = sealed(t, c.cfg, live.Sealing{Scheme: c.scheme, Chunks: 2})
				}
				defer func() { r.end() }()
				r.publish(camera(), nil)
				sleep(10 * time.Second)
				p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
				srv := &http.Server{Handler: r}
				var wg sync.WaitGroup
				wg.Go(func() { _ = srv.Serve(p) })
				defer wg.Wait()
				defer srv.Close()
				if c.returns {
					wg.Go(func() {
						time.Sleep(10 * time.Second)
						r.stop()
						time.Sleep(2 * time.Second)
						r.publish(camera(), nil)
					})
				}
				tr := &http.Transport{DialContext: p.dial}
				defer tr.CloseIdleConnections()
				report, err := verify.Run(t.Context(), verify.Config{
					Input: "http://example.com/cam/manifest.mpd", For: 30 * time.Second, Client: &http.Client{Transport: tr, Timeout: time.Minute},
				})
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range report.Findings {
					if f.Rule == "D5" {
						continue // neither prft nor ProducerReferenceTime: docs/serve.md
					}
					if f.Severity == verify.Must || f.Rule[0] == 'D' {
						t.Errorf("%s %s:%d: %s", f.Rule, f.File, f.Line, f.Text)
					}
				}
				if report.Segments < 20 {
					t.Errorf("%d segments", report.Segments)
				}
			})
		})
	}
}
