package pull

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/live"
)

var _ live.Demand = (*Set)(nil)

// errUnwanted is the cause of the end of a source on demand that has no viewers.
var errUnwanted = errors.New("pull: nobody watches")

// errTaken is why a source on demand is not opened.
var errTaken = fmt.Errorf("pull: %w", live.ErrTaken)

// demand is who wants a source on demand. The source's lock guards it; its methods are
// called with that held, and do nothing for a source that always runs.
type demand struct {
	wake chan struct{} // has one if somebody came who needs the source to run

	viewers  int
	left     time.Time     // when the last one did
	again    time.Time     // when a source that has failed is opened again
	stopping bool          // nobody wants it, and what is shown goes away
	changed  chan struct{} // closed when those who wait are to look again
}

func newDemand() *demand {
	return &demand{wake: make(chan struct{}, 1), changed: make(chan struct{})}
}

// change has those who wait look again.
func (d *demand) change() {
	if d != nil {
		close(d.changed)
		d.changed = make(chan struct{})
	}
}

// answer tells those who wait that the source has ended, and is opened again at a time
// if somebody comes.
func (d *demand) answer(again time.Time) {
	if d != nil {
		d.again = again
		d.forget()
		d.change()
	}
}

// poke has the source run.
func (d *demand) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// forget takes back what those did who have had their answer.
func (d *demand) forget() {
	select {
	case <-d.wake:
	default:
	}
}

// onDemand returns the source of that name if viewers start it, else nil.
func (s *Set) onDemand(name string) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.sources[name]; x != nil && x.demand != nil {
		return x
	}
	return nil
}

// Has implements live.Demand.
func (s *Set) Has(name string) bool { return s.onDemand(name) != nil }

// Visit implements live.Demand.
func (s *Set) Visit(name string) (leave func()) {
	x := s.onDemand(name)
	if x == nil {
		return func() {}
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.demand.viewers++
	return x.leave
}

func (x *source) leave() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.demand.viewers--
	x.demand.left = time.Now()
}

// Start implements live.Demand. Any number of viewers start a source once. Those who
// wait when it fails are told why, and so are those who come until it is opened again.
func (s *Set) Start(ctx context.Context, name string) error {
	x := s.onDemand(name)
	if x == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.cfg.Timeout, live.ErrStarting)
	defer cancel()
	for first := true; ; first = false {
		changed, err := x.ask(first)
		if changed == nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ask returns what a viewer is to be answered, or what is closed when that may be known.
// The first time it has the source run: who is told that it has failed does not ask for
// more.
func (x *source) ask(first bool) (changed <-chan struct{}, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	d, state, shown := x.demand, x.status.State, x.cfg.Look(x.name)
	if state == Stopped {
		return nil, live.ErrNone
	}
	if shown.Live && !d.stopping && (shown.There || state != Connecting && state != Running) {
		return nil, nil
	}
	if first {
		d.poke()
	}
	switch {
	case d.stopping:
	case shown.There: // and its publisher is away
		return nil, nil
	case state == Waiting && x.status.LastErr != nil:
		return nil, failure(x.status.LastErr, time.Until(d.again))
	}
	return d.changed, nil
}

// shown is called when viewers have something to see.
func (x *source) shown() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.demand.change()
}

// wanted waits until somebody wants the source; false: ctx is done.
func (x *source) wanted(ctx context.Context) bool {
	if x.demand == nil {
		return ctx.Err() == nil
	}
	x.mu.Lock()
	watched := x.demand.viewers > 0
	x.mu.Unlock()
	if watched {
		return ctx.Err() == nil
	}
	select {
	case <-x.demand.wake:
		return ctx.Err() == nil
	default:
	}
	x.set(Unwatched, nil)
	select {
	case <-x.demand.wake:
		x.cfg.Log.Info("a viewer starts a source", "name", x.name)
		return true
	case <-ctx.Done():
		return false
	}
}

// watched is attempt, as long as somebody wants the source: then the error is
// errUnwanted, and nothing is shown any more.
func (x *source) watched(ctx context.Context) error {
	if x.demand == nil {
		return x.attempt(ctx)
	}
	if x.cfg.Look(x.name).Live {
		return errTaken // and not to be taken over, nor is the source to be asked in vain
	}
	wanted, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		if x.unwanted(wanted) {
			cancel(errUnwanted)
		}
	})
	err := x.attempt(wanted)
	cancel(nil)
	watch.Wait()
	if ctx.Err() != nil {
		return err
	}
	x.mu.Lock()
	stopping, there := x.demand.stopping, x.cfg.Look(x.name).There
	x.mu.Unlock()
	if stopping || !there { // what has shown nothing holds a place, too
		x.cfg.Forget(ctx, x.name)
	}
	if !stopping {
		return err
	}
	x.cfg.Log.Info("a source has no viewers and stops", "name", x.name)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.demand.stopping = false
	if there {
		x.status.LastErr, x.status.Failed = nil, 0
	}
	return errUnwanted
}

// unwanted waits until the source has been without a viewer for as long as it goes on
// then; false: ctx was done before.
func (x *source) unwanted(ctx context.Context) bool {
	for wait := x.cfg.Idle; wait > 0; wait = x.goesOn(time.Now()) {
		if pace.Sleep(ctx, wait) != nil {
			return false
		}
	}
	return true
}

// goesOn returns for how long the source goes on at least. If that is not at all, who
// comes now waits until it has stopped.
func (x *source) goesOn(now time.Time) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	// Players of a playlist come again when it may have changed.
	wait := max(x.cfg.Idle, x.cfg.Look(x.name).Pace)
	if x.demand.viewers == 0 {
		wait -= now.Sub(x.demand.left)
	}
	if wait <= 0 {
		x.demand.stopping = true
		x.demand.forget()
	}
	return wait
}
