// Package cache is a store.Store that keeps what was read from a slow one in a
// fast one, within a bound of bytes.
package cache

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/cleave-video/cleave/store"
)

// Config says where and how much is kept.
type Config struct {
	// Fast keeps the copies: a store in memory or on a disk, whose objects the
	// cache calls "cache/NUMBER". New removes those that an earlier one left.
	Fast store.Store
	// MaxBytes bounds the copies; 0 means 256 MiB. An object larger than a quarter
	// of it is not kept. Copies that readers have open count only for Fast.
	MaxBytes int64
}

// Stats are counted since New.
type Stats struct {
	Hits   int64 // objects opened from a copy
	Misses int64 // objects read from the slow store
	Passed int64 // objects too large, or for which Fast had no room
	Bytes  int64 // of the copies now
}

// Store reads through a cache. Who asks for an object that is on its way waits for
// it: however many do, the slow store is read once. Objects that somebody else
// replaces or deletes in the slow store may be read as they were.
type Store struct {
	slow, fast store.Store
	max        int64
	group      sync.WaitGroup

	hits, misses, passed atomic.Int64

	mu      sync.Mutex // guards what follows
	copies  map[string]*list.Element
	age     *list.List // of *copied, the one used last in front
	bytes   int64
	flights map[string]*flight
	number  uint64 // of the next copy
}

var (
	_ store.Store             = (*Store)(nil)
	_ store.ConditionalPutter = (*Store)(nil)
)

// copied is an object in the fast store.
type copied struct {
	key, name string
	size      int64
}

// flight is an object on its way to the fast store.
type flight struct {
	done    chan struct{}
	err     error
	name    string
	size    int64
	waiting int // callers; when none is left the flight is given up
	cancel  context.CancelFunc
	stale   bool // the object was replaced meanwhile
}

// errPassed says that an object is not for the cache.
var errPassed = errors.New("cache: not kept")

const namePrefix = "cache/"

// New returns slow with a cache, which is empty.
func New(ctx context.Context, slow store.Store, c Config) (*Store, error) {
	if c.MaxBytes <= 0 {
		c.MaxBytes = 256 << 20
	}
	for info, err := range c.Fast.List(ctx, namePrefix) {
		if err == nil {
			err = c.Fast.Delete(ctx, info.Key)
		}
		if err != nil {
			return nil, fmt.Errorf("cache: %w", err)
		}
	}
	return &Store{
		slow: slow, fast: c.Fast, max: c.MaxBytes,
		copies: make(map[string]*list.Element), age: list.New(), flights: make(map[string]*flight),
	}, nil
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Hits: s.hits.Load(), Misses: s.misses.Load(), Passed: s.passed.Load(), Bytes: s.bytes}
}

// Close waits for reads under way, after giving up on them. The stores stay open.
func (s *Store) Close() error {
	s.mu.Lock()
	for _, f := range s.flights {
		f.cancel()
	}
	s.mu.Unlock()
	s.group.Wait()
	return nil
}

// Open implements store.Store.
func (s *Store) Open(ctx context.Context, key string) (store.Object, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	for range 3 {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if name := s.find(key); name != "" {
			o, err := s.fast.Open(ctx, name)
			if err == nil {
				s.hits.Add(1)
				return o, nil
			}
			s.forget(key, name) // dropped by the fast store, or damaged
		}
		name, err := s.fetch(ctx, key)
		if errors.Is(err, errPassed) {
			break
		}
		if err != nil {
			return nil, err
		}
		if o, err := s.fast.Open(ctx, name); err == nil {
			return o, nil
		}
	}
	s.passed.Add(1)
	return s.slow.Open(ctx, key)
}

// find returns the name of a copy, or "".
func (s *Store) find(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.copies[key]
	if e == nil {
		return ""
	}
	s.age.MoveToFront(e)
	return e.Value.(*copied).name
}

// forget removes the copy of that key if it still has that name.
func (s *Store) forget(key, name string) {
	s.mu.Lock()
	e := s.copies[key]
	if e == nil || e.Value.(*copied).name != name {
		s.mu.Unlock()
		return
	}
	s.drop(e)
	s.mu.Unlock()
	s.discard(name)
}

// drop takes a copy out of the lists. s.mu is held.
func (s *Store) drop(e *list.Element) {
	c := s.age.Remove(e).(*copied)
	delete(s.copies, c.key)
	s.bytes -= c.size
}

// discard deletes from the fast store; what fails there is in its bound, too.
func (s *Store) discard(names ...string) {
	for _, n := range names {
		_ = s.fast.Delete(context.Background(), n)
	}
}

// fetch waits until the object has been copied and returns the name of the copy.
func (s *Store) fetch(ctx context.Context, key string) (string, error) {
	s.mu.Lock()
	f := s.flights[key]
	if f == nil {
		f = s.start(ctx, key)
	}
	f.waiting++
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.name, f.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		s.leave(key, f)
	}
	return "", context.Cause(ctx)
}

// start begins a flight, which outlives the caller as long as others wait. s.mu is
// held.
func (s *Store) start(ctx context.Context, key string) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.number++
	f := &flight{done: make(chan struct{}), cancel: cancel, name: fmt.Sprintf("%s%d", namePrefix, s.number)}
	s.flights[key] = f
	s.misses.Add(1)
	s.group.Go(func() {
		defer cancel()
		err := s.copy(ctx, key, f)
		s.land(key, f, err)
	})
	return f
}

// leave takes a flight off the list, if it is that one. s.mu is held.
func (s *Store) leave(key string, f *flight) {
	if s.flights[key] == f {
		delete(s.flights, key)
	}
}

// copy brings the object to the fast store.
func (s *Store) copy(ctx context.Context, key string, f *flight) error {
	o, err := s.slow.Open(ctx, key)
	if err != nil {
		return err
	}
	defer o.Close()
	f.size = o.Size()
	if f.size > s.max/4 {
		return fmt.Errorf("%w: %d bytes of at most %d", errPassed, f.size, s.max/4)
	}
	s.discard(s.shrink(s.max - f.size)...)
	src := &source{Object: o}
	err = s.fast.Put(ctx, f.name, src, f.size)
	if bad := src.err.Load(); bad != nil {
		return *bad
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errPassed, err)
	}
	return nil
}

// source tells errors of the slow store from those of the fast one.
type source struct {
	store.Object
	err atomic.Pointer[error]
}

// ReadAt implements io.ReaderAt.
func (s *source) ReadAt(b []byte, off int64) (int, error) {
	n, err := s.Object.ReadAt(b, off)
	if n < len(b) && err != nil {
		s.err.Store(&err)
	}
	return n, err
}

// shrink drops the copies that were not used for longest until size bytes are
// left, and returns their names.
func (s *Store) shrink(size int64) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for s.bytes > size && s.age.Len() > 0 {
		e := s.age.Back()
		names = append(names, e.Value.(*copied).name)
		s.drop(e)
	}
	return names
}

// land ends a flight and lists its copy.
func (s *Store) land(key string, f *flight, err error) {
	s.mu.Lock()
	s.leave(key, f)
	f.err = err
	keep := err == nil && !f.stale
	if keep {
		if e := s.copies[key]; e != nil {
			s.drop(e) // of a flight before; its name is deleted below
			defer s.discard(e.Value.(*copied).name)
		}
		s.copies[key] = s.age.PushFront(&copied{key, f.name, f.size})
		s.bytes += f.size
	}
	s.mu.Unlock()
	close(f.done)
	switch {
	case keep:
		s.discard(s.shrink(s.max)...)
	case err == nil:
		s.discard(f.name) // those who wait read the new object instead
	}
}

// changed forgets what is known of an object that is being replaced or deleted.
func (s *Store) changed(key string) {
	s.mu.Lock()
	if f := s.flights[key]; f != nil {
		f.stale = true
		delete(s.flights, key)
	}
	e := s.copies[key]
	if e == nil {
		s.mu.Unlock()
		return
	}
	s.drop(e)
	s.mu.Unlock()
	s.discard(e.Value.(*copied).name)
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	defer s.changed(key)
	return s.slow.Put(ctx, key, body, size)
}

// PutNew implements store.ConditionalPutter if the slow store does.
func (s *Store) PutNew(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	defer s.changed(key)
	return store.PutNew(ctx, s.slow, key, body, size)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	defer s.changed(key)
	return s.slow.Delete(ctx, key)
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return s.slow.List(ctx, prefix)
}
