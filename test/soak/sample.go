package soak

import (
	"context"
	"fmt"
	"time"

	"github.com/cleave-video/cleave/test/child"
)

// Sample is what the server said of itself.
type Sample struct {
	At     time.Duration
	Values [numSeries]float64
}

// Series of a Sample.
const (
	resident = iota
	heap
	slabs
	goroutines
	files
	viewers
	waiting
	names
	cpu
	numSeries
)

// series says how each is called in the metrics and on the page.
var series = [numSeries]struct {
	metric, title, unit string
	scale               float64 // of the unit
	// flat series must not grow: by a tenth and some more, in units. The others are what
	// clients make of them.
	flat bool
	some float64
	// rest is what may be left when all have gone, beyond what was before; -1: any.
	rest float64
}{
	resident:   {"process_resident_memory_bytes", "resident memory", "MiB", 1 << 20, true, 12, -1},
	heap:       {"go_memstats_heap_inuse_bytes", "Go heap in use", "MiB", 1 << 20, true, 6, -1},
	slabs:      {"cleave_memory_in_use_bytes", "payload in slabs", "MiB", 1 << 20, true, 6, 0},
	goroutines: {"go_goroutines", "goroutines", "", 1, true, 25, 3},
	files:      {"process_open_fds", "file descriptors", "", 1, true, 15, 3},
	viewers:    {"cleave_viewers", "viewers of packets", "", 1, false, 0, 0},
	waiting:    {"cleave_waiting_requests", "requests that wait", "", 1, false, 0, 0},
	names:      {"cleave_streams", "streams", "", 1, false, 0, 0},
	cpu:        {"process_cpu_seconds_total", "CPU time", "s", 1, false, 0, -1},
}

// sample reads the metrics.
func (r *rig) sample(ctx context.Context, began time.Time) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	m, err := child.Metrics(ctx, r.server.Admin)
	s := Sample{At: time.Since(began)}
	for i := range series {
		s.Values[i] = m[series[i].metric] / series[i].scale
	}
	return s, err
}

// String is one line of it.
func (s Sample) String() string {
	v := &s.Values
	return fmt.Sprintf("%.0f MiB resident, %.0f MiB slabs, %.0f goroutines, %.0f files, %.0f streams, %.0f viewers, %.0f waiting",
		v[resident], v[slabs], v[goroutines], v[files], v[names], v[viewers], v[waiting])
}
