package live

import (
	"context"
	"errors"
	"time"
)

// Demand starts sources when viewers come and stops them when these have gone. Its
// methods are safe for concurrent use.
type Demand interface {
	// Has reports whether there is a source of that name that viewers start.
	Has(name string) bool
	// Visit counts a viewer of that source until leave is called, once. It starts
	// nothing. Without such a source leave does nothing.
	Visit(name string) (leave func())
	// Start returns when there is something to see under that name, for which it starts
	// the source if need be; at once if that is not one of its own. The caller is counted
	// by Visit meanwhile. Errors: ErrNone, ErrStarting, *SourceError, the cause of ctx.
	Start(ctx context.Context, name string) error
}

// Errors of Await, beside *SourceError and the context's cause.
var (
	ErrNone = errors.New("live: no such stream")
	// ErrStarting is a source that did not begin while the viewer waited.
	ErrStarting = errors.New("live: the source has not begun in time")
)

// SourceError is why a source that a viewer wanted cannot be watched.
type SourceError struct {
	Reason string        // for viewers: it has no addresses, and nothing that the source chose
	Full   bool          // the source is not at fault: there is no room for it here
	After  time.Duration // until it is tried again
}

func (e *SourceError) Error() string { return "live: the source cannot be watched: " + e.Reason }

// SetDemand has d start sources for viewers. It must be called before Await and Known.
func (h *Hub) SetDemand(d Demand) { h.demand = d }

// Known reports whether there is a stream of that name, or one that a viewer starts.
func (h *Hub) Known(name string) bool {
	return h.Lookup(name) != nil || h.demand != nil && h.demand.Has(name)
}

// Await returns the stream of that name to a viewer. A source that viewers start is
// started, and waited for; it runs as long as leave is not called, which must be, once.
// Any other stream is returned as it is. Errors: ErrNone, ErrStarting, *SourceError, the
// cause of ctx.
func (h *Hub) Await(ctx context.Context, name string) (s *Stream, leave func(), err error) {
	leave = func() {}
	if h.demand != nil {
		leave = h.demand.Visit(name)
		if err := h.demand.Start(ctx, name); err != nil {
			leave()
			return nil, nil, err
		}
	}
	if s = h.Lookup(name); s == nil {
		leave()
		return nil, nil, ErrNone
	}
	return s, leave, nil
}

// Visit is Await for a request that only follows another: it starts nothing. The stream
// is nil, and leave too, if there is none of that name.
func (h *Hub) Visit(name string) (s *Stream, leave func()) {
	leave = func() {}
	if h.demand != nil {
		leave = h.demand.Visit(name)
	}
	if s = h.Lookup(name); s == nil {
		leave()
		return nil, nil
	}
	return s, leave
}

// Begun reports whether viewers have had something to see of the stream.
func (s *Stream) Begun() bool { return s.ring.total.Load() > 0 }

// Forget ends the stream of that name at once, without its grace, unless somebody
// publishes it, and deletes its chunks: nobody watches it any more. If it is published
// again its numbers go on where the index has them.
func (h *Hub) Forget(ctx context.Context, name string) {
	h.mu.Lock()
	s := h.streams[name]
	if s == nil || s.publisher() != nil {
		h.mu.Unlock()
		return
	}
	s.finish()
	h.remove(s, time.Time{})
	h.mu.Unlock()
	h.cfg.Log.Info("stream ended", "stream", name, "waited", time.Duration(0))
	s.deleteExpired(ctx, time.Now().Add(h.cfg.Window+time.Minute)) // what expires expires earlier
}

// finish tells viewers that nothing follows.
func (s *Stream) finish() {
	s.change(func(e *Edge) { e.Ended = true })
	s.ring.clear(true)
}

// remove takes a stream that has ended off the map; its objects expire at a time. mu is
// held.
func (h *Hub) remove(s *Stream, at time.Time) {
	delete(h.streams, s.name)
	s.expireAll(at)
	s.memory.forget()
	h.ended = append(h.ended, s)
}
