package mem

import (
	"context"
	"errors"
	"sync"
)

// ErrFull is returned when a budget has no room and the caller does not wait.
var ErrFull = errors.New("mem: budget is full")

// Budget bounds a number of bytes. Waiters are served in the order in which they
// came, so a large request is not starved by small ones. Safe for concurrent use.
type Budget struct {
	mu      sync.Mutex
	limit   int64
	used    int64
	waiters []*waiter
}

type waiter struct {
	n     int64
	ready chan struct{} // closed when the bytes are the waiter's
}

// NewBudget returns a budget of limit bytes.
func NewBudget(limit int64) *Budget { return &Budget{limit: limit} }

// TryAcquire takes n bytes at once or returns ErrFull.
func (b *Budget) TryAcquire(n int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiters) > 0 || b.used+n > b.limit {
		return ErrFull
	}
	b.used += n
	return nil
}

// Acquire takes n bytes, waiting until they are there. It returns ErrFull if n
// exceeds the whole budget, and the context's cause if that ends first.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	b.mu.Lock()
	if n > b.limit {
		b.mu.Unlock()
		return ErrFull
	}
	if len(b.waiters) == 0 && b.used+n <= b.limit {
		b.used += n
		b.mu.Unlock()
		return nil
	}
	w := &waiter{n: n, ready: make(chan struct{})}
	b.waiters = append(b.waiters, w)
	b.mu.Unlock()

	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		b.abandon(w)
		return context.Cause(ctx)
	}
}

// take is Acquire, TryAcquire if ctx is nil, or, if over, neither: the bytes are
// taken whether they are there or not.
func (b *Budget) take(ctx context.Context, n int64, over force) error {
	switch {
	case bool(over):
		b.mu.Lock()
		b.used += n
		b.mu.Unlock()
		return nil
	case ctx == nil:
		return b.TryAcquire(n)
	}
	return b.Acquire(ctx, n)
}

// abandon takes w out of the queue, or gives back what it was just granted.
func (b *Budget) abandon(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, x := range b.waiters {
		if x == w {
			b.waiters = append(b.waiters[:i], b.waiters[i+1:]...)
			b.grant() // those behind w may fit
			return
		}
	}
	b.used -= w.n
	b.grant()
}

// Release gives n bytes back. Giving back more than was taken panics.
func (b *Budget) Release(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n < 0 || n > b.used {
		panic("mem: budget released too often")
	}
	b.used -= n
	b.grant()
}

// grant serves waiters from the front while they fit. b.mu is held.
func (b *Budget) grant() {
	for len(b.waiters) > 0 && b.used+b.waiters[0].n <= b.limit {
		w := b.waiters[0]
		b.waiters = b.waiters[1:]
		b.used += w.n
		close(w.ready)
	}
}

// Used returns the bytes taken.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Limit returns the size of the budget in bytes.
func (b *Budget) Limit() int64 { return b.limit }
