package live

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cleave-video/cleave/mem"
)

const (
	shareOfAddress = 2 // one part of this many of Config.Streams
	// namesPerStream is how many names are kept, for each of Config.Streams: a name
	// stays for a while when its publisher has left.
	namesPerStream = 2
)

// claim returns the stream of that name for one publisher, if need be when the one
// before has left.
func (h *Hub) claim(ctx context.Context, name string, t *turn) (*Stream, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	for {
		s, before, err := h.tryClaim(name, t)
		if err != nil || before == nil {
			return s, err
		}
		if !h.cfg.Takeover {
			return nil, ErrTaken
		}
		before.stop(ErrTakenOver)
		_ = before.in.Close() // unblocks its reader, whose error is the cause above
		select {
		case <-before.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryClaim gives the name to t, or returns whose it is. Names without a publisher make
// room: they are no reason to refuse one.
func (h *Hub) tryClaim(name string, t *turn) (s *Stream, before *turn, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s = h.streams[name]
	if s != nil {
		if before := s.publisher(); before != nil {
			return s, before, nil
		}
	}
	switch {
	case h.taken >= h.cfg.Streams:
		return nil, nil, fmt.Errorf("%w: %d", ErrCrowded, h.taken)
	case t.from != "" && h.places[t.from] >= h.cfg.PerAddress:
		return nil, nil, fmt.Errorf("%w of one address: %d", ErrCrowded, h.places[t.from])
	}
	if s == nil && len(h.streams) >= namesPerStream*h.cfg.Streams {
		h.giveUp(h.idle(nil))
	}
	// An eighth is what running streams need to go on.
	if used := h.makeRoom(h.cfg.Memory-h.cfg.Memory/8, s); used > 0 {
		return nil, nil, fmt.Errorf("%w: %d of %d bytes are in use", ErrMemory, used, h.cfg.Memory)
	}
	if s == nil {
		s = newStream(h, name)
		h.streams[name] = s
	}
	s.take(t)
	h.taken++
	h.places[t.from]++
	return s, nil, nil
}

// makeRoom gives names without a publisher up, but not one, until at most most bytes are
// in use, and returns 0; or how many are if that would not help. h.mu is held.
func (h *Hub) makeRoom(most int64, not *Stream) (used int64) {
	used = h.pool.InUse()
	if used <= most {
		return 0
	}
	least := used
	for _, s := range h.streams {
		if _, _, ok := s.unclaimed(); ok && s != not {
			least -= s.inUse()
		}
	}
	if least > most {
		return used
	}
	for used > most {
		old := h.idle(not)
		if old == nil {
			return used
		}
		h.giveUp(old)
		used = h.pool.InUse()
	}
	return 0
}

// unclaim ends a publisher's turn.
func (h *Hub) unclaim(s *Stream, t *turn, now time.Time) {
	h.mu.Lock()
	h.taken--
	if h.places[t.from]--; h.places[t.from] == 0 {
		delete(h.places, t.from)
	}
	h.mu.Unlock()
	s.unclaim(t, now)
}

// idle returns the stream that goes first to make room: the oldest without a publisher
// of those that came from the address with most such; nil: there is none but not.
// h.mu is held.
func (h *Hub) idle(not *Stream) *Stream {
	type names struct {
		oldest *Stream
		left   time.Time
		n      int
	}
	by := make(map[string]*names)
	var most *names
	for _, s := range h.streams {
		from, left, ok := s.unclaimed()
		if !ok || s == not {
			continue
		}
		x := by[from]
		if x == nil {
			x = &names{}
			by[from] = x
		}
		if x.n++; x.oldest == nil || left.Before(x.left) {
			x.oldest, x.left = s, left
		}
		if most == nil || x.n > most.n || x.n == most.n && x.left.Before(most.left) {
			most = x
		}
	}
	if most == nil {
		return nil
	}
	return most.oldest
}

// giveUp ends a stream without a publisher before its time. What it has in the store
// stays for a window, so that one that returns does not use its numbers again. h.mu is
// held.
func (h *Hub) giveUp(s *Stream) {
	s.finish()
	h.remove(s, time.Now().Add(h.cfg.Window))
	h.cfg.Log.Info("stream given up: its place is needed", "stream", s.name)
}

// publisher returns whose turn it is, or nil.
func (s *Stream) publisher() *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turn
}

// take gives a publisher its turn, which nobody has.
func (s *Stream) take(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn, s.from = t, t.from
}

// newPool returns a publisher's share of the hub's memory.
func (s *Stream) newPool() *mem.Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pools = slices.DeleteFunc(s.pools, func(p *mem.Pool) bool { return p.InUse() == 0 })
	p := s.hub.pool.Sub(s.hub.cfg.StreamMemory)
	s.pools = append(s.pools, p)
	return p
}

// inUse returns the bytes of the hub's memory that the stream has.
func (s *Stream) inUse() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		n += p.InUse()
	}
	return n
}

// unclaimed reports whether nobody publishes, and who did last, up to when.
func (s *Stream) unclaimed() (from string, left time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from, s.left, s.turn == nil
}
