package cut

import (
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// TestManyPeriods: a manifest takes time in proportion to its segments, and each period has
// those of its own.
func TestManyPeriods(t *testing.T) {
	const periods = 100_000
	r := &run{period: periods - 1}
	for _, kind := range []av.Kind{av.Video, av.Audio} {
		rend := &rendition{name: kind.String() + "0", kind: kind, scale: 25, td: 1, current: []av.Track{{Kind: kind}}, inits: []string{"init.mp4"}, headed: make([]codec.Info, 1)}
		for i := range int64(2 * periods) {
			n := i / 2
			if kind == av.Audio && n%5 == 0 {
				continue // it has nothing in some
			}
			rend.segs = append(rend.segs, segment{start: i, end: i + 1, size: 100, period: int32(n), discont: i%2 == 0})
		}
		rend.peak, rend.average = rend.rates()
		r.rends = append(r.rends, rend)
	}
	p := r.presentation()
	if len(p.Periods) != periods {
		t.Fatalf("%d periods", len(p.Periods))
	}
	for n := range p.Periods {
		x := &p.Periods[n]
		sets := 2
		if n%5 == 0 {
			sets = 1
		}
		if len(x.Sets) != sets {
			t.Fatalf("period %d has %d sets", n, len(x.Sets))
		}
		for _, set := range x.Sets {
			if l := set.Representation.Segments; len(l) != 2 || l[0].Start != int64(2*n) || set.Representation.Bandwidth != r.rends[0].peak {
				t.Fatalf("period %d: %+v", n, set)
			}
		}
	}
}
