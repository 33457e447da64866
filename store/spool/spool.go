// Package spool is a store.Store that puts objects into a near store at once and
// brings them to a far one afterwards: while that is slow or away nobody waits, and
// nothing is lost.
package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/store"
)

// Config says how the far store is reached. Zero values mean the defaults.
type Config struct {
	Parallel int           // objects on their way at a time; 4
	Base     time.Duration // wait after a failure, doubled after each in a row; 1 s
	Max      time.Duration // longest wait; 30 s
	// Failed is called with each failure to bring an object away, if it is set.
	Failed func(key string, err error)
}

// Stats says what is not in the far store yet.
type Stats struct {
	Objects int
	Bytes   int64
	Moved   int64 // objects brought there since New
	Failed  int64 // tries that failed
}

// Store spools. An object is in the near store until it is in the far one. What a
// process left in the near store, New finds again. Put does not wait for the far
// store unless the near one is full.
type Store struct {
	near, far store.Store
	cfg       Config

	mu      sync.Mutex // guards what follows
	pending map[string]*item
	putting map[string]int // calls that are putting an object of that key
	queue   []*item        // to be moved, the oldest first
	wake    chan struct{}  // has a token when queue may have something
	empty   chan struct{}  // closed while nothing is pending
	stats   Stats
}

// item is an object in the near store.
type item struct {
	key   string
	size  int64
	again bool // it was replaced while it was on its way
	gone  bool // or deleted
	// While it is on its way: ends that, and is closed when it has ended.
	cancel context.CancelFunc
	done   chan struct{}
}

var (
	_ store.Store             = (*Store)(nil)
	_ store.ConditionalPutter = (*Store)(nil)
)

// New returns a spool before far. Run brings the objects there.
func New(ctx context.Context, near, far store.Store, c Config) (*Store, error) {
	if c.Parallel <= 0 {
		c.Parallel = 4
	}
	if c.Base <= 0 {
		c.Base = time.Second
	}
	if c.Max <= 0 {
		c.Max = 30 * time.Second
	}
	if c.Failed == nil {
		c.Failed = func(string, error) {}
	}
	s := &Store{near: near, far: far, cfg: c, pending: make(map[string]*item), putting: make(map[string]int), wake: make(chan struct{}, 1), empty: make(chan struct{})}
	close(s.empty)
	for info, err := range near.List(ctx, "") {
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		s.note(info.Key, info.Size)
	}
	return s, nil
}

// Stats returns what is pending.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Objects = len(s.pending)
	return st
}

// note has an object of the near store brought away.
func (s *Store) note(key string, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.pending[key]; it != nil {
		s.stats.Bytes += size - it.size
		it.size, it.again = size, true
		return
	}
	if len(s.pending) == 0 {
		s.empty = make(chan struct{})
	}
	it := &item{key: key, size: size}
	s.pending[key] = it
	s.stats.Bytes += size
	s.push(it)
}

// push queues an item. s.mu is held.
func (s *Store) push(it *item) {
	s.queue = append(s.queue, it)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// forget ends an item. s.mu is held.
func (s *Store) forget(it *item) {
	if s.pending[it.key] != it {
		return
	}
	delete(s.pending, it.key)
	s.stats.Bytes -= it.size
	if len(s.pending) == 0 {
		close(s.empty)
	}
}

// Drain waits until everything is in the far store. Run must be running.
func (s *Store) Drain(ctx context.Context) error {
	for {
		s.mu.Lock()
		empty, n := s.empty, len(s.pending)
		s.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-empty:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Run brings objects to the far store, until ctx ends; then it returns nil. What is
// not there yet stays in the near store.
func (s *Store) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for range s.cfg.Parallel {
		group.Go(func() { s.work(ctx) })
	}
	group.Wait()
	return nil
}

func (s *Store) work(ctx context.Context) {
	for failed := 0; ; {
		it := s.take(ctx)
		if it == nil {
			return
		}
		err := s.move(ctx, it)
		if err == nil {
			failed = 0
			continue
		}
		if ctx.Err() != nil {
			return
		}
		s.cfg.Failed(it.key, err)
		failed++
		s.wait(ctx, failed)
	}
}

// wait sleeps after the nth failure in a row, or until ctx ends.
func (s *Store) wait(ctx context.Context, n int) {
	d := s.cfg.Max
	if shift := n - 1; shift < 20 && s.cfg.Base<<shift < d {
		d = s.cfg.Base << shift
	}
	_ = pace.Sleep(ctx, d/2+rand.N(d/2+1))
}

// take returns the next item to move; nil when ctx ends.
func (s *Store) take(ctx context.Context) *item {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 && ctx.Err() == nil {
			it := s.queue[0]
			s.queue = s.queue[1:]
			if len(s.queue) > 0 { // another worker may take that
				select {
				case s.wake <- struct{}{}:
				default:
				}
			}
			if it.gone {
				s.mu.Unlock()
				continue
			}
			it.again, it.done = false, make(chan struct{})
			s.mu.Unlock()
			return it
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// move copies an object to the far store and removes it from the near one, unless
// it was replaced meanwhile.
func (s *Store) move(ctx context.Context, it *item) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	it.cancel = cancel
	gone := it.gone
	s.mu.Unlock()
	var err error
	if !gone {
		err = s.copy(ctx, it.key)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		close(it.done)
		it.cancel, it.done = nil, nil
	}()
	switch {
	case it.gone: // Delete waits for the end and does the rest
		return nil
	case errors.Is(err, store.ErrNotExist):
		s.forget(it) // the near store has lost it, or a bound of its own dropped it
		return err
	case err != nil || it.again || s.putting[it.key] > 0:
		if err != nil {
			s.stats.Failed++
		}
		s.push(it)
		return err
	}
	// With s.mu held, so that no Put comes between; the near store is quick.
	if err := s.near.Delete(ctx, it.key); err != nil {
		s.push(it)
		return err
	}
	s.stats.Moved++
	s.forget(it)
	return nil
}

// copy copies an object to the far store. ErrNotExist means that the near store has
// none.
func (s *Store) copy(ctx context.Context, key string) error {
	o, err := s.near.Open(ctx, key)
	if err != nil {
		return err
	}
	defer o.Close()
	if err := s.far.Put(ctx, key, o, o.Size()); err != nil {
		if errors.Is(err, store.ErrNotExist) {
			return fmt.Errorf("spool: %v", err) //nolint:errorlint // not that the near store has none
		}
		return err
	}
	return nil
}

// stop ends the way of an object and forgets it, and waits for that.
func (s *Store) stop(ctx context.Context, key string) error {
	s.mu.Lock()
	it := s.pending[key]
	if it == nil {
		s.mu.Unlock()
		return nil
	}
	it.gone = true
	s.forget(it)
	done := it.done
	if it.cancel != nil {
		it.cancel()
	}
	s.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
