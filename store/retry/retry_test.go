package retry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/mem"
	"github.com/cleave-video/cleave/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// flaky fails every call so many times before it lets one through.
type flaky struct {
	*mem.Mem
	fail  int // how often, each time
	n     int
	err   error
	calls int

	listed map[string]int
}

func (f *flaky) next() error {
	f.calls++
	if f.n < f.fail {
		f.n++
		return f.err
	}
	f.n = 0
	return nil
}

func (f *flaky) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	if err := f.next(); err != nil {
		return err
	}
	return f.Mem.Put(ctx, key, body, size)
}

func (f *flaky) Open(ctx context.Context, key string) (store.Object, error) {
	if err := f.next(); err != nil {
		return nil, err
	}
	o, err := f.Mem.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	return &flakyObject{o, f}, nil
}

// flakyObject returns half of what is read with each error.
type flakyObject struct {
	store.Object
	f *flaky
}

func (o *flakyObject) ReadAt(b []byte, off int64) (int, error) {
	if err := o.f.next(); err != nil {
		n, _ := o.Object.ReadAt(b[:len(b)/2], off)
		return n, err
	}
	return o.Object.ReadAt(b, off)
}

func (f *flaky) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for info, err := range f.Mem.List(ctx, prefix) {
			if f.listed[info.Key] < f.fail { // that often before each key
				f.listed[info.Key]++
				yield(store.Info{}, f.err)
				return
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func TestRetry(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		m := mem.New(mem.Config{})
		t.Cleanup(func() { m.Close() })
		return New(m, Config{})
	})
}

// TestRetryFlaky runs the suite on a store every call to which fails twice first.
func TestRetryFlaky(t *testing.T) {
	m := mem.New(mem.Config{})
	defer m.Close()
	synctest.Test(t, func(t *testing.T) {
		s := New(&flaky{Mem: m, fail: 2, err: store.ErrTransient, listed: map[string]int{}}, Config{})
		body := bytes.Repeat([]byte("grain"), 1000)
		want := []string{"a", "b", "c"}
		for _, k := range want {
			if err := s.Put(t.Context(), k, bytes.NewReader(body), int64(len(body))); err != nil {
				t.Fatal(err)
			}
		}
		o, err := s.Open(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		b := make([]byte, len(body))
		if n, err := o.ReadAt(b, 0); n != len(b) || err != nil || !bytes.Equal(b, body) {
			t.Errorf("%d bytes, %v", n, err)
		}
		var got []string
		for info, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Key)
		}
		if len(got) != 3 || got[0] != "a" || got[2] != "c" {
			t.Errorf("listed %q", got)
		}
	})
}

func TestGivesUp(t *testing.T) {
	m := mem.New(mem.Config{})
	defer m.Close()
	synctest.Test(t, func(t *testing.T) {
		f := &flaky{Mem: m, fail: 100, err: store.ErrTransient, listed: map[string]int{}}
		s := New(f, Config{Attempts: 4, Base: time.Second, Max: 3 * time.Second})
		began := time.Now()
		if err := s.Put(t.Context(), "k", bytes.NewReader(nil), 0); !errors.Is(err, store.ErrTransient) || f.calls != 4 {
			t.Errorf("%d calls, %v", f.calls, err)
		}
		// Waits of 1, 2 and 3 s, each by half at least.
		if d := time.Since(began); d < 3*time.Second || d > 6*time.Second {
			t.Errorf("waited %v", d)
		}
		n := 0
		if err := m.Put(t.Context(), "k", bytes.NewReader(nil), 0); err != nil {
			t.Fatal(err)
		}
		for _, err := range s.List(t.Context(), "") {
			if n++; !errors.Is(err, store.ErrTransient) {
				t.Error(err)
			}
		}
		if n != 1 {
			t.Errorf("List yielded %d times", n)
		}
	})
}

func TestOnlyTransient(t *testing.T) {
	m := mem.New(mem.Config{})
	defer m.Close()
	f := &flaky{Mem: m, fail: 1, err: store.ErrFull}
	if err := New(f, Config{}).Put(t.Context(), "k", bytes.NewReader(nil), 0); !errors.Is(err, store.ErrFull) || f.calls != 1 {
		t.Errorf("%d calls, %v", f.calls, err)
	}
}

func TestCancelWhileWaiting(t *testing.T) {
	m := mem.New(mem.Config{})
	defer m.Close()
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("stop")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, cause)
		defer cancel()
		s := New(&flaky{Mem: m, fail: 100, err: store.ErrTransient, listed: map[string]int{}}, Config{Attempts: 100, Base: time.Hour, Max: time.Hour})
		began := time.Now()
		if err := s.Put(ctx, "k", bytes.NewReader(nil), 0); !errors.Is(err, cause) || time.Since(began) != time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
