package limit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/mem"
	"github.com/cleave-video/cleave/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLimit(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		m := mem.New(mem.Config{})
		t.Cleanup(func() { m.Close() })
		return New(m, Config{Calls: 1, Bytes: 1000})
	})
}

// slow takes a second for a Put and watches how much goes on at a time.
type slow struct {
	*mem.Mem
	calls, maxCalls, bytes, maxBytes atomic.Int64
}

func raise(m *atomic.Int64, v int64) {
	for old := m.Load(); v > old && !m.CompareAndSwap(old, v); old = m.Load() {
	}
}

func (s *slow) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	raise(&s.maxCalls, s.calls.Add(1))
	raise(&s.maxBytes, s.bytes.Add(size))
	time.Sleep(time.Second)
	s.calls.Add(-1)
	s.bytes.Add(-size)
	return s.Mem.Put(ctx, key, body, size)
}

func TestBounds(t *testing.T) {
	m := mem.New(mem.Config{})
	defer m.Close()
	for _, c := range []struct {
		calls            int
		bytes, size, max int64 // the bound, of each body, of calls at a time
	}{{4, 1 << 20, 10, 4}, {100, 100, 30, 3}, {100, 100, 1000, 1}} {
		synctest.Test(t, func(t *testing.T) {
			inner := &slow{Mem: m}
			s := New(inner, Config{Calls: c.calls, Bytes: c.bytes})
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					if err := s.Put(t.Context(), fmt.Sprint(i), bytes.NewReader(make([]byte, c.size)), c.size); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if got := inner.maxCalls.Load(); got != c.max {
				t.Errorf("%+v: %d calls at a time", c, got)
			}
		})
	}
}

func TestWaitEndsWithContext(t *testing.T) {
	m := mem.New(mem.Config{})
	defer m.Close()
	synctest.Test(t, func(t *testing.T) {
		s := New(&slow{Mem: m}, Config{Calls: 1})
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.Put(t.Context(), "a", bytes.NewReader(nil), 0) })
		synctest.Wait()
		cause := errors.New("stop")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, cause)
		defer cancel()
		if err := s.Put(ctx, "b", bytes.NewReader(nil), 0); !errors.Is(err, cause) {
			t.Error(err)
		}
		wg.Wait()
		if err := s.Put(t.Context(), "b", bytes.NewReader(nil), 0); err != nil {
			t.Error(err)
		}
	})
}
