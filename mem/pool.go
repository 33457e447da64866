// Package mem keeps payload bytes outside the Go heap, in slabs that come from a
// Pool with a byte budget. An Arena fills slabs, one chain per track; GOPs and
// chunks hold the slabs that their packets lie in through Pins; a Block is one
// contiguous rendered piece. When every Pins and Block is released and every
// Arena closed, Pool.InUse is 0: tests end with that check.
package mem

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DefaultLimit is the budget of NewPool(0), in bytes.
const DefaultLimit = 256 << 20

// Slabs of these sizes are kept for reuse, since a fresh page costs a fault and
// 4 KiB of zeroing, more than the copy into it. Larger ones are mapped to fit.
var classes = [...]int{64 << 10, 256 << 10, 1 << 20, 4 << 20}

// maxCached bounds the bytes of slabs kept for reuse.
const maxCached = 8 << 20

// Pool hands out slabs under one budget. Safe for concurrent use.
type Pool struct {
	budget *Budget
	root   *Pool // whose budget counts, too, and where slabs are kept; nil: this one

	mu     sync.Mutex // guards what follows
	free   [len(classes)][]*slab
	cached int64
	closed bool
}

// slab is one mapping. Whoever holds a reference may read it; only the Arena or
// Block that got it from the pool writes.
type slab struct {
	pool  *Pool
	data  []byte
	class int // index into classes, -1 if mapped to fit
	refs  atomic.Int32
}

// NewPool returns a pool of at most limit bytes of slabs in use; 0 means DefaultLimit.
func NewPool(limit int64) *Pool {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Pool{budget: NewBudget(limit)}
}

// Sub returns a pool of at most limit bytes that takes its slabs from p: both
// budgets count them. It needs no Close.
func (p *Pool) Sub(limit int64) *Pool {
	return &Pool{budget: NewBudget(limit), root: p.top()}
}

func (p *Pool) top() *Pool {
	if p.root != nil {
		return p.root
	}
	return p
}

// InUse returns the bytes of slabs that somebody holds.
func (p *Pool) InUse() int64 { return p.budget.Used() }

// Limit returns the pool's budget in bytes.
func (p *Pool) Limit() int64 { return p.budget.Limit() }

// Close unmaps the slabs kept for reuse; those in use are unmapped as they come
// home. Idempotent.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for c := range p.free {
		for _, s := range p.free[c] {
			s.unmap()
		}
		p.free[c] = nil
	}
	p.cached = 0
}

// force says that get goes over the budget rather than wait or fail.
type force bool

// get returns a slab of at least n bytes with one reference. It waits for the
// budget if ctx is not nil, else returns ErrFull, unless over.
func (p *Pool) get(ctx context.Context, n int, over force) (*slab, error) {
	class, size := -1, 0
	for c, s := range classes {
		if n <= s {
			class, size = c, s
			break
		}
	}
	if class < 0 {
		size = (n + 4095) &^ 4095
	}
	if err := p.acquire(ctx, int64(size), over); err != nil {
		return nil, err
	}
	if s := p.top().takeFree(class); s != nil {
		s.pool = p
		s.refs.Store(1)
		return s, nil
	}
	data, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		p.giveBack(int64(size))
		return nil, fmt.Errorf("mem: mmap of %d bytes: %w", size, err)
	}
	s := &slab{pool: p, data: data, class: class}
	s.refs.Store(1)
	return s, nil
}

func (p *Pool) acquire(ctx context.Context, n int64, over force) error {
	if err := p.budget.take(ctx, n, over); err != nil || p.root == nil {
		return err
	}
	err := p.root.budget.take(ctx, n, over)
	if err != nil {
		p.budget.Release(n)
	}
	return err
}

func (p *Pool) giveBack(n int64) {
	p.budget.Release(n)
	if p.root != nil {
		p.root.budget.Release(n)
	}
}

func (p *Pool) takeFree(class int) *slab {
	if class < 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.free[class]
	if len(list) == 0 {
		return nil
	}
	s := list[len(list)-1] // the last one back is the warmest
	p.free[class] = list[:len(list)-1]
	p.cached -= int64(len(s.data))
	return s
}

func (s *slab) retain() { s.refs.Add(1) }

// release drops one reference; the last sends the slab home.
func (s *slab) release() {
	switch n := s.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("mem: slab released too often")
	default:
		s.pool.home(s)
	}
}

func (p *Pool) home(s *slab) {
	size := int64(len(s.data))
	top := p.top()
	top.mu.Lock()
	keep := s.class >= 0 && !top.closed && top.cached+size <= maxCached
	if keep {
		top.free[s.class] = append(top.free[s.class], s)
		top.cached += size
	} else {
		s.unmap()
	}
	top.mu.Unlock()
	p.giveBack(size)
}

func (s *slab) unmap() {
	if err := unix.Munmap(s.data); err != nil {
		panic("mem: munmap: " + err.Error())
	}
	s.data = nil
}

// holds reports whether b begins inside s.
func (s *slab) holds(b []byte) bool {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	base := uintptr(unsafe.Pointer(unsafe.SliceData(s.data)))
	return at-base < uintptr(len(s.data))
}
