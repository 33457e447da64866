package probe

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// tickStep returns the distance of the marks of a time axis of that length: round,
// and at most some 14 of them.
func tickStep(length float64) float64 {
	for _, s := range [...]float64{
		0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5,
		1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200,
	} {
		if length/s <= 14 {
			return s
		}
	}
	return math.Ceil(length/14/86400) * 86400
}

func ticksOf(from, to, step float64) []float64 {
	var out []float64
	for i := math.Ceil(from/step - 1e-9); i*step <= to+step*1e-9 && len(out) < 32; i++ {
		out = append(out, i*step)
	}
	return out
}

// tickLabel writes a time as short as the axis allows: "0.5 s", "1:30", "1:02:30".
func tickLabel(t, step float64) string {
	digits := 0
	for s := step; s < 0.9999999 && digits < 4; s *= 10 {
		digits++
	}
	sign := ""
	if t < -step/2 {
		sign, t = "−", -t
	}
	t = math.Abs(t)
	if t < 60 && step < 60 {
		return fmt.Sprintf("%s%.*f s", sign, digits, t)
	}
	whole := int64(t + step*1e-6)
	h, m, s := whole/3600, whole/60%60, float64(whole%60)+max(t-float64(whole), 0)
	w := 2
	if digits > 0 {
		w = 3 + digits
	}
	if h > 0 {
		return fmt.Sprintf("%s%d:%02d:%0*.*f", sign, h, m, w, digits, s)
	}
	return fmt.Sprintf("%s%d:%0*.*f", sign, m, w, digits, s)
}

// roundValues returns the values 1, 2 and 5 times powers of ten below most, the
// largest first.
func roundValues(most float64) []float64 {
	if most < 1 {
		return nil
	}
	var out []float64
	for p := math.Pow(10, math.Floor(math.Log10(most))); p >= 1; p /= 10 {
		for _, f := range [...]float64{5, 2, 1} {
			if v := f * p; v <= most {
				out = append(out, v)
			}
		}
	}
	return out
}

// roundSizes returns the powers of two up to most, the largest first.
func roundSizes(most float64) []float64 {
	var out []float64
	for v := math.Exp2(math.Floor(math.Log2(max(most, 0.5)))); v >= 1; v /= 2 {
		out = append(out, v)
	}
	return out
}

// fit shortens s in its middle to some columns; wide letters count twice.
func fit(s string, columns int) string {
	s = clean(s)
	if columnsOf(s) <= columns {
		return s
	}
	head, tail := s, s
	for columnsOf(head) > columns/2 {
		_, n := utf8.DecodeLastRuneInString(head)
		head = head[:len(head)-n]
	}
	for columnsOf(tail) > columns-columns/2-1 {
		_, n := utf8.DecodeRuneInString(tail)
		tail = tail[n:]
	}
	return head + "…" + tail
}

func columnsOf(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r >= 0x1100 {
			n++
		}
	}
	return n
}
