package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/store"
)

// memStore is a store in memory whose Put can be made to fail or to take long.
type memStore struct {
	mu   sync.Mutex
	all  map[string][]byte
	fail error
	slow time.Duration
}

func (m *memStore) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	m.mu.Lock()
	fail, slow := m.fail, m.slow
	m.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if fail != nil {
		return fail
	}
	b := make([]byte, size)
	if n, _ := body.ReadAt(b, 0); int64(n) != size {
		return fmt.Errorf("%d bytes of %d", n, size)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all == nil {
		m.all = make(map[string][]byte)
	}
	m.all[key] = b
	return nil
}

func (m *memStore) get(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all[key]
}

func (m *memStore) Open(_ context.Context, key string) (store.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.all[key]
	if !ok {
		return nil, store.ErrNotExist
	}
	return &memObject{bytes.NewReader(b)}, nil
}

func (m *memStore) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, key)
	return nil
}

func (m *memStore) List(_ context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		m.mu.Lock()
		var keys []string
		for key := range m.all {
			if strings.HasPrefix(key, prefix) {
				keys = append(keys, key)
			}
		}
		m.mu.Unlock()
		for _, key := range keys {
			if !yield(store.Info{Key: key}, nil) {
				return
			}
		}
	}
}

type memObject struct{ *bytes.Reader }

func (*memObject) Close() error { return nil }

func spec(seconds int) avtest.Spec {
	return avtest.Spec{
		Video: avtest.Video{Frames: 25 * seconds, GOPs: []int{25}, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600, Size: 2000},
		Audio: avtest.Audio{Frames: 48000 * seconds / 1024},
	}
}

// hub is a Hub under test in a bubble; its Run ends, and its memory must have come
// home, when the function returned is called.
func hub(t *testing.T, cfg Config) (*Hub, func()) {
	t.Helper()
	if cfg.Store == nil {
		cfg.Store = &memStore{}
	}
	if testing.Verbose() {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	h, err := NewHub(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = h.Run(ctx) })
	return h, func() {
		t.Helper()
		cancel()
		wg.Wait()
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if n := h.InUse(); n != 0 {
			t.Errorf("%d bytes did not come home", n)
		}
	}
}

// watch calls see with every edge of a stream until the stream has ended.
func watch(h *Hub, name string, see func(*Edge)) {
	for h.Lookup(name) == nil {
		time.Sleep(time.Millisecond)
	}
	s := h.Lookup(name)
	for {
		e := s.Edge()
		see(e)
		if e.Ended {
			return
		}
		<-e.Changed()
	}
}

func (e *Edge) newest() int64 {
	if len(e.Renditions) == 0 {
		return -1
	}
	return e.Renditions[0].Last()
}

// checkEdges holds what playlists promise against every edge.
type checkEdges struct {
	t    *testing.T
	last *Edge
	n    int
	off  time.Duration // that dates may be, after a jump
	said map[string]bool
}

// errorf says each thing once.
func (c *checkEdges) errorf(format string, args ...any) {
	c.t.Helper()
	text := fmt.Sprintf(format, args...)
	if c.said == nil {
		c.said = make(map[string]bool)
	}
	if !c.said[text] {
		c.t.Error(text)
	}
	c.said[text] = true
}

func (c *checkEdges) see(e *Edge) {
	c.n++
	old := c.last
	c.last = e
	if old != nil && old.TargetDuration > 0 && (e.TargetDuration != old.TargetDuration || e.PartTarget != old.PartTarget) {
		c.errorf("promised %d s, %v, then %d s, %v", old.TargetDuration, old.PartTarget, e.TargetDuration, e.PartTarget)
	}
	for i := range e.Renditions {
		r := &e.Renditions[i]
		for k := range r.Segments {
			c.segment(e, r, &r.Segments[k], true)
			if k > 0 && r.Segments[k].MSN != r.Segments[k-1].MSN+1 {
				c.errorf("%s: %d after %d", r.Name, r.Segments[k].MSN, r.Segments[k-1].MSN)
			}
			if k > 0 && !r.Segments[k].Discontinuity {
				c.follows(r, &r.Segments[k-1], &r.Segments[k])
			}
		}
		if r.Open != nil {
			c.segment(e, r, r.Open, false)
			if last := r.Last(); last >= 0 && r.Open.MSN != last+1 {
				c.errorf("%s: %d is open after %d", r.Name, r.Open.MSN, last)
			}
		}
	}
}

func (c *checkEdges) follows(r *Rendition, a, b *Segment) {
	if longest := b.Duration() >= 2*time.Second; b.DTS != a.End() && !(b.DTS > a.End() && longest) {
		c.errorf("%s: %d ends at %d, the next begins at %d of %d a second", r.Name, a.MSN, a.End(), b.DTS, a.Timescale)
	}
	tb := av.Timebase{Num: 1, Den: a.Timescale}
	if d := b.Date.Sub(a.Date) - tb.Duration(b.DTS-a.DTS); max(d, -d) > c.off+20*time.Millisecond {
		c.errorf("%s: the date of %d is off by %v", r.Name, b.MSN, d)
	}
}

func (c *checkEdges) segment(e *Edge, r *Rendition, s *Segment, whole bool) {
	tb := av.Timebase{Num: 1, Den: s.Timescale}
	at, size := s.DTS, int64(0)
	for i := range s.Parts {
		p := &s.Parts[i]
		if p.DTS != at && i < s.Listed || p.Offset != size {
			c.errorf("%s %d.%d begins at %d, byte %d, want %d, %d", r.Name, s.MSN, i, p.DTS, p.Offset, at, size)
		}
		at, size = p.DTS+p.Dur, size+p.Size
		if i >= s.Listed {
			continue
		}
		if d := tb.Duration(p.Dur); d > e.PartTarget || d*100 < e.PartTarget*85 && !p.Independent && (!whole || i < len(s.Parts)-1) {
			c.errorf("%s %d.%d of %d lasts %v of %v", r.Name, s.MSN, i, len(s.Parts), d, e.PartTarget)
		}
	}
	if whole && !s.Gap && len(s.Parts) > 0 && (at != s.End() || size != s.Size) {
		c.errorf("%s %d ends at %d, byte %d, its parts at %d, %d", r.Name, s.MSN, s.End(), s.Size, at, size)
	}
	if whole && (s.Duration()+time.Second/2)/time.Second > time.Duration(e.TargetDuration) {
		c.errorf("%s %d lasts %v, promised are %d s", r.Name, s.MSN, s.Duration(), e.TargetDuration)
	}
}

// A camera's stream: what is promised holds in every edge, everything is stored, and
// what is in the store is what players got.
func TestEdgesKeepThePromise(t *testing.T) {
	for name, sp := range map[string]avtest.Spec{
		"plain":    spec(20),
		"open":     {Video: avtest.Video{Frames: 400, B: 2, Open: true, GOPs: []int{24, 36}}, Audio: avtest.Audio{Frames: 700, SampleRate: 44100}},
		"audio":    {Audio: avtest.Audio{Frames: 900}},
		"long GOP": {Video: avtest.Video{Frames: 700, GOPs: []int{90, 300}}, Audio: avtest.Audio{Frames: 1300}},
		"jump":     {Video: avtest.Video{Frames: 500}, Audio: avtest.Audio{Frames: 940}, Jumps: []avtest.Jump{{At: 7 * time.Second, By: time.Hour}}},
		"back":     {Video: avtest.Video{Frames: 500}, Audio: avtest.Audio{Frames: 940}, Jumps: []avtest.Jump{{At: 7 * time.Second, By: -5 * time.Second}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := &memStore{}
				h, end := hub(t, Config{Store: st, Window: time.Hour})
				defer end()
				c := &checkEdges{t: t}
				if name == "back" { // what came early is caught up with
					c.off = 120 * time.Millisecond
				}
				var wg sync.WaitGroup
				got := map[string][]byte{}
				wg.Go(func() {
					watch(h, "cam", func(e *Edge) { c.see(e); collect(t, e, got, st) })
				})
				if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(sp))); err != nil {
					t.Error(err)
				}
				wg.Wait()
				if c.n < 20 {
					t.Errorf("%d edges", c.n)
				}
				compareStored(t, c.last, got, st)
			})
		})
	}
}

// collect keeps each part as it appears.
func collect(t *testing.T, e *Edge, got map[string][]byte, st *memStore) {
	for i := range e.Renditions {
		r := &e.Renditions[i]
		list := r.Segments
		if r.Open != nil {
			list = append(list[:len(list):len(list)], *r.Open)
		}
		for k := range list {
			for j := range list[k].Parts {
				key := fmt.Sprint(r.Name, list[k].Epoch, list[k].MSN, j)
				if got[key] != nil {
					continue
				}
				b := list[k].Parts[j].Retain()
				if b == nil {
					if object, off, ok := list[k].Stored(); ok { // the publisher has left
						off += list[k].Parts[j].Offset
						got[key] = st.get(object)[off : off+list[k].Parts[j].Size]
						continue
					}
					t.Errorf("%s is not in memory when it appears", key)
					continue
				}
				got[key] = bytes.Clone(b.Bytes())
				b.Release()
			}
		}
	}
}

// compareStored: the parts, joined, are the segments in the store.
func compareStored(t *testing.T, e *Edge, got map[string][]byte, st *memStore) {
	t.Helper()
	for i := range e.Renditions {
		r := &e.Renditions[i]
		for k := range r.Segments {
			s := &r.Segments[k]
			if s.Gap {
				continue
			}
			key, off, ok := s.Stored()
			if !ok {
				t.Errorf("%s %d is not stored", r.Name, s.MSN)
				continue
			}
			var want []byte
			for j := range s.Parts {
				want = append(want, got[fmt.Sprint(r.Name, s.Epoch, s.MSN, j)]...)
			}
			if !bytes.Equal(st.all[key][off:off+s.Size], want) {
				t.Errorf("%s %d: its parts are not what is stored", r.Name, s.MSN)
			}
		}
	}
}

// The edge is visible before anything is committed, and a store that fails, or hangs,
// takes nothing from it; a source in real time is not held up.
func TestStoreFailureIsNoLiveError(t *testing.T) {
	for name, st := range map[string]*memStore{
		"fails": {fail: errors.New("no space")},
		"hangs": {slow: 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, end := hub(t, Config{Store: st})
				defer end()
				c := &checkEdges{t: t}
				var wg sync.WaitGroup
				got := map[string][]byte{}
				began := time.Now()
				var shown time.Duration // when the last segment was
				wg.Go(func() {
					watch(h, "cam", func(e *Edge) {
						if c.last == nil || !c.last.Ended && len(e.Renditions) > 0 && e.Renditions[0].Last() > c.last.newest() {
							shown = time.Since(began)
						}
						c.see(e)
						collect(t, e, got, st)
					})
				})
				if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(20)))); err != nil {
					t.Error(err)
				}
				wg.Wait()
				if shown > 21*time.Second {
					t.Errorf("20 s took %v", shown)
				}
				r := c.last.Rendition("video0")
				if r.Last() < 9 {
					t.Errorf("the last segment is %d", r.Last())
				}
				if n := h.Lookup("cam").Stats().Unstored; (n > 0) != (name == "fails") {
					t.Errorf("%d chunks were not stored", n)
				}
				lost := 0
				for k := range r.Segments {
					if _, _, ok := r.Segments[k].Stored(); ok {
						continue
					}
					lost++
					blocks := r.Segments[k].Retain()
					if blocks == nil {
						t.Errorf("segment %d is neither stored nor in memory", k)
					}
					for _, b := range blocks {
						b.Release()
					}
				}
				if (lost > 0) != (name == "fails") {
					t.Errorf("%d segments are not in the store", lost)
				}
			})
		})
	}
}
