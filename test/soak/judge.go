package soak

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Verdict is one thing that was judged.
type Verdict struct {
	What, Seen string
	OK         bool
}

// warm is the part of the time after which nothing may grow any more.
const warm = 4

// tenth is by how much of its median a series may grow while it is judged.
const tenth = 0.1

// judge judges. ended is how the server's process ended.
func (r *Report) judge(ended error) {
	for i := range series {
		if series[i].flat {
			r.Verdicts = append(r.Verdicts, r.flat(i))
		}
	}
	most := 0.0
	for i := range r.Samples {
		most = max(most, r.Samples[i].Values[slabs])
	}
	r.Verdicts = append(r.Verdicts,
		Verdict{"payload within its budget of 96 MiB", fmt.Sprintf("%.0f MiB at most", most), most <= 96},
		r.nothingLeft(), r.everybody(), Verdict{"the process ended as it should", fmt.Sprintf("exit: %v", orGood(ended)), ended == nil})
}

func orGood(err error) any {
	if err == nil {
		return "0"
	}
	return err
}

// flat says whether a series grows once it is warm: the slope is the median of those
// between all pairs of samples (Theil and Sen), which peaks do not move. What it makes of
// the whole time must be less than a tenth of the median, and some more.
func (r *Report) flat(i int) Verdict {
	x := &series[i]
	v := Verdict{What: x.title + " does not grow"}
	list := r.Samples[len(r.Samples)/warm:]
	if len(list) < 8 {
		v.Seen = "too few samples"
		return v
	}
	at, values := make([]float64, len(list)), make([]float64, len(list))
	for n := range list {
		at[n], values[n] = list[n].At.Minutes(), list[n].Values[i]
	}
	slope := theilSen(at, values)
	grown := slope * (at[len(at)-1] - at[0])
	middle := median(slices.Clone(values))
	v.OK = grown <= tenth*middle+x.some
	v.Seen = fmt.Sprintf("median %.1f %s, %+.3f a minute: %+.1f over %v", middle, x.unit, slope, grown, (list[len(list)-1].At - list[0].At).Round(time.Second))
	return v
}

// maxPairs bounds the pairs that are looked at: of more samples every k-th.
const maxPairs = 1 << 20

// theilSen returns the median of the slopes between all pairs.
func theilSen(x, y []float64) float64 {
	step := 1
	for n := len(x); (n/step)*(n/step)/2 > maxPairs; {
		step++
	}
	var slopes []float64
	for i := 0; i < len(x); i += step {
		for j := i + step; j < len(x); j += step {
			if d := x[j] - x[i]; d > 0 {
				slopes = append(slopes, (y[j]-y[i])/d)
			}
		}
	}
	return median(slopes)
}

// median sorts v.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	slices.Sort(v)
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// left lists what is there now and was not before.
func left(before, now *Sample) (out []string) {
	for i := range series {
		x := &series[i]
		if more := now.Values[i] - before.Values[i]; x.rest >= 0 && more > x.rest {
			out = append(out, fmt.Sprintf("%.2f %s of %s", more, x.unit, x.title))
		}
	}
	return out
}

func (r *Report) nothingLeft() Verdict {
	list := left(&r.Before, &r.After)
	v := Verdict{What: "nothing is left when all have gone", OK: len(list) == 0}
	v.Seen = fmt.Sprintf("after %v: %.0f goroutines (%.0f before any came), %.0f descriptors (%.0f), %.2f MiB in slabs, %.0f viewers, %.0f waiting, %.0f streams",
		r.Drained.Round(time.Second), r.After.Values[goroutines], r.Before.Values[goroutines], r.After.Values[files], r.Before.Values[files],
		r.After.Values[slabs], r.After.Values[viewers], r.After.Values[waiting], r.After.Values[names])
	return v
}

// everybody says whether each kind of client came, and viewers of each got something: a
// soak without load is none.
func (r *Report) everybody() Verdict {
	v := Verdict{What: "every kind of client came, and was served", OK: true}
	begun, bytes := int64(0), int64(0)
	for _, k := range r.kinds() {
		a := r.Acts[k]
		begun, bytes = begun+a.Begun.Load(), bytes+a.Bytes.Load()
		if a.Begun.Load() == 0 || a.Begun.Load() == a.Refused.Load() || a.reads && a.Bytes.Load() == 0 {
			v.OK = false
			v.Seen += k + ": not; "
		}
	}
	v.Seen += fmt.Sprintf("%d clients, %.1f GB", begun, float64(bytes)/1e9)
	return v
}
