package live

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// sink is a client: it keeps the numbers of the packets it got, -1 for a header.
type sink struct {
	t      *testing.T
	take   func(n int) int // how many of n bytes it takes without waiting; nil: all
	wait   time.Duration   // that Write takes, until
	fast   time.Time       // if it is set
	broken error           // of Write, from
	when   time.Time       // on
	got    []int64
	part   []byte // of a packet that is not whole
	rest   [][]byte
	writes int // that waited
	tries  int
}

func (s *sink) Write(bufs [][]byte) error {
	s.writes++
	if s.fast.IsZero() || time.Now().Before(s.fast) {
		time.Sleep(s.wait)
	}
	if s.broken != nil && time.Now().After(s.when) {
		return s.broken
	}
	for _, b := range s.rest {
		s.eat(b)
	}
	s.rest = nil
	for _, b := range bufs {
		s.eat(b)
	}
	return nil
}

func (s *sink) TryWrite(bufs [][]byte) (bool, error) {
	s.tries++
	if len(s.rest) > 0 {
		s.t.Error("written to while something is left")
	}
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	if s.take != nil {
		n = s.take(n)
	}
	for _, b := range bufs {
		k := min(n, len(b))
		s.eat(b[:k])
		n -= k
		if k < len(b) {
			s.rest = append(s.rest, b[k:])
		}
	}
	return len(s.rest) == 0, nil
}

// eat reads what numbers has rendered.
func (s *sink) eat(b []byte) {
	const packet, first = 1000, len("first...")
	s.part = append(s.part, b...)
	for len(s.part) > 0 {
		switch head := len("tracks01"); {
		case s.part[0] == 'f' && len(s.part) >= first:
			s.part = s.part[first:]
		case s.part[0] == 't' && len(s.part) >= head:
			s.got, s.part = append(s.got, -1), s.part[head:]
		case s.part[0] == 0 && len(s.part) >= packet:
			s.got = append(s.got, int64(binary.BigEndian.Uint64(s.part)))
			for _, dot := range s.part[8:packet] {
				if dot != '.' {
					s.t.Fatalf("packet %d is broken", s.got[len(s.got)-1])
				}
			}
			s.part = s.part[packet:]
		default:
			return
		}
	}
}

// check says whether what came is whole: packets in order, gaps only before a header
// and a key frame. It returns the number of gaps.
func (s *sink) check(last int64) (gaps int) {
	s.t.Helper()
	if len(s.got) == 0 || s.got[0] != -1 || len(s.part) > 0 {
		s.t.Fatalf("%v and %d bytes", s.got, len(s.part))
	}
	at := int64(-1)
	for i, n := range s.got {
		switch {
		case n < 0:
			if i+1 < len(s.got) && s.got[i+1]%25 != 0 {
				s.t.Errorf("behind a header comes %d, which is no key frame", s.got[i+1])
			}
			continue
		case s.got[max(0, i-1)] < 0 && at >= 0 && n > at+1:
			gaps++
		case s.got[max(0, i-1)] >= 0 && n != at+1:
			s.t.Errorf("behind %d comes %d", at, n)
		}
		at = n
	}
	if at != last {
		s.t.Errorf("the last is %d, want %d", at, last)
	}
	return gaps
}

// crowd sends a stream to sinks until its end.
type crowd struct {
	src   *source
	group sync.WaitGroup
	errs  []error
}

func newCrowd(t *testing.T, budget int64) *crowd {
	c := &crowd{src: newSource(t, budget, 4<<20)}
	c.src.watched()
	return c
}

func (c *crowd) send(ctx context.Context, s *sink) {
	i := len(c.errs)
	c.errs = append(c.errs, nil)
	v := c.src.s.Watch("numbers", func() Renderer { return &numbers{} })
	c.group.Go(func() {
		defer v.Close()
		c.errs[i] = v.Send(ctx, s)
	})
}

// end ends the stream, whereupon nothing is left.
func (c *crowd) end(t *testing.T) {
	t.Helper()
	c.src.s.ring.clear(true)
	c.group.Wait()
	if n := len(c.src.s.feeds); n != 0 {
		t.Errorf("%d feeds that nobody watches", n)
	}
	c.src.close()
}

// TestSend: viewers that take everything get it in order, by the crew, whenever they
// join, over a change of tracks, to the end.
func TestSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1<<20)
		var all []*sink
		for i := range 100 {
			if i == 50 {
				c.src.change()
				c.src.n = 50
			}
			s := &sink{t: t}
			all = append(all, s)
			c.send(t.Context(), s)
			c.src.live(1 + i%3)
		}
		last := c.src.n - 1
		synctest.Wait()
		c.end(t)
		for i, s := range all {
			if gaps := s.check(last); gaps > 1 { // the change may lose the end of a GOP
				t.Errorf("viewer %d: %d gaps in %v", i, gaps, s.got)
			}
			if !errors.Is(c.errs[i], io.EOF) {
				t.Errorf("viewer %d: %v", i, c.errs[i])
			}
			if want := len(s.got) / 4; i < 90 && s.tries < want || s.writes > 8 {
				t.Errorf("viewer %d: %d writes of the crew, %d by itself, of %d", i, s.tries, s.writes, len(s.got))
			}
		}
	})
}

// TestSendAnyPieces: whatever a connection takes at once, the bytes are the same.
func TestSendAnyPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1<<20)
		r := rand.New(rand.NewPCG(1, 2))
		var all []*sink
		for _, take := range []func(n int) int{
			nil,
			func(int) int { return 0 },
			func(n int) int { return n - 1 },
			func(n int) int { return min(n, 1) },
			func(n int) int { return r.IntN(n + 1) },
			func(n int) int { return min(n, 1000) },
		} {
			s := &sink{t: t, take: take, wait: time.Millisecond}
			all = append(all, s)
			c.send(t.Context(), s)
		}
		c.src.live(200)
		synctest.Wait()
		time.Sleep(time.Second)
		c.end(t)
		for i, s := range all {
			if gaps := s.check(199); gaps != 0 {
				t.Errorf("viewer %d: %d gaps", i, gaps)
			}
		}
	})
}

// TestCrewRests: a crew that takes long writes less often, and loses nothing.
func TestCrewRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1<<20)
		s := &sink{t: t, take: func(n int) int { time.Sleep(time.Millisecond); return n }}
		c.send(t.Context(), s)
		c.src.live(200) // 8 s
		synctest.Wait()
		time.Sleep(time.Second)
		c.end(t)
		// At 1 ms a write it rests 50 ms; what comes while it writes is a write of its own.
		if gaps := s.check(199); gaps != 0 || s.tries > 180 {
			t.Errorf("%d gaps, %d writes", gaps, s.tries)
		}
	})
}

// TestSendSlow: a viewer that is behind its budget goes on at a key frame, with a
// header, and the others do not notice.
func TestSendSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 30000)
		fast := &sink{t: t}
		slow := &sink{t: t, take: func(n int) int { return n / 2 }, wait: 3 * time.Second, fast: time.Now().Add(20 * time.Second)}
		c.send(t.Context(), fast)
		c.send(t.Context(), slow)
		c.src.live(500)
		time.Sleep(10 * time.Second)
		c.end(t)
		if gaps := fast.check(499); gaps != 0 {
			t.Errorf("the fast one has %d gaps", gaps)
		}
		if gaps := slow.check(499); gaps < 2 {
			t.Errorf("the slow one has %d gaps", gaps)
		}
	})
}

// TestSendStopped: a viewer whose connection fails, or whose context ends, lets go of
// everything; the others go on.
func TestSendStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1<<20)
		why := errors.New("deadline")
		stopped := &sink{t: t, take: func(int) int { return 0 }, wait: 5 * time.Second, broken: why}
		other := &sink{t: t}
		ctx, cancel := context.WithCancelCause(t.Context())
		c.send(t.Context(), stopped)
		c.send(ctx, &sink{t: t})
		c.send(ctx, &sink{t: t, take: func(int) int { return 0 }, wait: 30 * time.Millisecond})
		c.send(t.Context(), other)
		c.src.live(30)
		c.src.live(30)
		cancel(why)
		c.src.live(200)
		synctest.Wait()
		for i, err := range c.errs[:3] {
			if err != why {
				t.Errorf("viewer %d: %v", i, err)
			}
		}
		c.end(t)
		other.check(c.src.n - 1)
	})
}

// TestCrews: who does not fit into a crew gets another, and places are used again.
func TestCrews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 1<<20)
		c.src.live(1)
		hold := c.src.s.Watch("numbers", func() Renderer { return &numbers{} })
		var all []*sink
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			for range crewSize + 1 {
				s := &sink{t: t}
				all = append(all, s)
				c.send(ctx, s)
			}
			c.src.live(2)
			synctest.Wait()
			if n := len(hold.f.crews); n != 2 {
				t.Errorf("%d crews", n)
			}
			cancel()
			c.group.Wait()
		}
		for _, s := range all {
			s.check(s.got[len(s.got)-1])
		}
		hold.Close()
		c.end(t)
	})
}
