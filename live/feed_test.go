package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
)

// numbers renders each packet as its DTS, so that a viewer's bytes say what it got.
type numbers struct {
	begun  int
	refuse bool
}

func (r *numbers) Begin([]av.Track, time.Duration) error {
	r.begun++
	if r.refuse {
		return fmt.Errorf("numbers: %w", av.ErrUnsupported)
	}
	return nil
}

func (r *numbers) Header(dst []byte, first bool) []byte {
	if first {
		dst = append(dst, "first..."...)
	}
	return fmt.Appendf(dst, "tracks%02d", r.begun)
}

func (r *numbers) Append(dst []byte, p *av.Packet) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(p.DTS)), bytes.Repeat([]byte{'.'}, 992)...)
}

func (src *source) watched() { src.s.hub = &Hub{pool: src.pool} }

// view reads n packets of 1000 bytes and returns their numbers; headers are -1.
func view(t *testing.T, v *Viewer, n int) (got []int64) {
	t.Helper()
	for n > 0 {
		bufs, err := v.Next(t.Context(), make([][]byte, 0, 8))
		if err != nil {
			t.Fatalf("%v after %v", err, got)
		}
		for _, b := range bufs {
			if len(b)%1000 != 0 {
				got = append(got, -1)
				continue
			}
			for ; len(b) > 0; b = b[1000:] {
				got = append(got, int64(binary.BigEndian.Uint64(b)))
				n--
			}
		}
	}
	return got
}

func run(t *testing.T, got []int64, from, to int64) {
	t.Helper()
	for i, x := range got {
		if x != from+int64(i) || x > to {
			t.Fatalf("%v, want %d to %d", got, from, to)
		}
	}
}

func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 60000, 4<<20)
		src.watched()
		defer src.close()
		src.live(60)
		r := &numbers{}
		v := src.s.Watch("numbers", func() Renderer { return r })
		got := view(t, v, 10)
		if got[0] != -1 {
			t.Fatal("no header:", got)
		}
		run(t, got[1:], 50, 59)

		// A second one shares the rendering.
		w := src.s.Watch("numbers", func() Renderer { t.Error("rendered twice"); return r })
		run(t, view(t, w, 10)[1:], 50, 59)
		src.live(5)
		run(t, view(t, w, 5), 60, 64)

		// One that is late goes on at the newest key frame, with a header.
		src.live(200)
		synctest.Wait()
		late := view(t, v, 1)
		if late[0] != -1 || late[1] != 250 {
			t.Errorf("a late viewer gets %v", late)
		}
		if st := src.s.Stats(); v.f.jumps.Load() == 0 || st.FeedJumps == 0 || st.Feeds != 1 || st.FeedViewers != 2 {
			t.Error("the jump was not counted")
		}

		// New tracks: a header, and on.
		src.change()
		src.n = 275
		src.live(3)
		synctest.Wait()
		rest := late
		for rest[len(rest)-1] < 277 {
			rest = append(rest, view(t, v, 1)...)
		}
		run(t, rest[1:len(rest)-4], 250, 264)
		if rest[len(rest)-4] != -1 || r.begun != 2 {
			t.Errorf("after a change: %v, %d times begun", rest, r.begun)
		}
		if sent, skipped := v.Frames(); sent != 10+15+3 || skipped != 190 {
			t.Errorf("%d frames sent, %d left out", sent, skipped)
		}
		v.Close()
		v.Close()
		if _, err := v.Next(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		src.s.ring.clear(true)
		synctest.Wait()
		for {
			if _, err := w.Next(t.Context(), make([][]byte, 0, 8)); err != nil {
				if err != io.EOF {
					t.Error(err)
				}
				break
			}
		}
		w.Close()
		if len(src.s.feeds) != 0 {
			t.Error("a feed nobody watches is kept")
		}
	})
}

// TestFeedMemory: when the pool is full viewers lose pictures, and go on at the next
// key frame; the source loses none.
func TestFeedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 60000, 4<<20)
		src.watched()
		defer src.close()
		src.size = 8 // and 1000 rendered: only the feed needs more memory
		src.live(1)
		v := src.s.Watch("numbers", func() Renderer { return &numbers{} })
		defer v.Close()
		run(t, view(t, v, 1)[1:], 0, 0)
		hog := src.pool.NewFailingArena()
		for n := 4 << 20; n > 1000; {
			if _, err := hog.Alloc(0, n); err != nil {
				n /= 2
			}
		}
		src.live(100)
		synctest.Wait()
		kept := len(v.f.items)
		hog.Close()
		src.live(160)
		synctest.Wait()
		got := view(t, v, 1)
		for got[len(got)-1] < 260 {
			got = append(got, view(t, v, 1)...)
		}
		gaps, last := 0, int64(0)
		for _, n := range got {
			if n >= 0 && n != last+1 {
				gaps++
				if n%25 != 0 {
					t.Errorf("after %d comes %d, which is no key frame", last, n)
				}
			}
			if n >= 0 {
				last = n
			}
		}
		if kept == 101 || gaps == 0 {
			t.Errorf("memory was not short: %d kept, %d gaps", kept, gaps)
		}
	})
}

func TestFeedRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 60000, 4<<20)
		src.watched()
		defer src.close()
		src.live(1)
		v := src.s.Watch("numbers", func() Renderer { return &numbers{refuse: true} })
		defer v.Close()
		if _, err := v.Next(t.Context(), make([][]byte, 0, 8)); !errors.Is(err, av.ErrUnsupported) {
			t.Error(err)
		}
		// The next one tries again.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := src.s.Watch("numbers", func() Renderer { return &numbers{} })
		defer w.Close()
		if _, err := w.Next(ctx, make([][]byte, 0, 8)); err != nil {
			t.Error(err)
		}
	})
}
