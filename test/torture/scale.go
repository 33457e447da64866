package torture

import (
	"context"
	"fmt"

	"github.com/cleave-video/cleave/test/child"
)

// Memory is what a server says of itself.
type Memory struct {
	What                string
	Before, Peak, After int64   // bytes resident
	Goroutines          [2]int  // before and after
	Fault               string  // empty: none
	limit               float64 // of payload
}

// scale weighs a server between trials.
type scale struct {
	r             *rig
	what, address string
	seen          bool
	m             Memory
}

func (r *rig) resident(ctx context.Context) (int64, bool) {
	if r.Admin == "" {
		return 0, false
	}
	m, err := child.Metrics(ctx, r.Admin)
	v, ok := m["process_resident_memory_bytes"]
	return int64(v), err == nil && ok
}

func (r *rig) weigh(what, address string) *scale {
	return &scale{r: r, what: what, address: address, m: Memory{What: what}}
}

// look weighs once. A server that is too busy to answer is weighed the next time.
func (s *scale) look(ctx context.Context) {
	if s.address == "" {
		return
	}
	m, err := child.Metrics(ctx, s.address)
	if err != nil {
		return
	}
	now := int64(m["process_resident_memory_bytes"])
	if !s.seen {
		s.seen = true
		s.m.Before, s.m.Goroutines[0], s.m.limit = now, int(m["go_goroutines"]), m["cleave_memory_limit_bytes"]
	}
	s.m.Peak = max(s.m.Peak, now)
	s.m.After, s.m.Goroutines[1] = now, int(m["go_goroutines"])
}

// end says what became of it. Beside its budget of payload a server may need as much
// again, for its own.
func (s *scale) end(ctx context.Context) Memory {
	s.look(ctx)
	if most := int64(2 * s.m.limit); most > 0 && s.m.Peak > most {
		s.m.Fault = fmt.Sprintf("%d MiB resident, with a budget of %.0f MiB", s.m.Peak>>20, s.m.limit/(1<<20))
	}
	if _, err := child.Metrics(ctx, s.address); err != nil {
		s.m.Fault = "it does not answer any more: " + err.Error()
	}
	return s.m
}
