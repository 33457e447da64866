package live

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/stage"
)

// half is a stage that makes of each picture one of which it can be told where it came
// from, after a while.
type half struct {
	takes func(seq uint64) time.Duration
	fails func(seq uint64, try int) error
	turns func(seq uint64) uint16 // the pictures; nil: by 90 degrees

	mu     sync.Mutex // guards what follows
	tries  map[uint64]int
	runs   int // under way
	most   int
	before map[uint64][]uint64
}

func (h *half) Makes(_ string, tracks []av.Track) []stage.Rendition {
	i := slices.IndexFunc(tracks, func(t av.Track) bool { return t.Kind == av.Video })
	if i < 0 {
		return nil
	}
	return []stage.Rendition{{Name: "half", Of: i}}
}

func (h *half) Run(ctx context.Context, o *stage.Object) error {
	seq := o.Chunk.Seq
	h.mu.Lock()
	if h.tries == nil {
		h.tries, h.before = make(map[uint64]int), make(map[uint64][]uint64)
	}
	try := h.tries[seq]
	h.tries[seq]++
	h.runs++
	h.most = max(h.most, h.runs)
	h.before[seq] = nil
	for _, b := range o.Before {
		h.before[seq] = append(h.before[seq], b.Seq)
	}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.runs--
	}()
	if h.takes != nil {
		select {
		case <-time.After(h.takes(seq)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if h.fails != nil {
		if err := h.fails(seq, try); err != nil {
			return err
		}
	}
	of := h.Makes("", o.Chunk.Tracks)[0].Of
	run := o.Chunk.Runs[of]
	m := stage.Made{Name: "half", Track: o.Chunk.Tracks[of]}
	m.Track.Rotation = 90 // so that it has a header of its own
	if h.turns != nil {
		m.Track.Rotation = h.turns(seq)
	}
	for i := range run {
		p := av.Packet{DTS: run[i].DTS, PTS: run[i].PTS, Flags: run[i].Flags & av.Key, Data: fmt.Appendf(nil, "half %d.%d", seq, i)}
		m.Packets = append(m.Packets, p)
	}
	slices.SortStableFunc(m.Packets, func(a, b av.Packet) int { return cmp.Compare(a.PTS, b.PTS) })
	for i := range run {
		m.Packets[i].DTS = run[i].DTS
	}
	o.Made = append(o.Made, m)
	return nil
}

// plain is a configuration without parts, with a stage.
func plain(h *half) Config {
	return Config{Part: -1, Window: time.Hour, Stages: []stage.Stage{h}}
}

// aligned compares a rendition with that of which it was made, and returns the numbers
// of its gaps.
func aligned(t *testing.T, e *Edge) (gaps []int64) {
	t.Helper()
	r, of := e.Rendition("video0-half"), e.Rendition("video0")
	if r == nil || of == nil || len(r.Segments) == 0 {
		t.Fatalf("%d renditions", len(e.Renditions))
	}
	if r.Of() != "video0" || of.Of() != "" {
		t.Errorf("%s is of %q", r.Name, r.Of())
	}
	for i := range r.Segments {
		s := &r.Segments[i]
		o := of.Segment(s.Epoch, s.MSN)
		if i > 0 && s.MSN != r.Segments[i-1].MSN+1 {
			t.Errorf("%d after %d", s.MSN, r.Segments[i-1].MSN)
		}
		if o == nil || s.DTS != o.DTS || s.Dur != o.Dur || s.Start != o.Start || s.Shift != o.Shift || !s.Date.Equal(o.Date) || s.Stretch != o.Stretch || s.object != o.object || i > 0 && s.Discontinuity != o.Discontinuity {
			t.Errorf("%d: %+v, of %+v", s.MSN, s, o)
		}
		if o != nil && o.Independent && s.FirstKey != o.FirstKey && len(gaps) == 0 && r.Segments[0].MSN == 0 {
			t.Errorf("%d: key frames from %d, of %d", s.MSN, s.FirstKey, o.FirstKey)
		}
		if r.discontinuitiesAt(s.MSN) != of.discontinuitiesAt(s.MSN) {
			t.Errorf("%d: behind %d discontinuities, of %d", s.MSN, r.discontinuitiesAt(s.MSN), of.discontinuitiesAt(s.MSN))
		}
		if s.Gap {
			gaps = append(gaps, s.MSN)
		}
	}
	return gaps
}

// Whatever is made first, segments come in the order of the chunks, with their times, and
// lie in the objects of the chunks as the index says; what fails for good is a gap, what
// fails for a moment is not.
func TestDerivedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		takes := make([]time.Duration, 64)
		for i := range takes {
			takes[i] = time.Duration(rng.Int64N(int64(5 * time.Second)))
		}
		st, ix := &memStore{}, indexmem.New()
		never := errors.New("never")
		f := &half{
			takes: func(seq uint64) time.Duration { return takes[seq] },
			fails: func(seq uint64, try int) error {
				switch {
				case seq == 5 || seq == 11:
					return never
				case seq%4 == 3 && try == 0:
					return fmt.Errorf("%w: once", stage.ErrTransient)
				}
				return nil
			},
		}
		cfg := plain(f)
		cfg.Store, cfg.Index = st, ix
		h, end := hub(t, cfg)
		defer end()
		c := &checkEdges{t: t}
		var wg sync.WaitGroup
		wg.Go(func() { watch(h, "cam", c.see) })
		sp := spec(40)
		sp.Video.B = 2
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(sp))); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if gaps := aligned(t, c.last); !slices.Equal(gaps, []int64{5, 11}) {
			t.Errorf("gaps: %v", gaps)
		}
		if last := c.last.Rendition("video0").Last(); c.last.Rendition("video0-half").Last() != last || last < 15 {
			t.Errorf("up to %d of %d", c.last.Rendition("video0-half").Last(), last)
		}
		if f.most < 2 {
			t.Error("chunks were not side by side")
		}
		seq := int64(0)
		for e, err := range ix.Range(t.Context(), "cam", time.Time{}, time.Time{}) {
			if err != nil || e.Seq != seq || len(e.Tracks) != 3 || e.Tracks[2].Name != "video0-half" || st.get("cam/"+e.Tracks[2].Init) == nil {
				t.Fatalf("%+v, %v", e, err)
			}
			x := e.Tracks[2]
			if x.Gap != (seq == 5 || seq == 11) || x.Gap != (x.Size == 0) || x.Start != e.Tracks[0].Start || x.Duration != e.Tracks[0].Duration {
				t.Errorf("%d: %+v", seq, x)
			}
			b := st.get(e.Object)[x.Offset : x.Offset+x.Size]
			if want := fmt.Appendf(nil, "half %d.0half %d.", seq, seq); !x.Gap && !bytes.Contains(b, want) {
				t.Errorf("%d: %q is not in %q", seq, want, b)
			}
			seq++
		}
		s := h.Lookup("cam").Stats()
		if s.Derived != seq-2 || s.Underived != 2 {
			t.Errorf("%d made and %d not, of %d", s.Derived, s.Underived, seq)
		}
	})
}

// Who asks for playlists first is told of the rendition, too; if it cannot be made, the
// others do not wait for it, and it comes when it can.
func TestDerivedBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &half{
			takes: func(uint64) time.Duration { return 500 * time.Millisecond },
			fails: func(seq uint64, _ int) error {
				if seq < 4 {
					return errors.New("not yet")
				}
				return nil
			},
		}
		h, end := hub(t, plain(f))
		defer end()
		c := &checkEdges{t: t}
		ready := int64(-1)
		var wg sync.WaitGroup
		wg.Go(func() {
			watch(h, "cam", func(e *Edge) {
				c.see(e)
				if e.Ready() && ready < 0 {
					ready = e.newest()
					if e.Rendition("video0-half") != nil {
						t.Error("it is there, with nothing in it")
					}
				}
			})
		})
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(20)))); err != nil {
			t.Error(err)
		}
		wg.Wait()
		aligned(t, c.last)
		if first := c.last.Rendition("video0-half").Segments[0].MSN; first != 4 || ready > 1 {
			t.Errorf("begins at %d; ready at %d", first, ready)
		}
	})
}

// A stage that hangs costs the live edge nothing: the rendition has gaps, what was cut is
// stored, and the stream ends in half of the drain.
func TestDerivedHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &half{takes: func(seq uint64) time.Duration {
			if seq < 2 {
				return 0
			}
			return time.Hour
		}}
		ix := indexmem.New()
		cfg := plain(f)
		cfg.Index, cfg.Drain = ix, 8*time.Second
		h, end := hub(t, cfg)
		defer end()
		c := &checkEdges{t: t}
		var wg sync.WaitGroup
		wg.Go(func() { watch(h, "cam", c.see) })
		began := time.Now()
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(60)))); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 59*time.Second || took > 66*time.Second {
			t.Errorf("took %v", took)
		}
		wg.Wait()
		last := c.last.Rendition("video0").Last()
		if gaps := aligned(t, c.last); len(gaps) != int(last)-1 || last < 28 || f.most > maxStaged {
			t.Errorf("gaps %v up to %d; %d at a time", gaps, last, f.most)
		}
		n := int64(0)
		for e, err := range ix.Range(t.Context(), "cam", time.Time{}, time.Time{}) {
			if err != nil || e.Gap || e.Tracks[0].Gap || e.Tracks[2].Gap != (e.Seq >= 2) {
				t.Errorf("%+v, %v", e, err)
			}
			n++
		}
		if n != last+1 {
			t.Errorf("%d of %d are stored", n, last+1)
		}
	})
}

// Also if little memory is there no chunk of the source is lost.
func TestDerivedHangsHeavy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &half{takes: func(uint64) time.Duration { return time.Hour }}
		ix := indexmem.New()
		cfg := plain(f)
		cfg.Index, cfg.StreamMemory, cfg.Drain = ix, 16<<20, 8*time.Second
		h, end := hub(t, cfg)
		defer end()
		sp := spec(60)
		sp.Video.Size = 12_000
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(sp))); err != nil {
			t.Error(err)
		}
		s := h.Lookup("cam").Stats()
		if s.Unstored > 0 || s.Dropped > 0 || s.Stored != s.Chunks || s.Derived != 0 || s.Underived != s.Chunks {
			t.Errorf("%+v", s)
		}
	})
}

// An elastic source waits for stages, and loses nothing.
func TestDerivedElastic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &half{takes: func(uint64) time.Duration { return 20 * time.Second }}
		cfg := plain(f)
		cfg.StreamMemory = 8 << 20
		h, end := hub(t, cfg)
		defer end()
		sp := spec(40)
		sp.Video.Size = 20_000
		if err := h.PublishWith(t.Context(), "cam", avtest.NewSynthetic(sp), PublishOptions{Elastic: true}); err != nil {
			t.Error(err)
		}
		if gaps := aligned(t, h.Lookup("cam").Edge()); len(gaps) > 0 || f.most < 2 {
			t.Errorf("gaps: %v; %d at a time", gaps, f.most)
		}
	})
}

// A chunk that was cut inside a GOP comes with those before it, up to the one that can be
// decoded.
func TestDerivedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &half{}
		cfg := plain(f)
		cfg.MaxChunk = 2 * time.Second
		h, end := hub(t, cfg)
		defer end()
		sp := spec(24)
		sp.Video.GOPs = []int{150}
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(sp))); err != nil {
			t.Error(err)
		}
		if gaps := aligned(t, h.Lookup("cam").Edge()); len(gaps) > 0 {
			t.Errorf("gaps: %v", gaps)
		}
		var chain []uint64
		deepest := 0
		for _, s := range h.Lookup("cam").Edge().Rendition("video0").Segments {
			seq := uint64(s.MSN)
			if s.Independent {
				chain = nil
			}
			if !slices.Equal(f.before[seq], chain) {
				t.Errorf("%d stands on %v, want %v", seq, f.before[seq], chain)
			}
			chain = append(chain, seq)
			deepest = max(deepest, len(chain))
		}
		if deepest < 2 {
			t.Error("no chunk stands on another")
		}
	})
}

// A chunk that begins with an open key frame comes with the one before it, and no more.
func TestDerivedBeforeOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &half{}
		h, end := hub(t, plain(f))
		defer end()
		sp := spec(20)
		sp.Video.B, sp.Video.Open = 2, true
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(sp))); err != nil {
			t.Error(err)
		}
		if gaps := aligned(t, h.Lookup("cam").Edge()); len(gaps) > 0 || len(f.before) < 8 {
			t.Errorf("%d chunks, gaps: %v", len(f.before), gaps)
		}
		for seq, before := range f.before {
			if want := []uint64{seq - 1}; seq > 0 && !slices.Equal(before, want) || seq == 0 && len(before) > 0 {
				t.Errorf("%d stands on %v", seq, before)
			}
		}
	})
}

// A publisher that ends at any moment, and comes back, leaves nothing behind, and the
// rendition goes on with the others.
func TestDerivedCancelled(t *testing.T) {
	for step := range 20 {
		synctest.Test(t, func(t *testing.T) {
			f := &half{takes: func(seq uint64) time.Duration { return time.Duration(seq*7%5) * 600 * time.Millisecond }}
			cfg := plain(f)
			cfg.Drain = 2 * time.Second
			h, end := hub(t, cfg)
			defer end()
			c := &checkEdges{t: t}
			var wg sync.WaitGroup
			wg.Go(func() { watch(h, "cam", c.see) })
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(step)*777*time.Millisecond+500*time.Millisecond)
			defer cancel()
			d := avtest.Pace(avtest.NewSynthetic(spec(60)))
			context.AfterFunc(ctx, func() { d.Close() })
			_ = h.Publish(ctx, "cam", d)
			time.Sleep(time.Second)
			if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(8)))); err != nil {
				t.Error(err)
			}
			wg.Wait()
			aligned(t, c.last)
		})
	}
}

// When the tracks change the rendition follows, with the same discontinuity.
func TestDerivedTracksChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &half{takes: func(seq uint64) time.Duration { return time.Duration(seq*7%5) * 600 * time.Millisecond }}
		h, end := hub(t, plain(f))
		defer end()
		c := &checkEdges{t: t, off: time.Hour}
		var wg sync.WaitGroup
		wg.Go(func() { watch(h, "cam", c.see) })
		one, two := spec(9), spec(9)
		two.Video.Width, two.Start = 640, 9*time.Second
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(one, two))); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if gaps := aligned(t, c.last); len(gaps) > 0 {
			t.Errorf("gaps: %v", gaps)
		}
		inits := map[string]bool{}
		for _, s := range c.last.Rendition("video0-half").Segments {
			inits[s.Init] = true
			if h.Lookup("cam").Init(s.Init) == nil {
				t.Errorf("%s is not there", s.Init)
			}
		}
		if len(inits) != 2 {
			t.Errorf("%d headers", len(inits))
		}
	})
}

// A header that changes where nothing has is no header of the rendition.
func TestDerivedHeaderStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &half{turns: func(seq uint64) uint16 {
			if seq == 3 || seq == 4 {
				return 180
			}
			return 90
		}}
		h, end := hub(t, plain(f))
		defer end()
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(20)))); err != nil {
			t.Error(err)
		}
		if gaps := aligned(t, h.Lookup("cam").Edge()); !slices.Equal(gaps, []int64{3, 4}) {
			t.Errorf("gaps: %v", gaps)
		}
	})
}

// After a restart the rendition is there again, and what was under way is a gap.
func TestDerivedRestored(t *testing.T) {
	for _, parts := range []bool{false, true} {
		m := newMachine(t)
		if parts {
			m.parts = t.TempDir()
		}
		synctest.Test(t, func(t *testing.T) {
			f := &half{takes: func(uint64) time.Duration { return 3 * time.Second }}
			cfg := plain(f)
			cfg.Window = 30 * time.Second
			a := m.start(t, cfg)
			stop := a.publish(t, spec(60))
			time.Sleep(41500 * time.Millisecond)
			was := a.kill(t, stop)
			time.Sleep(5 * time.Second)

			b := m.start(t, cfg)
			s := b.Lookup("live/cam")
			if s == nil {
				t.Fatal("the stream is not there")
			}
			is := s.Edge()
			x, y := was.Rendition("video0-half"), is.Rendition("video0-half")
			if y == nil || y.Info != x.Info || !is.Ready() || y.Last() != is.Rendition("video0").Last() {
				t.Fatalf("%+v", y)
			}
			for i := range y.Segments {
				if g := &y.Segments[i]; g.Gap != (g.MSN > x.Last()) && (g.Gap || !parts) {
					t.Errorf("%d of %d: gap %v", g.MSN, x.Last(), g.Gap)
				}
			}
			source := is.Rendition("video0")
			lost := 0
			for i := range source.Segments {
				if source.Segments[i].Gap {
					lost++
				}
			}
			if parts && lost > 0 {
				t.Errorf("%d chunks of the source are lost, whose parts were kept", lost)
			}
			stop = b.publish(t, spec(60))
			time.Sleep(20500 * time.Millisecond)
			stop()
			e := s.Edge()
			r := e.Rendition("video0-half")
			if r.Last() != e.Rendition("video0").Last() || r.Last() < y.Last()+8 {
				t.Errorf("up to %d of %d", r.Last(), e.Rendition("video0").Last())
			}
			for i := 1; i < len(r.Segments); i++ {
				if r.Segments[i].MSN != r.Segments[i-1].MSN+1 || r.discontinuitiesAt(r.Segments[i].MSN) != e.Rendition("video0").discontinuitiesAt(r.Segments[i].MSN) {
					t.Errorf("%d after %d", r.Segments[i].MSN, r.Segments[i-1].MSN)
				}
			}
			b.end()
		})
	}
}

// Parts and renditions of whole chunks do not go together.
func TestDerivedWithoutParts(t *testing.T) {
	cfg := plain(&half{})
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	cfg.Part = 0
	if err := cfg.Validate(); err == nil {
		t.Error("low latency")
	}
}
