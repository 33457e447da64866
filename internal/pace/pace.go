// Package pace waits, and slows who sends datagrams to what receivers bear: UDP has no
// back-pressure.
package pace

import (
	"context"
	"time"
)

const (
	// Rate is how many bytes a second a viewer gets at most: 100 Mbit/s, which is more
	// than any stream has.
	Rate = 100e6 / 8
	// Burst is what is sent at once: buffers of systems take it.
	Burst = 256 << 10
	// rest is added to a wait, so that there are not many short ones.
	rest = 5 * time.Millisecond
)

// Pacer lets Burst bytes pass at once and then Rate bytes a second. The zero value is one
// that has let nothing pass. It belongs to one goroutine.
type Pacer struct {
	spent float64 // of Burst
	since time.Time
}

// Wait waits until n bytes may be sent, or returns the cause of ctx.
func (p *Pacer) Wait(ctx context.Context, n int) error {
	if p.spent += float64(n); p.spent <= Burst {
		return nil
	}
	now := time.Now()
	p.spent = max(p.spent-now.Sub(p.since).Seconds()*Rate, 0) // the first time that is long ago
	p.since = now
	if p.spent <= Burst {
		return nil
	}
	return Sleep(ctx, time.Duration((p.spent-Burst)/Rate*float64(time.Second))+rest)
}

// Sleep waits for d, or until ctx ends, and then returns its cause; so it does if d is not
// positive and ctx has ended.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
