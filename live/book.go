package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cleave-video/cleave/index"
)

// ahead is how many chunks' numbers are claimed in the index before they are given, so
// that no later process gives them again. It is claimed anew when half of it is left.
const ahead = 8

// keysAhead is the same for the numbers of key frames.
const keysAhead = 1 << 10

// maxBreaks is how many discontinuities a stream remembers the places of: more than a
// window has, or than are worth to list after a restart.
const maxBreaks = 256

// account is what a stream continues with after a restart, beside its entries. It
// belongs to the one publisher, which the turn hands on.
type account struct {
	begun   int64   // number of the epoch's first chunk
	total   int64   // discontinuities so far
	breaks  []int64 // numbers of chunks that one stands before, the newest, in order
	keys    int64   // above the numbers of key frames
	resumed bool    // an earlier process had the stream
}

// broke notes a discontinuity before a chunk.
func (a *account) broke(msn int64) {
	a.total++
	if len(a.breaks) == maxBreaks {
		a.breaks = append(a.breaks[:0], a.breaks[1:]...)
	}
	a.breaks = append(a.breaks, msn)
}

// state is what is to be kept if no number from next on may be given again without it.
func (s *Stream) state(next int64) index.State {
	e := s.edge.Load()
	first := int64(0)
	if len(e.Renditions) > 0 && len(e.Renditions[0].Segments) > 0 {
		first = e.Renditions[0].Segments[0].MSN
	}
	return index.State{
		Epoch: s.epoch, Begun: s.account.begun, First: first, Next: next, TargetDuration: e.TargetDuration, PartTarget: e.PartTarget,
		Discontinuities: s.account.total, Breaks: slices.Clone(s.account.breaks), Keys: s.account.keys + keysAhead,
	}
}

// book writes states of a stream into the index, the newest only, one at a time. Who
// shows something does not wait for that.
type book struct {
	mu   sync.Mutex   // guards what follows
	next *index.State // to be written
	busy bool
}

// note has the stream's state written, in a goroutine of the publisher's group.
func (p *publisher) note() {
	if p.s.hub.states == nil {
		return
	}
	p.claimed = p.s.seq + ahead
	state := p.s.state(p.claimed)
	b := &p.s.book
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next = &state
	if b.busy {
		return
	}
	b.busy = true
	p.coord.group.Go(func() { b.write(p.coord.ctx, p.s) })
}

// write writes until there is nothing to write.
func (b *book) write(ctx context.Context, s *Stream) {
	for {
		b.mu.Lock()
		state := b.next
		b.next = nil
		b.busy = state != nil
		b.mu.Unlock()
		if state == nil {
			return
		}
		s.keep(ctx, *state)
	}
}

// keep writes a state and returns when that is done. Its failure is no failure of the
// stream: it would have to go on after a crash with less.
func (s *Stream) keep(ctx context.Context, state index.State) {
	if err := s.hub.states.SetState(ctx, s.name, state); err != nil {
		s.hub.cfg.Log.Error("state not in the index", "stream", s.name, "error", err)
	}
}

// openBook claims the epoch and its first numbers, before anybody sees them.
func (p *publisher) openBook() {
	p.s.account.begun = p.s.seq
	if p.s.hub.states != nil {
		p.claimed = p.s.seq + ahead
		p.s.keep(p.ctx, p.s.state(p.claimed))
	}
}

// closeBook notes which numbers were given, when all is over.
func (p *publisher) closeBook() {
	if p.s.hub.states != nil {
		p.s.keep(context.WithoutCancel(p.ctx), p.s.state(p.s.seq))
	}
}

// readState returns what is kept of the stream; false if nothing is, or what is cannot
// be read any more.
func (s *Stream) readState(ctx context.Context) (index.State, bool, error) {
	if s.hub.states == nil {
		return index.State{}, false, nil
	}
	state, err := s.hub.states.State(ctx, s.name)
	var damage *index.CorruptError
	switch {
	case errors.As(err, &damage):
		s.hub.cfg.Log.Error("state of a stream", "stream", s.name, "error", err)
		return index.State{}, false, nil
	case errors.Is(err, index.ErrNotFound):
		return index.State{}, false, nil
	case err != nil:
		return index.State{}, false, fmt.Errorf("live: %s: %w", s.name, err)
	}
	return state, true, nil
}
