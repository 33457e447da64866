package live

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/index"
	indexmem "github.com/cleave-video/cleave/index/mem"
)

// A header that the store did not take while one publisher was there is stored with what
// the next one has.
func TestDerivedHeaderStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ix := &memStore{fail: errors.New("away")}, indexmem.New()
		cfg := plain(&half{})
		cfg.Store, cfg.Index = st, ix
		h, end := hub(t, cfg)
		defer end()
		for range 2 {
			if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(8)))); err != nil {
				t.Error(err)
			}
			st.mu.Lock()
			st.fail = nil
			st.mu.Unlock()
		}
		n := 0
		for e, err := range ix.Range(t.Context(), "cam", time.Time{}, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range e.Tracks {
				if st.get("cam/"+x.Init) == nil {
					t.Errorf("%d: %s of %s is not stored", e.Seq, x.Init, x.Name)
				}
				if !x.Gap {
					n++
				}
			}
		}
		if n < 9 {
			t.Errorf("%d segments are stored", n)
		}
	})
}

// What is recovered of a chunk names no header that is nowhere: a rendition's may not be
// stored yet when the parts of the chunk behind it are kept. If it is, both are there again.
func TestDerivedHeaderRecovered(t *testing.T) {
	for _, isStored := range []bool{false, true} {
		testDerivedHeaderRecovered(t, isStored)
	}
}

func testDerivedHeaderRecovered(t *testing.T, isStored bool) {
	m := newMachine(t)
	m.parts = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := plain(&half{takes: func(uint64) time.Duration { return 500 * time.Millisecond }})
		a := m.start(t, cfg)
		if hold := make(chan struct{}); !isStored {
			a.m.hold.Store(&hold)
		}
		stop := a.publish(t, spec(60))
		time.Sleep(1900 * time.Millisecond)
		was := a.kill(t, stop)
		if r := was.Rendition("video0-half"); r == nil || r.Last() != 0 {
			t.Fatalf("%+v", r)
		}
		b := m.start(t, cfg)
		if s := b.Lookup("live/cam"); s == nil {
			t.Error("the stream is not there")
		} else if r := s.Edge().Rendition("video0"); r == nil || r.Last() < 1 || r.Segments[0].Gap || r.Segments[0].MSN != 0 {
			t.Errorf("%+v", r)
		} else if r := s.Edge().Rendition("video0-half"); (r != nil) != isStored || isStored && r.Segments[0].Gap {
			t.Errorf("%+v", r)
		}
		b.end()
	})
}

// A restart gives a stream no discontinuities that it did not have: the rendition's
// header is another behind a gap.
func TestDerivedRestoredBreaks(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		f := &half{
			turns: func(seq uint64) uint16 {
				if seq > 4 {
					return 180
				}
				return 90
			},
			fails: func(seq uint64, _ int) error {
				if seq == 4 || seq == 5 {
					return errors.New("never")
				}
				return nil
			},
		}
		a := m.start(t, plain(f))
		a.publish(t, spec(8))
		time.Sleep(9 * time.Second)
		stop := a.publish(t, spec(60))
		time.Sleep(20500 * time.Millisecond)
		was := a.kill(t, stop)
		b := m.start(t, plain(f))
		x, y := was.Rendition("video0"), b.Lookup("live/cam").Edge().Rendition("video0")
		for i := range x.Segments {
			s := y.Segment(x.Segments[i].Epoch, x.Segments[i].MSN)
			if s != nil && (s.Discontinuity != x.Segments[i].Discontinuity || x.discontinuitiesAt(s.MSN) != y.discontinuitiesAt(s.MSN)) {
				t.Errorf("%d: discontinuity %v, was %v; behind %d, was %d", s.MSN, s.Discontinuity, x.Segments[i].Discontinuity, y.discontinuitiesAt(s.MSN), x.discontinuitiesAt(s.MSN))
			}
		}
		b.end()
	})
}

// A chunk with as many tracks as an entry may have is in the index as it was without
// stages.
func TestDerivedManyTracks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ix := indexmem.New()
		cfg := plain(&half{})
		cfg.Index = ix
		h, end := hub(t, cfg)
		defer end()
		if err := h.Publish(t.Context(), "cam", &wide{Demuxer: avtest.Pace(avtest.NewSynthetic(spec(8))), n: index.MaxTracks}); err != nil {
			t.Error(err)
		}
		n := 0
		for _, err := range ix.Range(t.Context(), "cam", time.Time{}, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n < 3 {
			t.Errorf("%d chunks are in the index", n)
		}
	})
}

// wide is a source with n tracks, all but the first like the last.
type wide struct {
	av.Demuxer
	n int
}

func (w *wide) Tracks() []av.Track {
	l := append([]av.Track(nil), w.Demuxer.Tracks()...)
	for len(l) > 0 && len(l) < w.n {
		l = append(l, l[len(l)-1])
	}
	return l
}

// Segments that are made when the tracks have changed are kept in memory by their own
// times.
func TestDerivedTimescaleChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, plain(&half{takes: func(uint64) time.Duration { return 3 * time.Second }}))
		defer end()
		one, two := spec(9), spec(30)
		two.Video.Timebase, two.Video.FrameDur, two.Video.Width, two.Start = av.Timebase{Num: 1, Den: 25}, 1, 640, 9*time.Second
		done := make(chan error)
		go func() { done <- h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(one, two))) }()
		time.Sleep(30 * time.Second)
		r := h.Lookup("cam").Edge().Rendition("video0")
		blocks := r.Segments[len(r.Segments)-4].Retain() // of those that players at the edge want
		if blocks == nil {
			t.Error("a new segment is not in memory")
		}
		for _, b := range blocks {
			b.Release()
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A rendition that begins later costs the source nothing of its window when it is restored.
func TestDerivedRestoredLater(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		f := &half{fails: func(seq uint64, _ int) error {
			if seq < 12 {
				return errors.New("not yet")
			}
			return nil
		}}
		a := m.start(t, plain(f))
		a.publish(t, spec(8))
		time.Sleep(9 * time.Second)
		stop := a.publish(t, spec(60))
		time.Sleep(20500 * time.Millisecond)
		was := a.kill(t, stop)
		time.Sleep(5 * time.Second)
		b := m.start(t, plain(f))
		is := b.Lookup("live/cam").Edge()
		if last := is.Renditions[0].Last(); last < was.Renditions[0].Last() || len(is.Renditions) != len(was.Renditions) {
			t.Errorf("%d renditions up to %d", len(is.Renditions), last)
		}
		for i := range was.Renditions {
			x, y := &was.Renditions[i], &is.Renditions[i]
			if y.Name != x.Name || y.Segments[0].MSN != x.Segments[0].MSN || y.Last() != is.Renditions[0].Last() {
				t.Errorf("%s from %d is %s from %d to %d", x.Name, x.Segments[0].MSN, y.Name, y.Segments[0].MSN, y.Last())
			}
			for k := range x.Segments {
				msn := x.Segments[k].MSN
				if s := y.Segment(x.Segments[k].Epoch, msn); s == nil || x.discontinuitiesAt(msn) != y.discontinuitiesAt(msn) {
					t.Errorf("%s: %d is behind %d discontinuities, was %d", x.Name, msn, y.discontinuitiesAt(msn), x.discontinuitiesAt(msn))
				}
			}
		}
		b.end()
	})
}
