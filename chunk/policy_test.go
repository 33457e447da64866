package chunk_test

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/chunk/policytest"
)

func TestPolicies(t *testing.T) {
	for name, p := range map[string]chunk.Policy{
		"keyframe":         chunk.Keyframe{Target: 2 * time.Second},
		"keyframe, TD 2 s": chunk.Keyframe{Target: 2 * time.Second, TD: 2 * time.Second},
		"fixed":            chunk.Fixed{Target: time.Second},
		"memory":           chunk.Memory{MaxBytes: 64 << 10},
		"adaptive_gop":     chunk.AdaptiveGOP{MinGOP: 12, MaxGOP: 48},
		"adaptive_gop, s":  chunk.AdaptiveGOP{MinGOP: 1, MaxGOP: 1 << 16, MinDur: time.Second, MaxDur: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) { policytest.Run(t, p) })
	}
}

// TestFixedSliver: the first chunk of a timeline is not cut where it would be a
// sliver; every other one begins at a wall and is as long as the target.
func TestFixedSliver(t *testing.T) {
	tb := av.Timebase{Num: 1, Den: 90000}
	p := chunk.Fixed{Target: 2 * time.Second}
	for _, c := range []struct {
		start, pts int64
		want       chunk.Reason
	}{
		{179000, 180000, chunk.None}, // 11 ms before the wall
		{179000, 359000, chunk.None},
		{179000, 360000, chunk.Wall},
		{130000, 180000, chunk.Wall}, // more than a quarter of the target
		{180000, 360000, chunk.Wall},
	} {
		s := chunk.Span{Timebase: tb, Start: c.start, Frames: 1, Safe: true}
		if got := p.Cut(s, chunk.Head{Lead: true, PTS: c.pts, Dur: 1000}); got != c.want {
			t.Errorf("from %d at %d: %v, want %v", c.start, c.pts, got, c.want)
		}
	}
}
