package cache

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

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/disk"
	"github.com/cleave-video/cleave/store/mem"
	"github.com/cleave-video/cleave/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// slow counts what is asked of it, and lets Open wait for gate if there is one.
type slow struct {
	*mem.Mem
	opens atomic.Int64
	gate  chan struct{}
	fail  atomic.Bool // reads
}

var errRead = errors.New("read fails")

func (s *slow) Open(ctx context.Context, key string) (store.Object, error) {
	s.opens.Add(1)
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	o, err := s.Mem.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return &object{o, s}, nil
}

type object struct {
	store.Object
	s *slow
}

func (o *object) ReadAt(b []byte, off int64) (int, error) {
	if o.s.fail.Load() {
		return 0, errRead
	}
	return o.Object.ReadAt(b, off)
}

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

func newCache(t *testing.T, s store.Store, c Config) *Store {
	t.Helper()
	k, err := New(t.Context(), s, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func TestCache(t *testing.T) {
	t.Run("mem", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			return newCache(t, newMem(t, mem.Config{}), Config{Fast: newMem(t, mem.Config{DropOldest: true})})
		})
	})
	t.Run("disk", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			d, err := disk.Open(t.TempDir(), disk.WithoutSync())
			if err != nil {
				t.Fatal(err)
			}
			return newCache(t, newMem(t, mem.Config{}), Config{Fast: d})
		})
	})
	t.Run("tiny", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			return newCache(t, newMem(t, mem.Config{}), Config{Fast: newMem(t, mem.Config{MaxBytes: 64 << 10, DropOldest: true}), MaxBytes: 1 << 20})
		})
	})
}

func put(t *testing.T, s store.Store, key string, body string) {
	t.Helper()
	if err := s.Put(t.Context(), key, bytes.NewReader([]byte(body)), int64(len(body))); err != nil {
		t.Fatal(err)
	}
}

func get(ctx context.Context, s store.Store, key string) (string, error) {
	o, err := s.Open(ctx, key)
	if err != nil {
		return "", err
	}
	defer o.Close()
	b, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
	return string(b), err
}

// TestStampede has 1,000 readers ask for one object at once.
func TestStampede(t *testing.T) {
	m, fast := newMem(t, mem.Config{}), newMem(t, mem.Config{})
	synctest.Test(t, func(t *testing.T) {
		inner := &slow{Mem: m, gate: make(chan struct{})}
		s := newCache(t, inner, Config{Fast: fast})
		put(t, inner, "k", "contents")
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				if b, err := get(t.Context(), s, "k"); b != "contents" || err != nil {
					t.Errorf("%q, %v", b, err)
				}
			})
		}
		synctest.Wait()
		close(inner.gate)
		wg.Wait()
		if n := inner.opens.Load(); n != 1 {
			t.Errorf("the slow store was asked %d times", n)
		}
		if st := s.Stats(); st.Misses != 1 || st.Bytes != 8 {
			t.Errorf("%+v", st)
		}
	})
}

// TestFirstAskerLeaves gives up the first of two readers: the second one gets the
// object all the same; when both leave, the read ends.
func TestFirstAskerLeaves(t *testing.T) {
	m, fast := newMem(t, mem.Config{}), newMem(t, mem.Config{})
	synctest.Test(t, func(t *testing.T) {
		inner := &slow{Mem: m, gate: make(chan struct{})}
		s := newCache(t, inner, Config{Fast: fast})
		put(t, inner, "k", "contents")
		cause := errors.New("gone")
		first, cancel := context.WithCancelCause(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := get(first, s, "k"); !errors.Is(err, cause) {
				t.Errorf("first: %v", err)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if b, err := get(t.Context(), s, "k"); b != "contents" || err != nil {
				t.Errorf("second: %q, %v", b, err)
			}
		})
		synctest.Wait()
		cancel(cause)
		synctest.Wait()
		inner.gate <- struct{}{}
		wg.Wait()

		third, cancel := context.WithCancelCause(t.Context())
		put(t, inner, "l", "other")
		wg.Go(func() { _, _ = get(third, s, "l") })
		synctest.Wait()
		cancel(cause)
		wg.Wait()
		s.group.Wait() // without anyone opening the gate
	})
}

func TestBoundAndAge(t *testing.T) {
	inner := &slow{Mem: newMem(t, mem.Config{})}
	s := newCache(t, inner, Config{Fast: newMem(t, mem.Config{}), MaxBytes: 40})
	for i := range 6 {
		put(t, inner, fmt.Sprint(i), "ten bytes.")
	}
	read := func(keys ...string) {
		t.Helper()
		for _, k := range keys {
			if _, err := get(t.Context(), s, k); err != nil {
				t.Fatal(err)
			}
			if n := s.Stats().Bytes; n > 40 {
				t.Errorf("%d bytes", n)
			}
		}
	}
	read("0", "1", "2", "3", "0", "4") // 1 was not used for longest
	before := inner.opens.Load()
	read("0", "2", "3", "4")
	if n := inner.opens.Load() - before; n != 0 {
		t.Errorf("%d were read anew", n)
	}
	read("1")
	if n := inner.opens.Load() - before; n != 1 {
		t.Errorf("%d were read anew", n)
	}
	put(t, inner, "large", "more than ten bytes")
	read("large", "large")
	if st := s.Stats(); st.Passed != 2 {
		t.Errorf("%+v", st)
	}
}

func TestFailures(t *testing.T) {
	inner := &slow{Mem: newMem(t, mem.Config{})}
	fast := newMem(t, mem.Config{})
	s := newCache(t, inner, Config{Fast: fast})
	if _, err := get(t.Context(), s, "none"); !errors.Is(err, store.ErrNotExist) {
		t.Error(err)
	}
	put(t, inner, "k", "contents")
	inner.fail.Store(true)
	if _, err := get(t.Context(), s, "k"); !errors.Is(err, errRead) {
		t.Error(err)
	}
	inner.fail.Store(false)
	if b, err := get(t.Context(), s, "k"); b != "contents" || err != nil {
		t.Errorf("failures are not kept: %q, %v", b, err)
	}
	for info := range fast.List(t.Context(), "") { // the fast store loses it
		if err := fast.Delete(t.Context(), info.Key); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := get(t.Context(), s, "k"); b != "contents" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestReplaced(t *testing.T) {
	m, fast := newMem(t, mem.Config{}), newMem(t, mem.Config{})
	synctest.Test(t, func(t *testing.T) {
		inner := &slow{Mem: m, gate: make(chan struct{}, 10)}
		s := newCache(t, inner, Config{Fast: fast})
		put(t, s, "k", "old")
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = get(t.Context(), s, "k") }) // waits for the gate
		synctest.Wait()
		put(t, s, "k", "new")
		close(inner.gate)
		wg.Wait()
		if b, err := get(t.Context(), s, "k"); b != "new" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		if err := s.Delete(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		if _, err := get(t.Context(), s, "k"); !errors.Is(err, store.ErrNotExist) {
			t.Error(err)
		}
		s.group.Wait()
		for info := range fast.List(t.Context(), "") {
			t.Errorf("left: %v", info)
		}
	})
}

func TestNewEmptiesTheFastStore(t *testing.T) {
	fast := newMem(t, mem.Config{})
	put(t, fast, "cache/1", "of another process")
	put(t, fast, "mine", "")
	newCache(t, newMem(t, mem.Config{}), Config{Fast: fast})
	var keys []string
	for info := range fast.List(t.Context(), "") {
		keys = append(keys, info.Key)
	}
	if len(keys) != 1 || keys[0] != "mine" {
		t.Errorf("%q", keys)
	}
}
