// Package retry is a store.Store that tries again what another one could not do
// for the moment.
package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/store"
)

// Config says how often and after which time. Zero values mean the defaults.
type Config struct {
	Attempts int           // how often a call is made at most; 5
	Base     time.Duration // wait after the first failure, doubled after each; 100 ms
	Max      time.Duration // longest wait; 5 s
}

// Store retries calls that end with store.ErrTransient; other errors are returned
// at once. It waits a random time between half the wait and all of it, so that
// those who failed together do not come back together.
type Store struct {
	inner store.Store
	cfg   Config
}

var (
	_ store.Store             = (*Store)(nil)
	_ store.ConditionalPutter = (*Store)(nil)
)

// New returns inner with retries.
func New(inner store.Store, c Config) *Store {
	if c.Attempts <= 0 {
		c.Attempts = 5
	}
	if c.Base <= 0 {
		c.Base = 100 * time.Millisecond
	}
	if c.Max <= 0 {
		c.Max = 5 * time.Second
	}
	return &Store{inner, c}
}

// do calls f until it succeeds, fails for good, or too often.
func (s *Store) do(ctx context.Context, f func() error) error {
	for n := 1; ; n++ {
		err := f()
		if !errors.Is(err, store.ErrTransient) {
			return err
		}
		if n == s.cfg.Attempts {
			return fmt.Errorf("retry: %d times: %w", n, err)
		}
		if err := s.wait(ctx, n); err != nil {
			return err
		}
	}
}

// wait sleeps after the nth failure in a row, or until ctx ends.
func (s *Store) wait(ctx context.Context, n int) error {
	d := s.cfg.Max
	if shift := n - 1; shift < 30 && s.cfg.Base<<shift < d {
		d = s.cfg.Base << shift
	}
	return pace.Sleep(ctx, d/2+rand.N(d/2+1))
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	return s.do(ctx, func() error { return s.inner.Put(ctx, key, body, size) })
}

// PutNew implements store.ConditionalPutter if the inner store does.
func (s *Store) PutNew(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	return s.do(ctx, func() error { return store.PutNew(ctx, s.inner, key, body, size) })
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.do(ctx, func() error { return s.inner.Delete(ctx, key) })
}

// Open implements store.Store. Reads of the object are tried again, too, until ctx
// ends.
func (s *Store) Open(ctx context.Context, key string) (store.Object, error) {
	var o store.Object
	err := s.do(ctx, func() (err error) {
		o, err = s.inner.Open(ctx, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &object{o, s, ctx}, nil
}

// object is an opened object.
type object struct {
	store.Object
	s   *Store
	ctx context.Context // of Open, as ReadAt has none
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(b []byte, off int64) (int, error) {
	read := 0
	err := o.s.do(o.ctx, func() error {
		n, err := o.Object.ReadAt(b[read:], off+int64(read))
		read += n
		return err
	})
	return read, err
}

// List implements store.Store. After a failure it goes on behind the last key.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		last, failed := "", 0
		for {
			err := s.list(ctx, prefix, &last, &failed, yield)
			if !errors.Is(err, store.ErrTransient) {
				if err != nil {
					yield(store.Info{}, err)
				}
				return
			}
			if failed++; failed == s.cfg.Attempts {
				yield(store.Info{}, fmt.Errorf("retry: %d times: %w", failed, err))
				return
			}
			if err := s.wait(ctx, failed); err != nil {
				yield(store.Info{}, err)
				return
			}
		}
	}
}

// list yields what comes behind *last, and keeps that and the failures since.
func (s *Store) list(ctx context.Context, prefix string, last *string, failed *int, yield func(store.Info, error) bool) error {
	for info, err := range s.inner.List(ctx, prefix) {
		if err != nil {
			return err
		}
		if info.Key <= *last {
			continue
		}
		*last, *failed = info.Key, 0
		if !yield(info, nil) {
			return nil
		}
	}
	return nil
}
