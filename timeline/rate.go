package timeline

import "github.com/cleave-video/cleave/av"

// Rate watches the decode times of a video track. The zero value is ready.
type Rate struct {
	n           int64 // distances
	first, last int64
	min, max    int64
	broken      bool
}

// Break says that the next time does not follow on: pictures are missing before it.
func (r *Rate) Break() { r.broken = true }

// Add takes the next decode time, in ticks.
func (r *Rate) Add(dts int64) {
	if r.broken && r.n > 0 {
		r.first, r.last, r.broken = r.first+dts-r.last, dts, false
		return
	}
	r.broken = false
	if r.n++; r.n == 1 {
		r.first, r.last = dts, dts
		return
	}
	d := dts - r.last
	if r.n == 2 {
		r.min, r.max = d, d
	}
	r.min, r.max, r.last = min(r.min, d), max(r.max, d), dts
}

// FrameRate is what Rate observed.
type FrameRate struct {
	av.Rational      // frames a second; Den 0 if fewer than two frames came
	CFR         bool // the distances agree within one tick
}

// standard rates, tried in this order where ticks are too coarse to tell.
var standard = [...]av.Rational{
	{Num: 25, Den: 1},
	{Num: 30, Den: 1},
	{Num: 24, Den: 1},
	{Num: 50, Den: 1},
	{Num: 60, Den: 1},
	{Num: 30000, Den: 1001},
	{Num: 24000, Den: 1001},
	{Num: 60000, Den: 1001},
	{Num: 15, Den: 1},
	{Num: 20, Den: 1},
	{Num: 12, Den: 1},
	{Num: 10, Den: 1},
	{Num: 48, Den: 1},
	{Num: 100, Den: 1},
	{Num: 120, Den: 1},
	{Num: 120000, Den: 1001},
	{Num: 15000, Den: 1001},
	{Num: 25, Den: 2},
}

// Verdict returns the frame rate: constant only if the observed distances agree
// within one tick, whatever a header says; else the average. Times are never
// changed by it.
func (r *Rate) Verdict(tb av.Timebase) FrameRate {
	n := r.n - 1
	if n < 1 || r.last <= r.first || !tb.Valid() {
		return FrameRate{}
	}
	v := FrameRate{CFR: r.max-r.min <= 1 && r.min > 0}
	total := r.last - r.first
	if v.CFR && r.min == r.max {
		v.Rational = reduce(uint64(tb.Den), uint64(tb.Num)*uint64(r.min))
		return v
	}
	if v.CFR {
		for _, s := range standard {
			// n frames of s last n*Den/Num seconds.
			want := av.Timebase{Num: s.Den, Den: s.Num}.Rescale(n, tb)
			if d := want - total; d >= -1 && d <= 1 {
				v.Rational = s
				return v
			}
		}
	}
	v.Rational = reduce(uint64(n)*uint64(tb.Den), uint64(total)*uint64(tb.Num))
	return v
}

// reduce returns a/b in lowest terms, coarser if need be to fit.
func reduce(a, b uint64) av.Rational {
	x, y := a, b
	for y != 0 {
		x, y = y, x%y
	}
	if x > 0 {
		a, b = a/x, b/x
	}
	for a > 1<<31 || b > 1<<31 {
		a, b = a/2, b/2
	}
	return av.Rational{Num: uint32(a), Den: uint32(b)}
}
