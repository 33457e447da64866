package mem

import (
	"context"
	"fmt"
	"time"
)

// Arena allocates payload for the packets of one stream, one slab chain per
// track. It holds each slab until a packet in a later slab of the same track is
// pinned or passed, or until Close. Alloc, Pin, Passed and Close belong to one
// goroutine; Pins may be released from any.
type Arena struct {
	pool   *Pool
	ctx    context.Context // of the session whose packets it holds; nil: do not wait
	over   force
	chains []chain
	closed bool
}

// chain is a track's slabs that the arena still holds, oldest first; the last
// one is being filled.
type chain struct {
	slabs []*slab
	off   int // bytes used of the last slab
	class int // of the next one
	taken int // slabs of that class
	begun time.Time
}

// MaxTracks bounds the track numbers given to Alloc.
const MaxTracks = 256

// NewArena returns an arena whose Alloc waits while the pool is full, until ctx
// is done, and then returns its cause. The caller must Close it.
func (p *Pool) NewArena(ctx context.Context) *Arena { return &Arena{pool: p, ctx: ctx} }

// NewFailingArena returns an arena whose Alloc returns ErrFull instead of waiting.
func (p *Pool) NewFailingArena() *Arena { return &Arena{pool: p} }

// NewOverdraft returns an arena whose Alloc neither waits nor fails: it goes over
// the budget. It is for what is made of bytes that the budget has let in, at a known
// rate; whoever lets those in must stop while the pool is full.
func (p *Pool) NewOverdraft() *Arena { return &Arena{pool: p, over: true} }

// Alloc implements av.Allocator. It returns ErrFull, or the context's cause.
func (a *Arena) Alloc(track, n int) ([]byte, error) {
	b, _, err := a.alloc(a.ctx, track, n)
	return b, err
}

// AllocUntil is Alloc that waits until ctx is done, whatever context the arena has.
func (a *Arena) AllocUntil(ctx context.Context, track, n int) ([]byte, error) {
	b, _, err := a.alloc(ctx, track, n)
	return b, err
}

// TryAlloc is Alloc that returns ErrFull instead of waiting.
func (a *Arena) TryAlloc(track, n int) ([]byte, error) {
	b, _, err := a.alloc(nil, track, n) //lint:ignore SA1012 nil is: do not wait
	return b, err
}

func (a *Arena) alloc(ctx context.Context, track, n int) ([]byte, *slab, error) {
	if track < 0 || track >= MaxTracks || n < 0 {
		return nil, nil, fmt.Errorf("mem: alloc of %d bytes for track %d", n, track)
	}
	if a.closed {
		return nil, nil, fmt.Errorf("mem: alloc after Close")
	}
	for track >= len(a.chains) {
		a.chains = append(a.chains, chain{})
	}
	c := &a.chains[track]
	if len(c.slabs) == 0 || n > len(c.slabs[len(c.slabs)-1].data)-c.off {
		if err := a.grow(ctx, c, n); err != nil {
			return nil, nil, err
		}
	}
	s := c.slabs[len(c.slabs)-1]
	b := s.data[c.off : c.off+n : c.off+n]
	c.off += n
	return b, s, nil
}

// A chain takes larger slabs while it fills them in less than full, after four of
// each size, and smaller ones when one lasts longer than slow: audio of 16 kB a
// second must not hold megabytes.
const (
	full = time.Second
	slow = 8 * time.Second
)

// grow gives c a new last slab, of not more than a sixteenth of the pool.
func (a *Arena) grow(ctx context.Context, c *chain, n int) error {
	now := time.Now()
	switch lasted := now.Sub(c.begun); {
	case lasted > slow && c.taken > 0:
		c.class, c.taken = max(0, c.class-1), 1
	case lasted < full && c.taken >= 4 && c.class < 2:
		c.class, c.taken = c.class+1, 0
	}
	class := c.class
	for class > 0 && int64(classes[class])*16 > a.pool.Limit() {
		class--
	}
	s, err := a.pool.get(ctx, max(n, classes[class]), a.over)
	if err != nil {
		return err
	}
	c.slabs = append(c.slabs, s)
	c.off, c.begun = 0, now
	c.taken++
	return nil
}

// Holds reports whether data lies in a slab that the arena still holds for the
// track, as every packet does that was neither pinned nor passed. It is true of no
// bytes.
func (a *Arena) Holds(track int, data []byte) bool {
	if len(data) == 0 {
		return true
	}
	if track < 0 || track >= len(a.chains) {
		return false
	}
	for _, s := range a.chains[track].slabs {
		if s.holds(data) {
			return true
		}
	}
	return false
}

// Pin makes p hold the slab that data lies in, and lets go of the track's slabs
// before it: packets of a track are pinned or passed in the order of Alloc.
// Nothing happens if a is nil or data is empty or not the arena's.
func (a *Arena) Pin(p *Pins, track int, data []byte) {
	if s := a.advance(track, data); s != nil {
		p.add(s)
	}
}

// Passed says that the packet with data is dropped, so that slabs before its own
// need not be held for it.
func (a *Arena) Passed(track int, data []byte) { a.advance(track, data) }

func (a *Arena) advance(track int, data []byte) *slab {
	if a == nil || len(data) == 0 || track < 0 || track >= len(a.chains) {
		return nil
	}
	c := &a.chains[track]
	for i, s := range c.slabs {
		if !s.holds(data) {
			continue
		}
		for _, old := range c.slabs[:i] {
			old.release()
		}
		if i > 0 {
			c.slabs = append(c.slabs[:0], c.slabs[i:]...)
		}
		return s
	}
	return nil
}

// NewBlock returns a block of n bytes cut from the chain of track. The arena
// must be used for blocks only: a chain lets go of a slab when the next begins.
func (a *Arena) NewBlock(track, n int) (*Block, error) {
	b, s, err := a.alloc(a.ctx, track, n)
	if err != nil {
		return nil, err
	}
	c := &a.chains[track]
	for _, old := range c.slabs[:len(c.slabs)-1] {
		old.release()
	}
	c.slabs = append(c.slabs[:0], s)
	s.retain()
	return newBlock(s, b), nil
}

// Close lets go of every slab that no Pins or Block holds. Idempotent.
func (a *Arena) Close() {
	if a.closed {
		return
	}
	a.closed = true
	for i := range a.chains {
		for _, s := range a.chains[i].slabs {
			s.release()
		}
	}
	a.chains = nil
}

// Pins is the set of slabs that a GOP or a chunk holds. The zero value is empty.
// It is not safe for concurrent use; Release may be called from any goroutine
// once nobody adds.
type Pins struct {
	slabs   []*slab
	charged int64 // bytes of pool's budget beside them
	pool    *Pool
}

// chargeStep is by how much a charge grows: the budget's lock is not for each packet.
const chargeStep = 4 << 10

// Charge makes p count for at least n bytes of the budget beside its slabs, until it is
// released: what Go's heap keeps of the packets in them, which may be more than their
// payload. It goes over the budget rather than wait or fail; then Alloc does. Nothing
// happens if a is nil.
func (a *Arena) Charge(p *Pins, n int64) {
	if a == nil || n <= p.charged {
		return
	}
	n = (n + chargeStep - 1) / chargeStep * chargeStep
	_ = a.pool.acquire(nil, n-p.charged, true) //lint:ignore SA1012 nil is: do not wait; an overdraft does not fail
	p.charged, p.pool = n, a.pool
}

// add searches from the end: with a handful of tracks the slab is among the last.
func (p *Pins) add(s *slab) {
	for i := len(p.slabs) - 1; i >= 0; i-- {
		if p.slabs[i] == s {
			return
		}
	}
	s.retain()
	p.slabs = append(p.slabs, s)
}

// Share makes p hold what q holds, too.
func (p *Pins) Share(q *Pins) {
	for _, s := range q.slabs {
		p.add(s)
	}
}

// ShareOf makes p hold the slab of q that data lies in, too.
func (p *Pins) ShareOf(q *Pins, data []byte) {
	if len(data) == 0 {
		return
	}
	for i := len(q.slabs) - 1; i >= 0; i-- {
		if q.slabs[i].holds(data) {
			p.add(q.slabs[i])
			return
		}
	}
}

// DropBefore releases the slabs that were added before the one data lies in.
func (p *Pins) DropBefore(data []byte) {
	if len(data) == 0 {
		return
	}
	for i, s := range p.slabs {
		if !s.holds(data) {
			continue
		}
		for _, old := range p.slabs[:i] {
			old.release()
		}
		p.slabs = append(p.slabs[:0], p.slabs[i:]...)
		return
	}
}

// Bytes returns the size of the slabs held.
func (p *Pins) Bytes() int64 {
	n := int64(0)
	for _, s := range p.slabs {
		n += int64(len(s.data))
	}
	return n
}

// Release gives every slab back and leaves p empty, ready to be used again.
func (p *Pins) Release() {
	for i, s := range p.slabs {
		s.release()
		p.slabs[i] = nil
	}
	p.slabs = p.slabs[:0]
	if p.charged > 0 {
		p.pool.giveBack(p.charged)
		p.charged = 0
	}
}
