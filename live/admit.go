package live

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cleave-video/cleave/internal/peer"
)

// Errors of Admit and Wait, beside ErrMemory.
var (
	ErrViewers = errors.New("live: too many viewers")
	ErrWaiting = errors.New("live: too many requests wait")
	// ErrAddress is one of these that clients of other addresses may not get.
	ErrAddress = errors.New("of one address")
)

// door lets clients in, so many at a time and so many of one address.
type door struct {
	full       error
	most, each int

	mu      sync.Mutex // guards what follows
	taken   int
	of      map[string]int // by the key of their address
	refused int64
}

func newDoor(full error, most, each int) *door {
	return &door{full: full, most: most, each: each, of: make(map[string]int)}
}

// enter lets a client of an address in until leave is called, once, or says why not.
func (d *door) enter(from string) (leave func(), err error) {
	key := peer.Key(from)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.taken >= d.most:
		d.refused++
		return nil, fmt.Errorf("%w: %d", d.full, d.taken)
	case d.of[key] >= d.each:
		d.refused++
		return nil, fmt.Errorf("%w %w: %d", d.full, ErrAddress, d.of[key])
	}
	d.taken++
	d.of[key]++
	return func() { d.leave(key) }, nil
}

func (d *door) leave(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken--
	if d.of[key]--; d.of[key] == 0 {
		delete(d.of, key)
	}
}

// refuse counts a client that was let in and had to be sent away.
func (d *door) refuse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused++
}

// Admit gives a viewer of packets, a client of the address HOST:PORT, its place until
// leave is called, which must be, once: before Watch with the same kind, or, kind empty,
// before NewCursor. Errors: ErrViewers, with ErrAddress if it is the address that has too
// many; ErrMemory if nobody watches in that container yet and memory has no room for the
// newest GOP in it, even without what is stored.
func (s *Stream) Admit(from, kind string) (leave func(), err error) {
	d := s.hub.viewers
	if leave, err = d.enter(from); err != nil {
		return nil, err
	}
	if kind == "" || s.watched(kind) {
		return leave, nil
	}
	if err := s.makeRoom(s.ring.newest() + maxBatch); err != nil {
		leave()
		d.refuse()
		return nil, err
	}
	return leave, nil
}

// watched reports whether there are viewers in the container called kind, whom another
// one costs no payload.
func (s *Stream) watched(kind string) bool {
	s.feedMu.Lock()
	defer s.feedMu.Unlock()
	f := s.feeds[kind]
	return f != nil && !f.over()
}

// makeRoom sees to n bytes of the hub's memory for viewers: what is stored goes, and names
// without a publisher.
func (s *Stream) makeRoom(n int64) error {
	h := s.hub
	most := h.cfg.Memory - n
	if h.pool.InUse() <= most {
		return nil
	}
	s.memory.shed()
	h.mu.Lock()
	defer h.mu.Unlock()
	if used := h.makeRoom(most, s); used > 0 {
		return fmt.Errorf("%w: %d of %d bytes are in use, and it needs %d", ErrMemory, used, h.cfg.Memory, n)
	}
	return nil
}

// Wait gives a request of a client of the address HOST:PORT a place among those that wait
// for what a stream does not have yet, until leave is called, which must be, once. Errors:
// ErrWaiting, with ErrAddress if it is the address that has too many.
func (h *Hub) Wait(from string) (leave func(), err error) { return h.waiting.enter(from) }

// Crowd is how many clients are let in.
type Crowd struct {
	In, Most int
	Refused  int64 // so far
}

func (d *door) crowd() Crowd {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Crowd{d.taken, d.most, d.refused}
}

// Viewers returns how many viewers of packets there are.
func (h *Hub) Viewers() Crowd { return h.viewers.crowd() }

// Waiting returns how many requests wait.
func (h *Hub) Waiting() Crowd { return h.waiting.crowd() }
