package pace

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestPacer: a burst passes at once, what follows at the rate, and what was saved in a
// pause is a burst again and no more.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pacer
		send := func(n int) time.Duration {
			start := time.Now()
			for ; n > 0; n -= 1024 {
				if err := p.Wait(t.Context(), 1024); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(start)
		}
		if d := send(Burst); d != 0 {
			t.Errorf("a burst took %v", d)
		}
		if d := send(10 * Rate); d < 9900*time.Millisecond || d > 10100*time.Millisecond {
			t.Errorf("10 s at the rate took %v", d)
		}
		time.Sleep(time.Hour)
		if d := send(Burst); d > rest {
			t.Errorf("a burst after a pause took %v", d)
		}
		if d := send(Rate); d < 900*time.Millisecond || d > 1100*time.Millisecond {
			t.Errorf("a second at the rate took %v", d)
		}
	})
}

func TestCancel(t *testing.T) {
	var p Pacer
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	if err := p.Wait(ctx, 2*Burst); err != nil { // it owes nothing yet
		t.Error(err)
	}
	if err := p.Wait(ctx, 100*Rate); err != io.ErrClosedPipe {
		t.Error(err)
	}
}
