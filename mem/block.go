package mem

import (
	"context"
	"sync/atomic"
)

// Block is one contiguous piece of rendered bytes, counted by references: a part
// that the live edge, the spool and a hundred responses read at once. Whoever
// made it writes before sharing; afterwards nobody does.
type Block struct {
	slab *slab
	b    []byte
	refs atomic.Int32
}

func newBlock(s *slab, b []byte) *Block {
	k := &Block{slab: s, b: b}
	k.refs.Store(1)
	return k
}

// NewBlock returns a block of n bytes in a slab of its own, with one reference.
// It waits while the pool is full, until ctx is done, and then returns its
// cause.
func (p *Pool) NewBlock(ctx context.Context, n int) (*Block, error) {
	s, err := p.get(ctx, n, false)
	if err != nil {
		return nil, err
	}
	return newBlock(s, s.data[:n:n]), nil
}

// TryNewBlock is NewBlock that returns ErrFull instead of waiting.
func (p *Pool) TryNewBlock(n int) (*Block, error) {
	s, err := p.get(nil, n, false) //lint:ignore SA1012 get takes nil for: do not wait
	if err != nil {
		return nil, err
	}
	return newBlock(s, s.data[:n:n]), nil
}

// Bytes returns the contents, valid while the caller holds a reference.
func (k *Block) Bytes() []byte { return k.b }

// Retain adds a reference. The caller must hold one already.
func (k *Block) Retain() {
	if k.refs.Add(1) < 2 {
		panic("mem: Retain of a released block")
	}
}

// TryRetain adds a reference unless the last one is already gone.
func (k *Block) TryRetain() bool {
	for {
		n := k.refs.Load()
		if n <= 0 {
			return false
		}
		if k.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Release drops a reference; after the last the bytes are gone. One too many panics.
func (k *Block) Release() {
	switch n := k.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("mem: block released too often")
	default:
		s := k.slab
		k.slab, k.b = nil, nil
		s.release()
	}
}
