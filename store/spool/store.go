package spool

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/cleave-video/cleave/store"
)

// Put implements store.Store. It returns when the near store has the object; when
// that is full, when the far one has.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	err := s.putNear(ctx, key, body, size)
	if !errors.Is(err, store.ErrFull) {
		return err
	}
	// An older version in the near store must not come after this one.
	if err := s.stop(ctx, key); err != nil {
		return err
	}
	if err := s.far.Put(ctx, key, body, size); err != nil {
		s.restore(ctx, key)
		return err
	}
	return s.near.Delete(ctx, key)
}

// putNear stores and notes an object. What is on its way meanwhile may be the
// version before, and does not end the item.
func (s *Store) putNear(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	s.mu.Lock()
	s.putting[key]++
	s.mu.Unlock()
	err := s.near.Put(ctx, key, body, size)
	if err == nil {
		s.note(key, size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.putting[key]--; s.putting[key] == 0 {
		delete(s.putting, key)
	}
	return err
}

// restore notes the version before again, which the near store still has.
func (s *Store) restore(ctx context.Context, key string) {
	if o, err := s.near.Open(ctx, key); err == nil {
		s.note(key, o.Size())
		o.Close()
	}
}

// PutNew implements store.ConditionalPutter if the far store does, which it waits
// for: only there it is known who was first.
func (s *Store) PutNew(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	s.mu.Lock()
	spooled := s.pending[key] != nil
	s.mu.Unlock()
	if spooled {
		return store.PutNew(ctx, s.near, key, body, size)
	}
	return store.PutNew(ctx, s.far, key, body, size)
}

// Open implements store.Store.
func (s *Store) Open(ctx context.Context, key string) (store.Object, error) {
	o, err := s.near.Open(ctx, key)
	if errors.Is(err, store.ErrNotExist) {
		return s.far.Open(ctx, key)
	}
	return o, err
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	if err := s.stop(ctx, key); err != nil {
		return err
	}
	if err := s.near.Delete(ctx, key); err != nil {
		return err
	}
	return s.far.Delete(ctx, key)
}

// List implements store.Store. An object that both stores have is the near one's.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		// The near store is listed at once, lest an object moves from one listing to
		// the other and is seen in none.
		var near []store.Info
		for info, err := range s.near.List(ctx, prefix) {
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			near = append(near, info)
		}
		for info, err := range s.far.List(ctx, prefix) {
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			for len(near) > 0 && near[0].Key < info.Key {
				if !yield(near[0], nil) {
					return
				}
				near = near[1:]
			}
			if len(near) > 0 && near[0].Key == info.Key {
				info, near = near[0], near[1:]
			}
			if !yield(info, nil) {
				return
			}
		}
		for _, info := range near {
			if !yield(info, nil) {
				return
			}
		}
	}
}
