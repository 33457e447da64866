package hls

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
)

// What is hinted is what follows, if segments go on as those before did; one that has
// become longer than they were is hinted on.
func TestHint(t *testing.T) {
	const part = 500 // ticks of 1 ms
	segment := func(msn int64, parts, dur int) live.Segment {
		return live.Segment{MSN: msn, Timescale: 1000, Dur: int64(dur), Parts: make([]live.Part, parts), Listed: parts}
	}
	for _, test := range []struct {
		name   string
		before []int // durations
		parts  int   // of the open segment; negative: there is none
		dur    int
		want   string
	}{
		{"nothing yet", nil, -1, 0, ""},
		{"between segments", []int{2000, 2000}, -1, 0, "0-2.0.m4s"},
		{"first segment", nil, 4, 2000, "0-0.4.m4s"},
		{"within", []int{2000, 2000}, 2, 1000, "0-2.2.m4s"},
		{"before a short last part", []int{2300, 2300}, 4, 2000, "0-2.4.m4s"},
		{"as long as those before", []int{2000, 2000}, 4, 2000, "0-3.0.m4s"},
		{"a little longer", []int{2000, 2000}, 4, 2100, "0-3.0.m4s"},
		{"a part longer", []int{2000, 2000}, 5, 2500, "0-2.5.m4s"},
		{"much longer", []int{2000, 2000}, 8, 4000, "0-2.8.m4s"},
		{"those before differ", []int{2000, 1000}, 2, 1000, "0-2.2.m4s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, r := &live.Edge{PartTarget: part * time.Millisecond}, &live.Rendition{}
			for i, d := range test.before {
				r.Segments = append(r.Segments, segment(int64(i), d/part, d))
			}
			if test.parts >= 0 {
				o := segment(int64(len(test.before)), test.parts, test.dur)
				r.Open = &o
			}
			if got := hint(e, r); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
