package probe

import (
	"time"

	"github.com/cleave-video/cleave/ingest/file"
)

// Timing is where the time of a reading went.
type Timing struct {
	Packets uint64  `json:"packets"`
	Bytes   int64   `json:"bytes"` // of payload
	Seconds float64 `json:"seconds"`
	Steps   []Step  `json:"steps"`
}

// Step is one step of the reading.
type Step struct {
	Name    string  `json:"step"`  // "refill", "parse", "fix-up" or "output"
	Count   uint64  `json:"count"` // of reads for refill, of packets for the others
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"` // all of it
	P50     int64   `json:"p50_ns"`  // of one read or packet
	P99     int64   `json:"p99_ns"`
	Max     int64   `json:"max_ns"`
}

// timing ends the measurement t; nil if there is none.
func timing(t *file.Timing) *Timing {
	if t == nil {
		return nil
	}
	out := &Timing{}
	total := time.Duration(0)
	for _, s := range t.Steps() {
		total += s.Total
		out.Steps = append(out.Steps, Step{
			Name: s.Step.String(), Count: s.Count, Bytes: s.Bytes, Seconds: s.Total.Seconds(),
			P50: int64(s.P50), P99: int64(s.P99), Max: int64(s.Max),
		})
		if s.Step == file.Parse {
			out.Packets, out.Bytes = s.Count, s.Bytes
		}
	}
	out.Seconds = total.Seconds()
	return out
}
