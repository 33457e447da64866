// Package limit is a store.Store that bounds what another one is asked to do at a
// time.
package limit

import (
	"context"
	"io"
	"iter"

	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/store"
)

// Config says how much at a time. Zero values mean the defaults.
type Config struct {
	Calls int   // at a time; 16
	Bytes int64 // of bodies and reads under way; 64 MiB. A larger one goes alone.
}

// Store lets calls wait for their turn, in the order in which they came.
type Store struct {
	inner store.Store
	calls *mem.Budget
	bytes *mem.Budget
}

var (
	_ store.Store             = (*Store)(nil)
	_ store.ConditionalPutter = (*Store)(nil)
)

// New returns inner with limits.
func New(inner store.Store, c Config) *Store {
	if c.Calls <= 0 {
		c.Calls = 16
	}
	if c.Bytes <= 0 {
		c.Bytes = 64 << 20
	}
	return &Store{inner, mem.NewBudget(int64(c.Calls)), mem.NewBudget(c.Bytes)}
}

// do calls f when there is room for a call of n bytes.
func (s *Store) do(ctx context.Context, n int64, f func() error) error {
	n = min(max(n, 0), s.bytes.Limit())
	if err := s.bytes.Acquire(ctx, n); err != nil {
		return err
	}
	defer s.bytes.Release(n)
	if err := s.calls.Acquire(ctx, 1); err != nil {
		return err
	}
	defer s.calls.Release(1)
	return f()
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	return s.do(ctx, size, func() error { return s.inner.Put(ctx, key, body, size) })
}

// PutNew implements store.ConditionalPutter if the inner store does.
func (s *Store) PutNew(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	return s.do(ctx, size, func() error { return store.PutNew(ctx, s.inner, key, body, size) })
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	return s.do(ctx, 0, func() error { return s.inner.Delete(ctx, key) })
}

// Open implements store.Store. An opened object takes no room, its reads do; they
// wait until ctx ends.
func (s *Store) Open(ctx context.Context, key string) (store.Object, error) {
	var o store.Object
	err := s.do(ctx, 0, func() (err error) {
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
func (o *object) ReadAt(b []byte, off int64) (n int, err error) {
	err = o.s.do(o.ctx, int64(len(b)), func() (err error) {
		n, err = o.Object.ReadAt(b, off)
		return err
	})
	return n, err
}

// List implements store.Store. It takes room while it waits for the next object,
// not while the caller is at work on the last: that may call the store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		next, stop := iter.Pull2(s.inner.List(ctx, prefix))
		defer stop()
		for {
			var info store.Info
			more := false
			err := s.do(ctx, 0, func() (err error) {
				info, err, more = next()
				return err
			})
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			if !more || !yield(info, nil) {
				return
			}
		}
	}
}
