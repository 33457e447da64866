package annexb

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/h264"
)

// clock turns half frames into ticks.
type clock struct {
	tb       av.Timebase
	perFrame int64 // ticks, 1 or 2
	from     int64 // half frames at base
	base     int64 // ticks
}

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

// set changes the rate at a time in half frames; time goes on.
func (c *clock) set(r av.Rational, fields bool, at int64) {
	tb, perFrame := av.Timebase{Num: r.Den, Den: r.Num}, int64(1)
	if fields {
		tb.Den *= 2
		perFrame = 2
	}
	base := int64(0)
	if c.tb.Valid() {
		base = c.tb.Rescale(c.at(at), tb)
	}
	*c = clock{tb: tb, perFrame: perFrame, from: at, base: base}
}

// at returns the ticks of a time in half frames.
func (c *clock) at(half int64) int64 { return c.base + (half-c.from)*c.perFrame/frameTime }
