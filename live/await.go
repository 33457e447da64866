package live

import (
	"context"
	"sync"
)

// place is a point that a rendition will reach.
type place struct {
	rendition string
	msn, part int64
}

// waiters are the requests that wait for places. Those for the same one share a
// channel, and nobody is woken for anything else.
type waiters struct {
	mu sync.Mutex // guards at
	at map[place]*waiting
}

type waiting struct {
	n  int // who waits
	ch chan struct{}
}

func (w *waiters) enter(p place) *waiting {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at == nil {
		w.at = make(map[place]*waiting)
	}
	x := w.at[p]
	if x == nil {
		x = &waiting{ch: make(chan struct{})}
		w.at[p] = x
	}
	x.n++
	return x
}

func (w *waiters) leave(p place, x *waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.n--; x.n == 0 && w.at[p] == x {
		delete(w.at, p)
	}
}

// wake wakes those whose place e has reached.
func (w *waiters) wake(e *Edge) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for p, x := range w.at {
		if e.settled(p) {
			close(x.ch)
			delete(w.at, p)
		}
	}
}

// settled reports whether waiting for p has ended: it is reached, or never will be.
func (e *Edge) settled(p place) bool {
	r := e.Rendition(p.rendition)
	return e.Ended || r == nil || r.Reached(p.msn, p.part)
}

// Await waits until the rendition has reached part number part of segment msn, or,
// if part is negative, the end of that segment, and returns an Edge where it has.
// It returns at once if the stream has ended or has no such rendition any more. The
// error is the cause of ctx.
func (s *Stream) Await(ctx context.Context, rendition string, msn, part int64) (*Edge, error) {
	p := place{rendition, msn, part}
	for {
		if e := s.Edge(); e.settled(p) {
			return e, nil
		}
		x := s.waits.enter(p)
		if e := s.Edge(); e.settled(p) { // what came between has woken nobody
			s.waits.leave(p, x)
			return e, nil
		}
		select {
		case <-x.ch:
			s.waits.leave(p, x)
		case <-ctx.Done():
			s.waits.leave(p, x)
			return nil, context.Cause(ctx)
		}
	}
}

// AwaitReady waits until the stream has something to play of every rendition. The
// error is the cause of ctx.
func (s *Stream) AwaitReady(ctx context.Context) (*Edge, error) {
	for {
		e := s.Edge()
		if e.Ready() {
			return e, nil
		}
		select {
		case <-e.Changed():
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
