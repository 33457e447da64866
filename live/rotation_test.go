package live

import (
	"slices"
	"testing"
	"time"
)

// changes opens chunks, whose lengths are given in seconds, with keys that are there
// when they are due but for the chunks in late, and returns which had new ones.
func changes(p plan, lengths []float64, late ...uint64) (out []uint64) {
	at := time.Unix(1000, 0)
	for chunk := range uint64(len(lengths)) {
		if p.due(chunk) && !slices.Contains(late, chunk) {
			p.take(chunk, at)
			out = append(out, chunk)
		}
		p.open(chunk, at)
		at = at.Add(time.Duration(lengths[chunk] * float64(time.Second)))
	}
	return out
}

func TestPlan(t *testing.T) {
	even := slices.Repeat([]float64{2}, 16)
	for name, test := range map[string]struct {
		p       plan
		lengths []float64
		late    []uint64
		want    []uint64
	}{
		"each":                 {plan{chunks: 1}, even[:6], nil, []uint64{2, 3, 4, 5}},
		"every second":         {plan{chunks: 2}, even[:8], nil, []uint64{2, 4, 6}},
		"every fifth":          {plan{chunks: 5}, even, nil, []uint64{5, 10, 15}},
		"one is late":          {plan{chunks: 5}, even, []uint64{5, 6}, []uint64{7, 12}},
		"a whole period":       {plan{chunks: 3}, even, []uint64{3, 4, 5, 6, 7}, []uint64{8, 11, 14}},
		"6 s":                  {plan{every: 6 * time.Second}, even[:10], nil, []uint64{3, 6, 9}},
		"5 s, on average":      {plan{every: 5 * time.Second}, even, nil, []uint64{3, 5, 8, 10, 13, 15}},
		"shorter than chunks":  {plan{every: time.Second}, even[:6], nil, []uint64{3, 4, 5}},
		"a chunk that is long": {plan{every: 6 * time.Second}, []float64{2, 2, 30, 2, 2, 2, 2, 2, 2}, nil, []uint64{3, 5, 8}},
	} {
		if got := changes(test.p, test.lengths, test.late...); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// TestPlanBounds: however often keys fail to come, no more than two changes are planned;
// a clock that is set back changes nothing.
func TestPlanBounds(t *testing.T) {
	p := plan{every: time.Second}
	at := time.Unix(1000, 0)
	for chunk := range uint64(100) {
		p.open(chunk, at)
		at = at.Add(2 * time.Second)
		if chunk == 50 {
			at = at.Add(-time.Hour)
		}
	}
	if len(p.planned) != maxPlanned {
		t.Errorf("%d are planned", len(p.planned))
	}
}
