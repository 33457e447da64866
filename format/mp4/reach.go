package mp4

import (
	"time"

	"github.com/cleave-video/cleave/av"
)

// reach bounds the times of a track, in its ticks: sums of a few of them, and of one
// and the whole seconds that another track is before zero, are sure to fit 64 bits in any
// timescale, and so does their length in nanoseconds. Counted from 1970, or from 1900,
// which live streams do in ticks of 100 ns, too, it holds those of today.
type reach struct{ from, to int64 }

const (
	farthest   time.Duration = 1 << 62 // 146 years
	earliest   time.Duration = -1 << 60
	reachTicks               = 1 << 60
)

func reachOf(tb av.Timebase) reach {
	return reach{max(tb.Ticks(earliest), -reachTicks), min(tb.Ticks(farthest), reachTicks)}
}

func (r reach) has(t int64) bool { return t >= r.from && t <= r.to }
