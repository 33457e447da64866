package live

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/store"
)

// Retention is how long the chunks of a stream are kept that have left its window. They
// may be listed up to then: behind the younger of both bounds nothing is.
type Retention struct {
	Age   time.Duration // 0: however old they are
	Bytes int64         // 0: however many there are
}

const (
	// keepEvery is how often it is looked for chunks that go.
	keepEvery = 5 * time.Second
	// restEvery is how often, of a name of which nothing is kept and that is not live: the
	// index has to read its files for that.
	restEvery = time.Minute
	// maxGoing is how many chunks of a stream go at a time: their keys are in memory.
	maxGoing = 4096
)

// keeper lets the chunks go that a rule for their stream does not keep, in two steps: first
// no playlist lists them any more; then, when the longest playlist that did would have been
// played once more (RFC 8216bis 6.2.2), they leave the index, and at last the store. What a
// crash leaves between both index.Reconcile deletes.
type keeper struct {
	h        *Hub
	promises promises

	mu  sync.Mutex // guards all, and horizon of each
	all map[string]*kept
}

// kept is what is kept of a stream. But for horizon it is of the keeper's goroutine.
type kept struct {
	horizon time.Time // what ended by then is not listed

	counted int64     // number of the newest chunk that is in bytes
	newest  time.Time // when it begins
	bytes   int64     // of all chunks
	hidden  int64     // of those, the bytes that are not listed
	last    int64     // number of the newest that is not
	steps   []step    // when chunks were hidden, oldest first
	going   []string  // objects whose entries are gone
	rests   time.Time // nothing is kept, and it need not be looked before
}

// step says that what ended by a time is not listed since another.
type step struct{ horizon, since time.Time }

// Retention returns the rule for a stream; nil: chunks go with the window.
func (h *Hub) Retention(name string) *Retention {
	if h.cfg.Retention == nil || h.cfg.Index == nil {
		return nil
	}
	return h.cfg.Retention(name)
}

// farFuture is behind all that is kept.
var farFuture = time.Unix(math.MaxInt32*4, 0)

// Horizon returns the time before which nothing of a stream may be listed: it may be gone
// before that was played. Without a rule that is where the window begins.
func (h *Hub) Horizon(name string) time.Time {
	if h.Retention(name) != nil {
		h.keeper.mu.Lock()
		defer h.keeper.mu.Unlock()
		if k := h.keeper.all[name]; k != nil {
			return k.horizon
		}
		return time.Time{}
	}
	s := h.Lookup(name)
	if s == nil {
		return farFuture
	}
	at := farFuture
	for i, r := range s.Edge().Renditions {
		if len(r.Segments) > 0 && (i == 0 || r.Segments[0].Date.After(at)) {
			at = r.Segments[0].Date
		}
	}
	return at
}

// Promise notes that a playlist of a range was given out: what it lists stays as long
// again, and its own length, when it is listed no more. It returns when that will
// survive a crash.
func (h *Hub) Promise(ctx context.Context, name string, from, to time.Time) {
	if h.Retention(name) == nil {
		return // what the window lists stays long enough
	}
	if err := h.keeper.promises.add(name, from, to); err != nil {
		h.cfg.Log.Error("promise of a playlist not kept", "stream", name, "error", err)
	}
}

// run lets chunks go until ctx is done.
func (k *keeper) run(ctx context.Context) {
	streamer, ok := k.h.cfg.Index.(index.Streamer)
	if !ok || k.h.cfg.Retention == nil {
		return
	}
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		k.sweep(ctx, streamer, k.h.now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sweep looks at every stream.
func (k *keeper) sweep(ctx context.Context, streamer index.Streamer, now time.Time) {
	for name, err := range streamer.Streams(ctx) {
		if err == nil && ctx.Err() == nil && CheckName(name) == nil && k.h.Retention(name) != nil {
			err = k.stream(ctx, name, now)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			k.h.cfg.Log.Warn("retention", "stream", name, "error", err)
		}
	}
}

// of returns what is kept of a stream.
func (k *keeper) of(name string) *kept {
	k.mu.Lock()
	defer k.mu.Unlock()
	x := k.all[name]
	if x == nil {
		x = &kept{counted: -1, last: -1}
		k.all[name] = x
	}
	return x
}

// stream hides chunks of a stream, and lets those go that were hidden long enough.
func (k *keeper) stream(ctx context.Context, name string, now time.Time) error {
	x := k.of(name)
	if now.Before(x.rests) && k.h.Lookup(name) == nil {
		return nil
	}
	if err := k.count(ctx, name, x); err != nil {
		return err
	}
	if err := k.hide(ctx, name, x, now); err != nil {
		return err
	}
	for {
		more, err := k.drop(ctx, name, x, now)
		if err := errors.Join(err, k.delete(ctx, name, x)); err != nil {
			return err
		}
		if !more {
			break
		}
	}
	if x.bytes == 0 {
		x.rests = now.Add(restEvery)
		return k.promises.forget(name, now) // there is nothing of what was promised
	}
	return nil
}

// count adds the chunks that are new.
func (k *keeper) count(ctx context.Context, name string, x *kept) error {
	return index.Pass(ctx, k.h.cfg.Index, name, x.newest, time.Time{}, func(e *index.Entry) bool {
		if e.Seq > x.counted {
			x.counted, x.newest = e.Seq, e.Wall
			x.bytes += e.Size
		}
		return true
	})
}

// hide moves the horizon up to the first chunk that the rule keeps.
func (k *keeper) hide(ctx context.Context, name string, x *kept, now time.Time) error {
	rule, floor, at := k.h.Retention(name), k.h.floor(name), x.horizon
	err := index.Pass(ctx, k.h.cfg.Index, name, x.horizon, time.Time{}, func(e *index.Entry) bool {
		if e.Seq <= x.last {
			return true
		}
		old := rule.Age > 0 && now.Sub(e.End()) >= rule.Age
		many := rule.Bytes > 0 && x.bytes-x.hidden > rule.Bytes
		if e.Seq >= floor || e.Seq > x.counted || !old && !many {
			return false
		}
		x.last = e.Seq
		x.hidden += e.Size
		if end := e.End(); end.After(at) {
			at = end
		}
		return true
	})
	if at.After(x.horizon) {
		x.steps = append(x.steps, step{at, now})
		k.mu.Lock()
		x.horizon = at
		k.mu.Unlock()
	}
	return err
}

// floor returns the number of the first chunk that the live stream of a name still has.
func (h *Hub) floor(name string) int64 {
	first := int64(math.MaxInt64)
	if s := h.Lookup(name); s != nil {
		e := s.Edge()
		for i := range e.Renditions {
			first = min(first, e.Renditions[i].first())
		}
	}
	return first
}

// drop takes the entries out of the index of chunks that were hidden long enough, of some
// at a time. It reports whether there are more.
func (k *keeper) drop(ctx context.Context, name string, x *kept, now time.Time) (more bool, err error) {
	if len(x.going) > 0 || x.last < 0 {
		return false, nil // the store does not delete, or nothing is hidden
	}
	g := leaving{}
	bytes := int64(0)
	err = index.Pass(ctx, k.h.cfg.Index, name, time.Time{}, time.Time{}, func(e *index.Entry) bool {
		full := len(g.list) == maxGoing
		more = more || full
		return g.add(e, !full && e.Seq <= x.last && !now.Before(k.due(name, x, e)))
	})
	if err != nil {
		return false, err
	}
	before := g.cut()
	if len(g.list) == 0 {
		return false, nil
	}
	if err := k.h.cfg.Index.Drop(ctx, name, before); err != nil && !errors.Is(err, index.ErrNotFound) {
		return false, err
	}
	for i := range g.list {
		if bytes += g.list[i].size; g.list[i].object != "" {
			x.going = append(x.going, g.list[i].object)
		}
	}
	x.bytes, x.hidden = x.bytes-bytes, x.hidden-bytes
	ended := g.list[len(g.list)-1].ended
	x.steps = slices.DeleteFunc(x.steps, func(s step) bool { return !s.horizon.After(ended) })
	return more, k.promises.forget(name, ended)
}

// leaving is what index.Drop takes out of an index by one call, and nothing else: that goes
// by time, and times of entries may overlap.
type leaving struct {
	list  []leave
	at    time.Time // of the last entry that was looked at, as the index has it
	next  *leave    // the first that stays
	alone bool      // no entry behind next has its time
}

// leave is an entry that goes, or the first that does not.
type leave struct {
	object  string
	size    int64
	ended   time.Time
	at, end time.Time // as the index has it
}

// add takes the next entry, and reports whether it is to have one more.
func (g *leaving) add(e *index.Entry, goes bool) bool {
	if e.Wall.After(g.at) {
		g.at = e.Wall
	}
	x := leave{e.Object, e.Size, e.End(), g.at, g.at.Add(e.End().Sub(e.Wall))}
	switch {
	case g.next != nil:
		g.alone = x.at.After(g.next.at)
		return false
	case !goes:
		g.next, g.alone = &x, true
	default:
		g.list = append(g.list, x)
	}
	return goes || len(g.list) > 0
}

// cut returns the time to give to index.Drop, and shortens the list to what that takes.
func (g *leaving) cut() (before time.Time) {
	n := len(g.list)
	switch {
	case n == 0:
		return before
	case g.next == nil:
		return g.list[n-1].end
	case g.alone && g.next.end.After(g.next.at):
		return g.next.at // it is what is shown then
	}
	before = g.next.at.Add(-1)
	for n > 0 && g.list[n-1].at.After(before) {
		n--
	}
	if n > 0 && g.list[n-1].end.After(before) {
		n--
	}
	g.list = g.list[:n]
	return before
}

// due returns when a hidden chunk may go.
func (k *keeper) due(name string, x *kept, e *index.Entry) time.Time {
	end := e.End()
	i, _ := slices.BinarySearchFunc(x.steps, end, func(s step, end time.Time) int { return s.horizon.Compare(end) })
	if i == len(x.steps) {
		return farFuture // it is listed
	}
	return x.steps[i].since.Add(k.promises.length(name, e.Wall, end) + end.Sub(e.Wall))
}

// delete deletes what has left the index; later, what the store does not now.
func (k *keeper) delete(ctx context.Context, name string, x *kept) error {
	n := len(x.going)
	for len(x.going) > 0 {
		err := k.h.cfg.Store.Delete(ctx, x.going[0])
		if errors.Is(err, store.ErrTransient) || ctx.Err() != nil {
			return err
		}
		if err != nil {
			k.h.cfg.Log.Warn("delete", "key", x.going[0], "error", err)
		}
		x.going = x.going[1:]
	}
	if s := k.h.Lookup(name); n > 0 && s != nil {
		s.forgetKeys(ctx)
	}
	return nil
}
