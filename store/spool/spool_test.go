package spool

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
	"github.com/cleave-video/cleave/store/disk"
	"github.com/cleave-video/cleave/store/mem"
	"github.com/cleave-video/cleave/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newMem(t *testing.T, c mem.Config) *mem.Mem {
	m := mem.New(c)
	t.Cleanup(func() {
		m.Close()
		if n := m.Used(); n != 0 {
			t.Errorf("%d bytes did not come home", n)
		}
	})
	return m
}

// run has a spool run until the test ends.
func run(t *testing.T, s *Store) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func newSpool(t *testing.T, near, far store.Store, c Config) *Store {
	t.Helper()
	s, err := New(t.Context(), near, far, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpool(t *testing.T) {
	for _, running := range []bool{true, false} {
		t.Run(fmt.Sprint("running ", running), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) store.Store {
				near, err := disk.Open(t.TempDir(), disk.WithoutSync())
				if err != nil {
					t.Fatal(err)
				}
				s := newSpool(t, near, newMem(t, mem.Config{}), Config{})
				if running {
					run(t, s)
				}
				return s
			})
		})
	}
	t.Run("full", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			s := newSpool(t, newMem(t, mem.Config{MaxBytes: 64 << 10}), newMem(t, mem.Config{}), Config{})
			run(t, s)
			return s
		})
	})
}

// far fails while it is down, and takes its time.
type far struct {
	*mem.Mem
	down  atomic.Bool
	takes time.Duration
	calls atomic.Int64
}

func (f *far) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	f.calls.Add(1)
	t := time.NewTimer(f.takes)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if f.down.Load() {
		return fmt.Errorf("%w: down", store.ErrTransient)
	}
	return f.Mem.Put(ctx, key, body, size)
}

func put(t *testing.T, s store.Store, key, body string) {
	t.Helper()
	if err := s.Put(t.Context(), key, bytes.NewReader([]byte(body)), int64(len(body))); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s store.Store, key string) string {
	t.Helper()
	o, err := s.Open(t.Context(), key)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	defer o.Close()
	b, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOutage has the far store away for 60 s while a chunk comes every two: no Put
// waits, and afterwards all are there.
func TestOutage(t *testing.T) {
	near, away := newMem(t, mem.Config{}), newMem(t, mem.Config{})
	synctest.Test(t, func(t *testing.T) {
		f := &far{Mem: away, takes: 100 * time.Millisecond}
		s := newSpool(t, near, f, Config{})
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = s.Run(ctx) })
		f.down.Store(true)
		for i := range 30 {
			began := time.Now()
			put(t, s, fmt.Sprintf("k/%02d", i), fmt.Sprint(i))
			if d := time.Since(began); d != 0 {
				t.Errorf("Put %d took %v", i, d)
			}
			time.Sleep(2 * time.Second)
		}
		if st := s.Stats(); st.Objects != 30 || st.Moved != 0 || st.Failed == 0 {
			t.Errorf("%+v", st)
		}
		if n := f.calls.Load(); n > 30 {
			t.Errorf("a store that is down was asked %d times", n)
		}
		f.down.Store(false)
		dctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := s.Drain(dctx); err != nil {
			t.Errorf("%v: %+v", err, s.Stats())
		}
		for i := range 30 {
			if got := get(t, f.Mem, fmt.Sprintf("k/%02d", i)); got != fmt.Sprint(i) {
				t.Errorf("%d: %q", i, got)
			}
		}
		for info := range near.List(t.Context(), "") {
			t.Errorf("still in the near store: %v", info)
		}
		if st := s.Stats(); st.Objects != 0 || st.Bytes != 0 || st.Moved != 30 {
			t.Errorf("%+v", st)
		}
		cancel()
		group.Wait()
	})
}

// TestNextProcess leaves objects in the near store, which the next spool finds.
func TestNextProcess(t *testing.T) {
	near, away := newMem(t, mem.Config{}), newMem(t, mem.Config{})
	put(t, newSpool(t, near, away, Config{}), "a", "one") // nobody runs that
	s := newSpool(t, near, away, Config{})
	if st := s.Stats(); st.Objects != 1 || st.Bytes != 3 {
		t.Errorf("%+v", st)
	}
	run(t, s)
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := get(t, away, "a"); got != "one" {
		t.Errorf("%q", got)
	}
}

// TestReplacedOnItsWay replaces and deletes objects while they are brought away.
func TestReplacedOnItsWay(t *testing.T) {
	near, away := newMem(t, mem.Config{}), newMem(t, mem.Config{})
	synctest.Test(t, func(t *testing.T) {
		f := &far{Mem: away, takes: time.Second}
		s := newSpool(t, near, f, Config{Parallel: 2})
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = s.Run(ctx) })
		put(t, s, "a", "old")
		put(t, s, "b", "old")
		synctest.Wait()
		put(t, s, "a", "newer")
		if err := s.Delete(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, "a"); got != "newer" {
			t.Errorf("%q", got)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := get(t, away, "a"); got != "newer" {
			t.Errorf("%q", got)
		}
		if _, err := s.Open(t.Context(), "b"); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("deleted: %v", err)
		}
		cancel()
		group.Wait()
	})
}

// TestManyWriters replaces few keys over and over: at the end both readers of the
// spool and the far store have the last version.
func TestManyWriters(t *testing.T) {
	near, away := newMem(t, mem.Config{}), newMem(t, mem.Config{})
	s := newSpool(t, near, away, Config{Parallel: 3})
	run(t, s)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				key := fmt.Sprintf("k%d", w)
				body := fmt.Sprintf("%d-%d", w, i)
				if err := s.Put(t.Context(), key, bytes.NewReader([]byte(body)), int64(len(body))); err != nil {
					t.Error(err)
				}
				if got := get(t, s, key); got != body {
					t.Errorf("%s: %q after %q", key, got, body)
				}
			}
		})
	}
	wg.Wait()
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for w := range 4 {
		if got, want := get(t, away, fmt.Sprintf("k%d", w)), fmt.Sprintf("%d-199", w); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
