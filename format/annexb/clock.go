package annexb

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/h264"
)

// clock turns half frames into ticks.
type clock struct {
	tb       av.Timebase
	perFrame int64 // ticks, 1 or 2
	dts, pts anchor
}

// anchor is a time in half frames and in ticks.
type anchor struct{ half, ticks int64 }

// defaultRate holds where the parameter sets state none.
var defaultRate = av.Rational{Num: 25, Den: 1}

// maxRate is the most frames a second that are believed; the least is a frame in
// 10 seconds.
const (
	maxRate   = 1000
	maxPeriod = 10
)

// rate returns r if it can be true.
func rate(r av.Rational) av.Rational {
	num, den := uint64(r.Num), uint64(r.Den)
	if num == 0 || den == 0 || num > maxRate*den || den > maxPeriod*num || num > 1<<31-1 {
		return defaultRate
	}
	return r
}

// fields reports whether the stream may hold fields in pictures of their own.
// H.265 counts them as frames.
func fields(t *av.Track) bool {
	if t.Codec != av.H264 {
		return false
	}
	c, err := h264.ParseConfig(t.Config)
	if err != nil {
		return false
	}
	for _, u := range c.SPS {
		if s, err := h264.ParseSPS(u); err == nil && !s.FrameMBSOnly {
			return true
		}
	}
	return false
}

// set changes the rate before p. Time goes on: p is decoded where the picture
// before it ends, and shown where that ends, or later if it has to wait longer.
func (c *clock) set(r av.Rational, fields bool, p *picture) {
	n := clock{tb: av.Timebase{Num: r.Den, Den: r.Num}, perFrame: 1}
	if fields {
		n.tb.Den *= 2
		n.perFrame = 2
	}
	n.dts.half, n.pts.half = p.dts, p.pts
	if c.tb.Valid() {
		n.dts.ticks = c.tb.Rescale(c.decoded(p.dts), n.tb)
		n.pts.ticks = c.tb.Rescale(c.shown(p.pts), n.tb)
	}
	n.pts.ticks = max(n.pts.ticks, n.dts.ticks+n.ticks(p.pts-p.dts))
	*c = n
}

func (c *clock) ticks(half int64) int64 { return half * c.perFrame / frameTime }

// decoded returns the DTS of a picture.
func (c *clock) decoded(half int64) int64 { return c.dts.ticks + c.ticks(half-c.dts.half) }

// shown returns the PTS of a picture.
func (c *clock) shown(half int64) int64 { return c.pts.ticks + c.ticks(half-c.pts.half) }
