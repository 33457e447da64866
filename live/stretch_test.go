package live

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
)

// A stretch goes on until a discontinuity, other tracks, or until its clock is a second
// away from the dates.
func TestStretch(t *testing.T) {
	tracks := []av.Track{{Kind: av.Video, Timebase: av.Timebase{Num: 1001, Den: 24000}}}
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := &publisher{offset: 10}
	at := func(seq uint64, frames int64, late time.Duration) *opened {
		c := &chunk.Chunk{Tracks: tracks, Seq: seq}
		c.ID.Start = frames
		o := &opened{c: c, zero: zero.Add(late)}
		return o
	}
	put := func(o *opened) *Stretch {
		p.stretchTo(o, tracks[0].Timebase.Duration(o.c.ID.Start)+10*time.Second)
		return o.in
	}
	first := put(at(4, 48, 0))
	if first.First != 4 || first.Timescale != 24000 || first.Start != 48*1001+240000 || !first.Date.Equal(zero.Add(12002*time.Millisecond)) {
		t.Errorf("%+v", first)
	}
	if put(at(5, 96, 999*time.Millisecond)) != first || put(at(6, 144, -999*time.Millisecond)) != first {
		t.Error("it did not go on")
	}
	away := put(at(7, 192, 1500*time.Millisecond))
	if away == first || away.First != 7 {
		t.Errorf("1.5 s away: %+v", away)
	}
	broken := at(8, 240, 1500*time.Millisecond)
	broken.c.Discont = true
	if x := put(broken); x == away || x.First != 8 {
		t.Errorf("a discontinuity: %+v", x)
	}
	other := at(9, 288, 1500*time.Millisecond)
	other.first = true
	if x := put(other); x.First != 9 {
		t.Errorf("other tracks: %+v", x)
	}
}
