package live

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// read reads a cursor to its end, and returns how many packets of the lead came.
func read(t *testing.T, ctx context.Context, s *Stream, see func(c *Cursor, batch []av.Packet, err error)) error {
	c := s.NewCursor(CursorOptions{})
	defer c.Close()
	dst := make([]av.Packet, 64)
	for {
		n, err := c.Next(ctx, dst)
		var lag *LagError
		if err != nil && !errors.Is(err, av.ErrTracks) && !errors.As(err, &lag) {
			return err
		}
		see(c, dst[:n], err)
	}
}

func lookup(h *Hub, name string) *Stream {
	for {
		if s := h.Lookup(name); s != nil {
			return s
		}
		time.Sleep(time.Millisecond)
	}
}

// A second publisher takes the name: the first ends with the reason, players get a
// discontinuity and packet viewers new tracks, with times that go on.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{Takeover: true})
		defer end()
		c := &checkEdges{t: t}
		var wg sync.WaitGroup
		first := make(chan error, 1)
		wg.Go(func() { watch(h, "cam", c.see) })
		wg.Go(func() { first <- h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(60)))) })
		time.Sleep(5500 * time.Millisecond)
		sets, last := 0, time.Duration(-1)
		wg.Go(func() {
			err := read(t, t.Context(), lookup(h, "cam"), func(c *Cursor, batch []av.Packet, err error) {
				if err != nil {
					sets++
					return
				}
				for _, p := range batch {
					if p.Track != c.Lead() {
						continue
					}
					at := av.Timebase{Num: 1, Den: 90000}.Duration(p.DTS) + c.Offset()
					if at <= last {
						t.Errorf("%v after %v", at, last)
					}
					last = at
				}
			})
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(6)))); err != nil {
			t.Error(err)
		}
		if err := <-first; !errors.Is(err, ErrTakenOver) {
			t.Error("the first one ended with", err)
		}
		wg.Wait()
		if sets != 2 || last < 12*time.Second || last > 14*time.Second {
			t.Errorf("%d sets of tracks, the last packet at %v", sets, last)
		}
		breaks := 0
		for _, r := range c.last.Renditions {
			for k := range r.Segments {
				if r.Segments[k].Discontinuity {
					breaks++
				}
			}
		}
		if breaks != 2 || c.last.Renditions[0].Last() < 6 {
			t.Errorf("%d discontinuities in two renditions", breaks)
		}
	})
}

func TestSecondIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{})
		defer end()
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		var wg sync.WaitGroup
		wg.Go(func() {
			d := avtest.Pace(avtest.NewSynthetic(spec(60)))
			context.AfterFunc(ctx, func() { d.Close() })
			if err := h.Publish(ctx, "cam", d); !errors.Is(err, stop) {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		if err := h.Publish(t.Context(), "cam", avtest.NewSynthetic(spec(1))); !errors.Is(err, ErrTaken) {
			t.Error(err)
		}
		cancel(stop)
		wg.Wait()
	})
}

// Publishers are cancelled at every point in turn, with viewers and requests around
// them; all slabs come home, nobody keeps waiting.
func TestCancelledAtEveryPoint(t *testing.T) {
	for step := range 45 {
		synctest.Test(t, func(t *testing.T) {
			h, end := hub(t, Config{Grace: time.Second})
			defer end()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			d := avtest.Pace(avtest.NewSynthetic(spec(30)))
			context.AfterFunc(ctx, func() { d.Close() })
			n := 0
			d.Change = func(*av.Packet) bool {
				if n++; n == 1+step*step/2 {
					cancel()
				}
				return true
			}
			var wg sync.WaitGroup
			wg.Go(func() { _ = h.Publish(ctx, "cam", d) })
			s := lookup(h, "cam")
			for range 2 {
				wg.Go(func() { _ = read(t, t.Context(), s, func(*Cursor, []av.Packet, error) {}) })
			}
			for msn := range int64(4) {
				wg.Go(func() { _, _ = s.Await(t.Context(), "video0", msn*2, 3) })
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(msn)*time.Second)
					defer cancel()
					_, _ = s.Await(ctx, "audio0", msn, -1)
				})
			}
			wg.Wait()
			if len(s.waits.at) != 0 {
				t.Errorf("%d places are still waited for", len(s.waits.at))
			}
		})
	}
}

// Waiting wakes by place: nobody is woken for what he did not ask for.
func TestAwaitWakesByPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{})
		defer end()
		var wg sync.WaitGroup
		wg.Go(func() { _ = h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(12)))) })
		time.Sleep(4100 * time.Millisecond)
		s := h.Lookup("cam")
		began := time.Now()
		for _, c := range []struct {
			part int64
			want time.Duration
		}{{0, 150 * time.Millisecond}, {4, 950 * time.Millisecond}, {9, 1950 * time.Millisecond}, {12, 2150 * time.Millisecond}, {-1, 1950 * time.Millisecond}} {
			wg.Go(func() {
				e, err := s.Await(t.Context(), "video0", 3, c.part)
				took := time.Since(began)
				if err != nil || !e.Rendition("video0").Reached(3, c.part) || max(took-c.want, c.want-took) > 100*time.Millisecond {
					t.Errorf("part %d: after %v, want %v: %v", c.part, took, c.want, err)
				}
			})
		}
		wg.Wait()
	})
}

// greedy is a source with frames so large that memory does not hold what it sends.
func greedy(seconds int) avtest.Spec {
	sp := spec(seconds)
	sp.Video.Size, sp.Video.KeySize = 150<<10, 300<<10
	return sp
}

// A source in real time is always read: over budget its packets are dropped up to the
// next key frame, marked, counted; the budget holds and the stream goes on. An elastic
// one waits and loses nothing.
func TestOverBudget(t *testing.T) {
	for _, elastic := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			st := &memStore{slow: 3 * time.Second}
			h, end := hub(t, Config{Store: st, Memory: 24 << 20, StreamMemory: 16 << 20})
			defer end()
			c := &checkEdges{t: t, off: time.Hour}
			var wg sync.WaitGroup
			wg.Go(func() { watch(h, "cam", c.see) })
			var most, breaks atomic.Int64
			wg.Go(func() {
				_ = read(t, t.Context(), lookup(h, "cam"), func(_ *Cursor, batch []av.Packet, _ error) {
					most.Store(max(most.Load(), h.InUse()))
					for _, p := range batch {
						if p.Flags&av.Discont != 0 && p.Track == 0 {
							breaks.Add(1)
							if p.Flags&av.Key == 0 {
								t.Error("what follows a drop is no key frame")
							}
						}
					}
				})
			})
			began := time.Now()
			sp := greedy(20)
			var d av.Demuxer = avtest.Pace(avtest.NewSynthetic(sp))
			if elastic {
				d = avtest.NewSynthetic(sp)
			}
			if err := h.PublishWith(t.Context(), "cam", d, PublishOptions{Elastic: elastic}); err != nil {
				t.Error(err)
			}
			took := time.Since(began)
			stats := h.Lookup("cam").Stats()
			wg.Wait()
			if elastic && (stats.Dropped != 0 || stats.Unstored != 0) {
				t.Errorf("elastic: %+v", stats)
			}
			if !elastic && (stats.Dropped == 0 || breaks.Load() == 0 || took > 40*time.Second) {
				t.Errorf("real-time: %+v, %d breaks after %v", stats, breaks.Load(), took)
			}
			if n := most.Load(); n > 28<<20 {
				t.Errorf("elastic %v: %d MiB in use", elastic, n>>20)
			}
		})
	}
}

// A publisher for which there is no memory is refused, with the reason.
func TestAdmission(t *testing.T) {
	pool := Config{Store: &memStore{}, Memory: 1 << 20}
	h, err := NewHub(pool)
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.pool.TryNewBlock(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Publish(t.Context(), "cam", avtest.NewSynthetic(spec(1))); !errors.Is(err, ErrMemory) || h.Lookup("cam") != nil {
		t.Error(err)
	}
	b.Release()
	if err := h.Publish(t.Context(), "cam", avtest.NewSynthetic(spec(1))); err != nil {
		t.Error(err)
	}
	h.Close()
}

// What is missing or uneven in the source breaks no promise.
func TestUnevenSources(t *testing.T) {
	between := func(track int, from, to time.Duration) func(*av.Packet) bool {
		return func(p *av.Packet) bool {
			tb := av.Timebase{Num: 1, Den: 90000}
			if p.Track == 1 {
				tb = av.Timebase{Num: 1, Den: 48000}
			}
			at := tb.Duration(p.DTS)
			return track >= 0 && p.Track != track || at < from || at >= to
		}
	}
	i := 0
	for name, change := range map[string]func(*av.Packet) bool{
		"4 s without audio":        between(1, 5*time.Second, 9*time.Second),
		"4 s without video":        between(0, 5*time.Second, 9*time.Second),
		"half a second of nothing": between(-1, 5*time.Second, 5500*time.Millisecond),
		"3 s of nothing":           between(-1, 5*time.Second, 8*time.Second),
		"audio comes late":         between(1, 0, 6*time.Second),
		"audio ends":               between(1, 6*time.Second, time.Hour),
		"frames dropped":           func(p *av.Packet) bool { i++; return p.Track == 1 || p.Flags&av.Key != 0 || i%7 != 0 },
		"jitter": func(p *av.Packet) bool {
			if p.Track == 0 {
				d := (p.DTS * 7919 % 1200) - 600
				p.DTS, p.PTS = p.DTS+d, p.PTS+d
			}
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, end := hub(t, Config{})
				defer end()
				c := &checkEdges{t: t, off: 40 * time.Millisecond}
				var wg sync.WaitGroup
				wg.Go(func() { watch(h, "cam", c.see) })
				d := avtest.Pace(avtest.NewSynthetic(spec(20)))
				d.Change = change
				if err := h.Publish(t.Context(), "cam", d); err != nil {
					t.Error(err)
				}
				wg.Wait()
				for _, r := range c.last.Renditions {
					sum := time.Duration(0)
					for k := range r.Segments {
						sum += r.Segments[k].Duration()
					}
					if sum < 17*time.Second || sum > 21*time.Second {
						t.Errorf("%s: %d segments of %v", r.Name, len(r.Segments), sum)
					}
				}
			})
		})
	}
}

// A change of tracks is a discontinuity with another initialization section, at the
// same number in every rendition; a rendition that begins later agrees in numbers.
func TestTracksChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{})
		defer end()
		c := &checkEdges{t: t, off: time.Hour}
		var wg sync.WaitGroup
		wg.Go(func() { watch(h, "cam", c.see) })
		one, two, three := spec(6), spec(6), spec(6)
		one.Audio.Frames = 0
		two.Video.Width, two.Start = 640, 6*time.Second
		three.Start = 12 * time.Second
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(one, two, three))); err != nil {
			t.Error(err)
		}
		wg.Wait()
		type place struct {
			msn  int64
			init string
		}
		var breaks [2][]place
		for i := range c.last.Renditions {
			r := &c.last.Renditions[i]
			for k := range r.Segments {
				s := &r.Segments[k]
				if k > 0 && s.Discontinuity == (s.Init == r.Segments[k-1].Init) && i == 0 {
					t.Errorf("%s %d: discontinuity %v", r.Name, s.MSN, s.Discontinuity)
				}
				if s.Discontinuity {
					breaks[i] = append(breaks[i], place{s.MSN, s.Init})
				}
				if h.Lookup("cam").Init(s.Init) == nil {
					t.Errorf("%s is not there", s.Init)
				}
			}
		}
		if len(breaks[0]) != 2 || len(breaks[1]) != 1 || breaks[0][1].msn != breaks[1][0].msn {
			t.Errorf("video breaks at %v, audio at %v", breaks[0], breaks[1])
		}
		if d := c.last.Rendition("audio0").Discontinuities; d != 1 || c.last.Rendition("audio0").Segments[0].MSN != breaks[0][0].msn {
			t.Errorf("audio begins behind %d discontinuities", d)
		}
	})
}

// A new process continues the numbers behind those that were in use.
func TestNumbersAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{}
		last := int64(-1)
		for epoch := range uint32(3) {
			h, end := hub(t, Config{Store: st, Grace: time.Second})
			var wg sync.WaitGroup
			var edge *Edge
			wg.Go(func() { watch(h, "cam", func(e *Edge) { edge = e }) })
			if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(6)))); err != nil {
				t.Error(err)
			}
			wg.Wait()
			first := edge.Renditions[0].Segments[0]
			if first.MSN <= last || first.Epoch != epoch+1 {
				t.Errorf("epoch %d begins at %d, after %d", first.Epoch, first.MSN, last)
			}
			last = edge.Renditions[0].Last()
			end()
		}
	})
}

// A viewer has all that a publisher sent when that ends, also the sound after the last
// picture, which wakes nobody while pictures come.
func TestViewerHasTheEndOfATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{})
		defer end()
		ctx, cancel := context.WithCancel(t.Context())
		var got int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			s := lookup(h, "cam")
			read(t, ctx, s, func(_ *Cursor, batch []av.Packet, err error) { got += int64(len(batch)) })
		}()
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(3)))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if sent := h.Lookup("cam").Stats().Packets; got != sent {
			t.Errorf("the viewer waits with %d of %d packets", got, sent)
		}
		cancel()
		<-done
	})
}
