package httpio

import (
	"sync/atomic"
	"time"
)

// DefaultDeadline is how long a write may take before the client is given up.
const DefaultDeadline = 5 * time.Second

// Route is the answers of one kind: how they are written, and what is counted of them.
// It is safe for concurrent use.
type Route struct {
	name     string
	deadline time.Duration
	strategy atomic.Uint32

	states  [states]atomic.Int64
	ended   [2]atomic.Int64
	writes  [causes]atomic.Int64
	reasons [reasons]atomic.Int64
	bytes   atomic.Int64
	held    atomic.Int64
}

// NewRoute returns a Route. A write that takes longer than deadline fails; 0 is
// DefaultDeadline.
func NewRoute(name string, s Strategy, deadline time.Duration) *Route {
	if deadline <= 0 {
		deadline = DefaultDeadline
	}
	r := &Route{name: name, deadline: deadline}
	r.SetStrategy(s)
	return r
}

// Name is what the route is called in metrics.
func (r *Route) Name() string { return r.name }

// Deadline is how long a write may take.
func (r *Route) Deadline() time.Duration { return r.deadline }

// Strategy is the one in use.
func (r *Route) Strategy() Strategy { return Strategy(r.strategy.Load()) }

// SetStrategy changes it, also for answers under way, from their next write on.
func (r *Route) SetStrategy(s Strategy) { r.strategy.Store(uint32(s)) }

// Cause is why bytes leave.
type Cause uint8

const (
	AtOnce Cause = iota // they are not to wait
	BySize              // the batch is full
	ByTime              // it has waited long enough
	AtEnd               // the response ends
	causes              // how many there are
)

func (c Cause) String() string { return [...]string{"at once", "size", "time", "end"}[c] }

// Causes returns all there are.
func Causes() []Cause { return []Cause{AtOnce, BySize, ByTime, AtEnd} }

// RouteStats is what a Route has counted.
type RouteStats struct {
	Name     string
	Strategy Strategy
	In       [states]int64  // responses that are in each state now; of Closed: ever
	Whole    int64          // responses that were ended properly
	Cut      int64          // that were cut off
	Writes   [causes]int64  // to connections, by what caused them
	Changes  [reasons]int64 // changes of adaptive batches
	Bytes    int64          // of bodies, that left
	Held     int64          // that wait for more now
}

// Stats returns what was counted.
func (r *Route) Stats() RouteStats {
	s := RouteStats{
		Name: r.name, Strategy: r.Strategy(), Cut: r.ended[0].Load(), Whole: r.ended[1].Load(),
		Bytes: r.bytes.Load(), Held: r.held.Load(),
	}
	for i := range s.In {
		s.In[i] = r.states[i].Load()
	}
	for i := range s.Writes {
		s.Writes[i] = r.writes[i].Load()
	}
	for i := range s.Changes {
		s.Changes[i] = r.reasons[i].Load()
	}
	return s
}
