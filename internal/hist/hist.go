// Package hist counts durations in a histogram of fixed size.
package hist

import (
	"math"
	"math/bits"
	"time"
)

// Each power of two is cut into 1<<subBits parts of equal width, so that a quantile
// is within 1/64 of what was recorded; below 64 ns it is exact.
const (
	subBits = 5
	sub     = 1 << subBits
	buckets = (63-subBits)*sub + sub
)

// Histogram counts durations; negative ones count as 0. The zero value is empty.
// Record does not allocate. Not safe for concurrent use.
type Histogram struct {
	counts [buckets]uint64
	n      uint64
	sum    time.Duration
	max    time.Duration
}

// index returns the bucket of v: v itself up to 2*sub, then sub for each octave.
func index(v uint64) int {
	e := max(bits.Len64(v)-subBits-1, 0)
	return e*sub + int(v>>e)
}

// middle returns the middle of the durations that bucket i counts.
func middle(i int) time.Duration {
	if i < 2*sub {
		return time.Duration(i)
	}
	e := i/sub - 1
	return time.Duration(uint64(i-e*sub)<<e + 1<<e/2)
}

// Record counts d.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[index(uint64(d))]++
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// Count returns how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.n }

// Sum returns their sum, exactly.
func (h *Histogram) Sum() time.Duration { return h.sum }

// Max returns the longest, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that the fraction q of those recorded does not
// exceed, to 1/64; 0 if none was.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := min(uint64(max(math.Ceil(q*float64(h.n)), 1)), h.n) - 1 // nearest rank
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += c; seen > rank {
			return min(middle(i), h.max)
		}
	}
	return h.max
}
