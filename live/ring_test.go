package live

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/mem"
)

// source writes a video track of 25 frames a second and GOPs of a second to a ring.
type source struct {
	t     *testing.T
	pool  *mem.Pool
	arena *mem.Arena
	s     *Stream
	set   *trackSet
	n     int64
	size  int
}

func newSource(t *testing.T, viewer, most int64) *source {
	t.Helper()
	pool := mem.NewPool(64 << 20)
	src := &source{t: t, pool: pool, arena: pool.NewFailingArena(), s: &Stream{ring: newRing(viewer, most)}, size: 1000}
	src.s.ring.attach(src.arena)
	src.change()
	return src
}

func (src *source) change() {
	src.set = &trackSet{tracks: []av.Track{{Kind: av.Video, Codec: av.H264, Timebase: av.Timebase{Num: 1, Den: 25}}}}
}

func (src *source) write(frames int) {
	src.t.Helper()
	for range frames {
		b, err := src.arena.Alloc(0, src.size)
		if err != nil {
			src.t.Fatal(err)
		}
		for i := range b {
			b[i] = byte(src.n)
		}
		p := av.Packet{DTS: src.n, PTS: src.n, Data: b}
		if src.n%25 == 0 {
			p.Flags = av.Key
		}
		if !src.s.ring.write(p, src.set, p.Flags == av.Key) {
			src.arena.Passed(0, b)
		}
		src.n++
	}
}

// live writes like a camera.
func (src *source) live(frames int) {
	src.t.Helper()
	for range frames {
		src.write(1)
		time.Sleep(40 * time.Millisecond)
	}
}

// close ends the stream and checks that every slab came home.
func (src *source) close() {
	src.t.Helper()
	src.s.ring.clear(true)
	src.arena.Close()
	if n := src.pool.InUse(); n != 0 {
		src.t.Errorf("%d bytes of slabs did not come home", n)
	}
	src.pool.Close()
}

// next is Next, whose packets must be whole.
func next(t *testing.T, c *Cursor, dst []av.Packet) (int, error) {
	t.Helper()
	n, err := c.Next(t.Context(), dst)
	for _, p := range dst[:n] {
		if p.Data[0] != byte(p.DTS) || p.Data[len(p.Data)-1] != byte(p.DTS) {
			t.Fatalf("packet %d has other bytes", p.DTS)
		}
	}
	return n, err
}

// Oldest begins as far back as the ring and the budget reach, and falls behind like
// any other.
func TestCursorBeginsAtOldestKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 1<<20, 4<<20)
		defer src.close()
		src.live(110)
		dst := make([]av.Packet, 100)
		for _, c := range []struct{ budget, first int64 }{{0, 0}, {70_000, 50}, {1000, 100}} {
			v := src.s.NewCursor(CursorOptions{Oldest: true, Budget: c.budget})
			if _, err := next(t, v, dst); !errors.Is(err, av.ErrTracks) {
				t.Fatal("first:", err)
			}
			n, err := next(t, v, dst)
			if n == 0 || err != nil || dst[0].DTS != c.first || dst[0].Flags != av.Key {
				t.Errorf("budget %d: %d packets from %d, want %d: %v", c.budget, n, dst[0].DTS, c.first, err)
			}
			v.Close()
		}
		src.live(300)
		v := src.s.NewCursor(CursorOptions{Oldest: true})
		defer v.Close()
		next(t, v, dst)
		if _, err := next(t, v, dst); err != nil || dst[0].DTS == 0 || dst[0].Flags != av.Key {
			t.Errorf("after what was first has left: from %d: %v", dst[0].DTS, err)
		}
	})
}

func TestCursorBeginsAtNewestKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 1<<20, 4<<20)
		defer src.close()
		src.live(60)
		c := src.s.NewCursor(CursorOptions{})
		defer c.Close()
		dst := make([]av.Packet, 100)
		if _, err := next(t, c, dst); !errors.Is(err, av.ErrTracks) || len(c.Tracks()) != 1 {
			t.Fatal("first:", err)
		}
		n, err := next(t, c, dst)
		if n != 10 || err != nil || dst[0].DTS != 50 || dst[0].Flags != av.Key {
			t.Fatalf("%d packets from %d: %v", n, dst[0].DTS, err)
		}
		// At the edge it waits, and ends a batch with the GOP.
		go src.live(40)
		want := int64(60)
		for want < 100 {
			n, err := next(t, c, dst)
			if err != nil || dst[0].DTS != want || dst[0].DTS/25 != dst[n-1].DTS/25 {
				t.Fatalf("%d packets from %d, want %d: %v", n, dst[0].DTS, want, err)
			}
			want += int64(n)
		}
		synctest.Wait()
		time.Sleep(time.Second)
	})
}

func TestBatchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 8<<20, 16<<20)
		defer src.close()
		src.size = 100 << 10
		src.write(5)
		src.size = 300 << 10
		src.write(2)
		c := src.s.NewCursor(CursorOptions{})
		defer c.Close()
		dst := make([]av.Packet, 100)
		_, _ = next(t, c, dst)
		for _, want := range []int{2, 2, 1, 1, 1} {
			if n, err := next(t, c, dst); n != want || err != nil {
				t.Errorf("%d packets, want %d: %v", n, want, err)
			}
		}
	})
}

// A viewer behind its budget jumps to the newest key frame and is told how much
// it missed; one that is not, reads every packet.
func TestLagJumpsToNewestKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 60_000, 4<<20)
		defer src.close()
		src.live(1)
		c, patient := src.s.NewCursor(CursorOptions{Budget: 30_000}), src.s.NewCursor(CursorOptions{})
		defer c.Close()
		defer patient.Close()
		dst := make([]av.Packet, 10)
		for _, c := range []*Cursor{c, patient} {
			_, _ = next(t, c, dst)
			if n, err := next(t, c, dst); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		src.live(55) // 25, 50 are key frames
		var lag *LagError
		if _, err := next(t, c, dst); !errors.As(err, &lag) || lag.Bytes != 49_000 || lag.Frames != 49 {
			t.Fatalf("%v, %+v, want a jump over 49000 bytes, 49 frames", err, lag)
		}
		if n, err := next(t, c, dst); n != 6 || err != nil || dst[0].DTS != 50 || dst[0].Flags != av.Key {
			t.Fatalf("%d packets from %d: %v", n, dst[0].DTS, err)
		}
		if got := src.s.ring.stats.jumps.Load(); got != 1 {
			t.Errorf("%d jumps counted", got)
		}
		for want := int64(1); want < 56; {
			n, err := next(t, patient, dst)
			if err != nil || dst[0].DTS != want {
				t.Fatalf("%d packets from %d, want %d: %v", n, dst[0].DTS, want, err)
			}
			want += int64(n)
		}
	})
}

// The newest GOP is never left for being behind: there is nowhere to jump to.
func TestLateWithinNewestGOPReadsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 2000, 4<<20)
		defer src.close()
		src.live(20)
		c := src.s.NewCursor(CursorOptions{})
		defer c.Close()
		dst := make([]av.Packet, 3)
		_, _ = next(t, c, dst)
		for want := int64(0); want < 18; want += 3 {
			if n, err := next(t, c, dst); n != 3 || err != nil || dst[0].DTS != want {
				t.Fatal(n, err)
			}
		}
	})
}

// A GOP longer than the ring's bytes goes on in further entries; its front leaves,
// and who was to read it waits for the next key frame.
func TestEndlessGOPStaysBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 1<<20, 8<<20)
		defer src.close()
		src.size = 512 << 10
		src.write(2)
		early := src.s.NewCursor(CursorOptions{})
		defer early.Close()
		dst := make([]av.Packet, 10)
		_, _ = next(t, early, dst)
		_, _ = next(t, early, dst)
		early.unhold()
		src.write(22)
		if n := src.pool.InUse(); n > 20<<20 {
			t.Errorf("%d MiB are held", n>>20)
		}
		late := src.s.NewCursor(CursorOptions{})
		defer late.Close()
		time.Sleep(time.Second)
		go src.live(2)
		if _, err := next(t, late, dst); !errors.Is(err, av.ErrTracks) {
			t.Error(err)
		}
		if n, err := next(t, late, dst); n == 0 || dst[0].DTS != 25 {
			t.Error(n, err)
		}
		var lag *LagError
		if _, err := next(t, early, dst); !errors.As(err, &lag) {
			t.Error("whose place has left:", err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
	})
}

func TestChangeOfTracksIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 1<<20, 4<<20)
		defer src.close()
		src.live(10)
		c := src.s.NewCursor(CursorOptions{})
		defer c.Close()
		dst := make([]av.Packet, 100)
		_, _ = next(t, c, dst)
		_, _ = next(t, c, dst)
		src.change()
		src.live(17) // nothing before the key frame at 25
		if _, err := next(t, c, dst); !errors.Is(err, av.ErrTracks) || &c.Tracks()[0] != &src.set.tracks[0] {
			t.Fatal("change:", err)
		}
		if n, err := next(t, c, dst); n != 2 || err != nil || dst[0].DTS != 25 {
			t.Fatal(n, err)
		}
		src.s.ring.ended.Store(true)
		if _, err := next(t, c, dst); !errors.Is(err, io.EOF) {
			t.Error("end:", err)
		}
	})
}

// Who holds a batch for 5 s after its GOP left is closed; nobody else is.
func TestStalledViewerIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 40_000, 4<<20)
		defer src.close()
		src.live(10)
		calls := 0
		slow := src.s.NewCursor(CursorOptions{Stalled: func() { calls++ }})
		good := src.s.NewCursor(CursorOptions{Stalled: func() { t.Error("a reader that keeps up was closed") }})
		defer slow.Close()
		defer good.Close()
		dst, other := make([]av.Packet, 100), make([]av.Packet, 100)
		for range 2 {
			_, _ = next(t, slow, dst)
			_, _ = next(t, good, other)
		}
		src.live(25)
		for range 20 {
			for n := 1; n > 0; {
				var err error
				if good.Behind() == 0 {
					break
				}
				if n, err = next(t, good, other); err != nil {
					t.Fatal(err)
				}
			}
			src.live(25)
			src.s.ring.sweep(time.Now())
		}
		if dst[0].Data[0] != 0 {
			t.Error("the batch was not kept while it was held")
		}
		if calls != 1 || src.s.ring.stats.stalls.Load() != 1 {
			t.Errorf("Stalled was called %d times, %d counted", calls, src.s.ring.stats.stalls.Load())
		}
		if _, err := next(t, slow, dst); !errors.Is(err, ErrStalled) {
			t.Error(err)
		}
		slow.Close()
		if _, err := next(t, slow, dst); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		src.s.ring.sweep(time.Now())
		if n := len(src.s.ring.departed); n > 1 { // good may hold one
			t.Errorf("%d entries are kept", n)
		}
	})
}

// Readers are cancelled at every point in turn, and race with a writer.
func TestCursorsCancelledAtEveryPoint(t *testing.T) {
	for stopAt := range 40 {
		synctest.Test(t, func(t *testing.T) {
			src := newSource(t, 20_000, 1<<20)
			var wg sync.WaitGroup
			for k := range 4 {
				wg.Go(func() {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					c := src.s.NewCursor(CursorOptions{})
					defer c.Close()
					dst := make([]av.Packet, 1+k*4)
					for i := 0; ; i++ {
						if i == stopAt {
							cancel()
						}
						_, err := c.Next(ctx, dst)
						var lag *LagError
						if err != nil && !errors.Is(err, av.ErrTracks) && !errors.As(err, &lag) {
							return
						}
						time.Sleep(time.Duration(k*k) * 30 * time.Millisecond)
					}
				})
			}
			src.live(120)
			src.s.ring.clear(true)
			wg.Wait()
			src.close()
		})
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	src := newSource(t, 1<<20, 4<<20)
	src.write(1)
	c := src.s.NewCursor(CursorOptions{})
	dst := make([]av.Packet, 7)
	ctx := t.Context()
	_, _ = c.Next(ctx, dst)
	src.write(500)
	if n := testing.AllocsPerRun(50, func() {
		if n, err := c.Next(ctx, dst); n == 0 {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
	c.Close()
	src.close()
}
