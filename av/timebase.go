package av

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// Timebase is the length of a tick, Num/Den seconds. Both are positive in a
// valid one. A 90 kHz clock is {1, 90000}; 23.976 frames a second {1001, 24000}.
type Timebase struct{ Num, Den uint32 }

// The timebases of clocks that are fixed by a standard.
var (
	Millisecond = Timebase{1, 1000}
	Clock90k    = Timebase{1, 90000}
	Nanosecond  = Timebase{1, 1000000000}
)

// Valid reports whether both parts are positive.
func (t Timebase) Valid() bool { return t.Num != 0 && t.Den != 0 }

func (t Timebase) String() string { return fmt.Sprintf("%d/%d", t.Num, t.Den) }

// Timescale returns the ISO BMFF timescale that keeps every tick of t exact, and
// by what to multiply ticks.
func (t Timebase) Timescale() (scale uint32, factor int64) { return t.Den, int64(t.Num) }

// Rescale converts ticks of t into ticks of to, exactly where possible, else to
// the nearest, halves away from zero. What does not fit saturates.
func (t Timebase) Rescale(ticks int64, to Timebase) int64 {
	if t == to {
		return ticks
	}
	return muldiv(ticks, uint64(t.Num)*uint64(to.Den), uint64(t.Den)*uint64(to.Num), nearest)
}

// RescaleFloor is Rescale that rounds towards minus infinity.
func (t Timebase) RescaleFloor(ticks int64, to Timebase) int64 {
	if t == to {
		return ticks
	}
	return muldiv(ticks, uint64(t.Num)*uint64(to.Den), uint64(t.Den)*uint64(to.Num), floor)
}

// Compare orders a (ticks of t) and b (ticks of u) exactly: -1, 0 or 1.
func (t Timebase) Compare(a int64, u Timebase, b int64) int {
	if t == u {
		return cmp(a, b)
	}
	if (a < 0) != (b < 0) {
		return cmp(a, b)
	}
	ahi, alo := bits.Mul64(abs(a), uint64(t.Num)*uint64(u.Den))
	bhi, blo := bits.Mul64(abs(b), uint64(u.Num)*uint64(t.Den))
	c := cmp(ahi, bhi)
	if c == 0 {
		c = cmp(alo, blo)
	}
	if a < 0 {
		return -c
	}
	return c
}

// Duration converts ticks to wall-clock time, rounded to the nanosecond. Use it
// to show a time, never to compute one.
func (t Timebase) Duration(ticks int64) time.Duration {
	return time.Duration(t.Rescale(ticks, Nanosecond))
}

// Ticks converts a duration to the nearest tick.
func (t Timebase) Ticks(d time.Duration) int64 { return Nanosecond.Rescale(int64(d), t) }

// Seconds converts ticks to seconds, for showing only.
func (t Timebase) Seconds(ticks int64) float64 {
	return float64(ticks) * float64(t.Num) / float64(t.Den)
}

type rounding uint8

const (
	nearest rounding = iota
	floor
)

// muldiv returns v*mul/div by a 128-bit product.
func muldiv(v int64, mul, div uint64, r rounding) int64 {
	if div == 0 {
		return 0
	}
	hi, lo := bits.Mul64(abs(v), mul)
	up := div / 2 // nearest, halves away from zero
	if r == floor {
		up = 0
		if v < 0 {
			up = div - 1
		}
	}
	lo, carry := bits.Add64(lo, up, 0)
	hi += carry
	if hi >= div {
		return saturate(v < 0)
	}
	q, _ := bits.Div64(hi, lo, div)
	if q > math.MaxInt64 {
		return saturate(v < 0)
	}
	if v < 0 {
		return -int64(q)
	}
	return int64(q)
}

func saturate(negative bool) int64 {
	if negative {
		return math.MinInt64
	}
	return math.MaxInt64
}

func abs(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

func cmp[T int64 | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Rational is a fraction such as a frame rate or a sample aspect ratio; Den 0
// means unknown.
type Rational struct{ Num, Den uint32 }

func (r Rational) String() string { return fmt.Sprintf("%d/%d", r.Num, r.Den) }

// Float returns the value for showing, 0 if unknown.
func (r Rational) Float() float64 {
	if r.Den == 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

// Reduced returns the fraction in lowest terms.
func (r Rational) Reduced() Rational {
	a, b := r.Num, r.Den
	for b != 0 {
		a, b = b, a%b
	}
	if a == 0 {
		return r
	}
	return Rational{r.Num / a, r.Den / a}
}
