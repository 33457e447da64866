package http

import (
	"errors"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// trickle reads a body that brings n bytes each period until it is cut off or three
// minutes have passed, and returns when that was.
func trickle(t *testing.T, n int, each time.Duration, begun bool) (at time.Duration, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			defer theirs.Close()
			for {
				time.Sleep(each)
				if _, err := theirs.Write(make([]byte, n)); err != nil {
					return
				}
			}
		})
		b := &body{r: ours, control: ours, idle: DefaultIdleTimeout, start: DefaultStartTimeout, begun: begun}
		began, p := time.Now(), make([]byte, 4096)
		for err == nil && time.Since(began) < 3*time.Minute {
			_, err = b.Read(p)
		}
		at = time.Since(began)
		ours.Close()
		wg.Wait()
	})
	return at, err
}

// A byte now and then keeps no place, neither do bytes without tracks.
func TestTrickle(t *testing.T) {
	for name, c := range map[string]struct {
		n     int
		each  time.Duration
		begun bool
		ends  time.Duration // 0: it does not
	}{
		"a byte a second":               {1, time.Second, false, 10 * time.Second},
		"a byte a second, and tracks":   {1, time.Second, true, 10 * time.Second},
		"no tracks":                     {4096, time.Second, false, 20 * time.Second},
		"a KiB each 9 s, and tracks":    {1024, 9 * time.Second, true, 0},
		"a KiB each 11 s, and tracks":   {1024, 11 * time.Second, true, 10 * time.Second},
		"a few at a time, and tracks":   {150, time.Second, true, 0},
		"too few at a time, and tracks": {90, time.Second, true, 10 * time.Second},
	} {
		at, err := trickle(t, c.n, c.each, c.begun)
		switch {
		case c.ends == 0 && err != nil:
			t.Errorf("%s: %v at %v", name, err, at)
		case c.ends != 0 && (at != c.ends || !errors.Is(err, os.ErrDeadlineExceeded)):
			t.Errorf("%s: %v at %v, want %v", name, err, at, c.ends)
		}
	}
}

// A body that is held up is not cut off for what it was not asked for.
func TestHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				if _, err := theirs.Write(make([]byte, 100)); err != nil {
					return
				}
			}
		})
		b := &body{r: ours, control: ours, idle: DefaultIdleTimeout, start: DefaultStartTimeout}
		p := make([]byte, 100)
		for range 100 {
			time.Sleep(time.Minute)
			if _, err := b.Read(p); err != nil {
				t.Fatal(err)
			}
		}
		ours.Close()
		wg.Wait()
	})
}
