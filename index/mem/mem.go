// Package mem is an index.Index in memory.
package mem

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/cleave-video/cleave/index"
)

// Mem keeps the entries of each stream encoded: about 20 bytes each, and their key
// frames and digests.
type Mem struct {
	mu      sync.Mutex // guards what follows
	streams map[string]*stream
	states  map[string]index.State
}

var (
	_ index.Index     = (*Mem)(nil)
	_ index.Batcher   = (*Mem)(nil)
	_ index.Streamer  = (*Mem)(nil)
	_ index.Catalogue = (*Mem)(nil)
	_ index.Replacer  = (*Mem)(nil)
	_ index.Walker    = (*Mem)(nil)
	_ index.Passer    = (*Mem)(nil)
	_ index.Finder    = (*Mem)(nil)
)

type stream struct {
	run   index.Run
	first int // entry of the run that was not dropped
}

// New returns an empty index.
func New() *Mem {
	return &Mem{streams: make(map[string]*stream), states: make(map[string]index.State)}
}

func check(ctx context.Context, name string) error {
	if err := index.CheckStream(name); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// Add implements index.Index.
func (m *Mem) Add(ctx context.Context, name string, e index.Entry) error {
	return m.AddAll(ctx, name, []index.Entry{e})
}

// AddAll implements index.Batcher.
func (m *Mem) AddAll(ctx context.Context, name string, list []index.Entry) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	if s == nil {
		s = &stream{}
	}
	if _, err := s.run.Stage().Encode(nil, list); err != nil {
		return err
	}
	for i := range list {
		if err := s.run.Append(&list[i]); err != nil {
			return err
		}
	}
	if len(list) > 0 {
		m.streams[name] = s
	}
	return nil
}

// table returns the entries of a stream as they are now.
func (m *Mem) table(ctx context.Context, name string) (index.Table, int, error) {
	if err := check(ctx, name); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	if s == nil {
		return nil, 0, fmt.Errorf("%w: stream %s", index.ErrNotFound, name)
	}
	return s.run.Table(), s.first, nil
}

// Seek implements index.Index.
func (m *Mem) Seek(ctx context.Context, name string, at time.Time) (index.Entry, index.Key, error) {
	t, first, err := m.table(ctx, name)
	if err != nil {
		return index.Entry{}, index.Key{}, err
	}
	return index.SeekTable(t, first, at)
}

// Range implements index.Index.
func (m *Mem) Range(ctx context.Context, name string, from, to time.Time) iter.Seq2[index.Entry, error] {
	return func(yield func(index.Entry, error) bool) {
		t, first, err := m.table(ctx, name)
		if err != nil {
			if ctx.Err() != nil || index.CheckStream(name) != nil {
				yield(index.Entry{}, err)
			}
			return
		}
		index.RangeTable(ctx, t, first, from, to)(yield)
	}
}

// Walk implements index.Walker.
func (m *Mem) Walk(ctx context.Context, name string, f func(e *index.Entry) bool) error {
	t, first, err := m.table(ctx, name)
	if errors.Is(err, index.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return index.WalkTable(ctx, t, first, f)
}

// Pass implements index.Passer.
func (m *Mem) Pass(ctx context.Context, name string, from, to time.Time, f func(e *index.Entry) bool) error {
	t, first, err := m.table(ctx, name)
	if errors.Is(err, index.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return index.PassTable(ctx, t, first, from, to, f)
}

// Find implements index.Finder.
func (m *Mem) Find(ctx context.Context, name string, seq int64) (index.Entry, error) {
	t, first, err := m.table(ctx, name)
	if err != nil {
		return index.Entry{}, err
	}
	return index.FindTable(t, first, seq)
}

// Last implements index.Index.
func (m *Mem) Last(ctx context.Context, name string) (index.Entry, error) {
	t, _, err := m.table(ctx, name)
	if err != nil {
		return index.Entry{}, err
	}
	return index.LastOf(t)
}

// Drop implements index.Index. Memory goes by blocks of index.PerBlock entries.
func (m *Mem) Drop(ctx context.Context, name string, before time.Time) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.streams[name]
	if s == nil {
		return nil
	}
	first, err := index.DropTable(s.run.Table(), before)
	if err != nil {
		return err
	}
	s.first = max(s.first, first)
	// The last entry stays, as numbers go on from it.
	blocks := min(s.first, s.run.Len()-1) / index.PerBlock
	s.run.Drop(blocks)
	s.first -= blocks * index.PerBlock
	return nil
}

// Streams implements index.Streamer.
func (m *Mem) Streams(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		m.mu.Lock()
		var names []string
		for n := range m.streams {
			names = append(names, n)
		}
		m.mu.Unlock()
		for _, n := range names {
			if err := context.Cause(ctx); err != nil {
				yield("", err)
				return
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}

// SetState implements index.Catalogue.
func (m *Mem) SetState(ctx context.Context, name string, s index.State) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return err
	}
	s.Breaks = slices.Clone(s.Breaks)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states[name] = s
	return nil
}

// State implements index.Catalogue.
func (m *Mem) State(ctx context.Context, name string) (index.State, error) {
	if err := check(ctx, name); err != nil {
		return index.State{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.states[name]
	if !ok {
		return index.State{}, fmt.Errorf("%w: state of %s", index.ErrNotFound, name)
	}
	s.Breaks = slices.Clone(s.Breaks)
	return s, nil
}

// Replace implements index.Replacer.
func (m *Mem) Replace(ctx context.Context, name string, list []index.Entry) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	s := &stream{}
	for i := range list {
		if err := s.run.Append(&list[i]); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.streams[name]
	if len(list) == 0 && old != nil && old.run.Len() > 0 {
		old.first = old.run.Len()
		return nil
	}
	m.streams[name] = s
	return nil
}
