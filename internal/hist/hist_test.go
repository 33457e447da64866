package hist

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Quantiles are within 1/64 of those of the sorted list, over twelve decades.
func TestQuantile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var h Histogram
	var all []time.Duration
	var sum time.Duration
	for range 20_000 {
		d := time.Duration(math.Exp(r.Float64() * math.Log(1e12)))
		h.Record(d)
		all = append(all, d)
		sum += d
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(int(math.Ceil(q*float64(len(all)))), 1)-1]
		got := h.Quantile(q)
		if diff := (got - want).Abs(); diff > want/64 {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
	if h.Count() != 20_000 || h.Sum() != sum || h.Max() != all[len(all)-1] {
		t.Errorf("count %d, sum %v, max %v", h.Count(), h.Sum(), h.Max())
	}
}

// Every duration has a bucket, and the buckets are in order without a gap.
func TestIndex(t *testing.T) {
	last := -1
	for shift := 2; shift < 63; shift++ { // 3, 4, 5; 7, 8, 9; ...
		for _, v := range []uint64{1<<shift - 1, 1 << shift, 1<<shift + 1} {
			i := index(v)
			if i < last || i >= buckets {
				t.Fatalf("%d: bucket %d after %d of %d", v, i, last, buckets)
			}
			last = i
			if m := middle(i); index(uint64(m)) != i {
				t.Errorf("the middle of bucket %d, %d, lies in bucket %d", i, m, index(uint64(m)))
			}
		}
	}
	if i := index(math.MaxInt64); i != buckets-1 {
		t.Errorf("the longest duration is in bucket %d of %d", i, buckets)
	}
	for i := range buckets - 1 {
		if middle(i) >= middle(i+1) {
			t.Fatalf("bucket %d", i)
		}
	}
}

func TestEmptyAndNegative(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 {
		t.Error("an empty histogram knows something")
	}
	h.Record(-5)
	if h.Quantile(0.5) != 0 || h.Count() != 1 || h.Sum() != 0 {
		t.Errorf("%v %d", h.Quantile(0.5), h.Count())
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Record(12345) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
