// Package timeline makes one continuous timeline of what an input's clocks say:
// wraps are undone, single wrong stamps are corrected, real jumps become explicit
// discontinuities.
package timeline

import (
	"fmt"
	"math"
	"time"

	"github.com/cleave-video/cleave/av"
)

// Options are the thresholds. 0 is the default.
type Options struct {
	// Forward and Backward are how far from the expected time a packet may be
	// before that is a jump: 10 s and 1 s. A shorter gap is kept as it is: frames
	// are missing, or the rate varies.
	Forward, Backward time.Duration
	// Outlier is how far a single packet must be away to be held back until its
	// successors show whether it was stamped wrongly: 1 h.
	Outlier time.Duration
}

func (o *Options) defaults() {
	if o.Forward <= 0 {
		o.Forward = 10 * time.Second
	}
	if o.Backward <= 0 {
		o.Backward = time.Second
	}
	if o.Outlier <= 0 {
		o.Outlier = time.Hour
	}
}

// Wrapper is implemented by demuxers whose times wrap.
type Wrapper interface {
	// WrapBits returns how many bits the container's times have: 33 in TS, 32 in FLV.
	WrapBits() int
}

// maxHeld is how many packets in a row may be stamped wrongly; one more is a jump.
const maxHeld = 2

// line is the state of one input. It is pure: packets in, packets out.
type line struct {
	o      Options
	bits   int
	tracks []track
	gen    int         // counts the jumps
	off    int64       // of the newest timeline, in ticks of offTB
	offTB  av.Timebase //
	out    []av.Packet // ready, in order
	counts [causes]int // what was repaired
	raw    int64       // newest unwrapped DTS of any track
	rawTB  av.Timebase // and its timebase
	begun  bool        // raw is valid
}

// track is the state of one track. raw times are unwrapped, without offset.
type track struct {
	tb      av.Timebase
	sparse  bool // data: comes when it likes
	gen     int
	off     int64
	seen    bool
	raw     int64 // newest DTS
	last    int64 // newest DTS given out
	end     int64 // newest PTS + Dur given out
	dist    int64 // newest usual distance
	held    []av.Packet
	forward int64 // thresholds in ticks
	back    int64
	outlier int64
}

// cause is something that was repaired.
type cause int

const (
	causeWrap cause = iota
	causeJump
	causeOutlier
	causeEqual
	causeOrder
	causes
)

var causeTexts = [causes]string{
	"times wrapped and were unwrapped",
	"jumps of the timeline became discontinuities",
	"packets were stamped far away and re-stamped",
	"packets had the decode time of the one before and were moved",
	"packets were to be shown before they were decoded; one of both times was corrected",
}

func (l *line) setTracks(tracks []av.Track) {
	old := l.tracks
	l.tracks = make([]track, len(tracks))
	for i := range l.tracks {
		tb := tracks[i].Timebase
		t := &l.tracks[i]
		*t = track{tb: tb, sparse: tracks[i].Kind == av.Data, gen: l.gen, forward: tb.Ticks(l.o.Forward), back: tb.Ticks(l.o.Backward), outlier: tb.Ticks(l.o.Outlier)}
		if l.offTB.Valid() {
			t.off = l.offTB.Rescale(l.off, tb)
		}
		if i < len(old) && old[i].tb == tb && old[i].seen {
			// The same clock may go on; whether it does its next packet shows.
			t.seen, t.raw, t.last, t.end, t.dist, t.gen, t.off = true, old[i].raw, old[i].last, old[i].end, old[i].dist, old[i].gen, old[i].off
		}
	}
}

// push takes a packet; what is ready is in l.out.
func (l *line) push(p av.Packet) {
	t := &l.tracks[p.Track]
	p.DTS, p.PTS = l.unwrap(t, p.DTS, p.PTS)
	if !t.seen {
		l.first(t, p)
		return
	}
	d := t.beside(p.DTS)
	switch {
	case p.Flags&av.Discont == 0 && !t.jump(d):
		l.release(t)
		l.emit(t, p)
	case t.sparse:
		l.adopt(t, p)
		l.emit(t, p)
	case l.gen != t.gen && l.follows(t, p):
		l.release(t)
		l.adopt(t, p)
		p.Flags |= av.Discont
		l.emit(t, p)
	case p.Flags&av.Discont == 0 && abs(d) > t.outlier && len(t.held) < maxHeld:
		t.held = append(t.held, p)
	case t.jump(d):
		l.jump(t, p)
	default: // a loss, but on the old timeline
		if d <= t.back {
			p.Flags &^= av.Discont // no reason to cut a chunk, inside a GOP perhaps
		}
		l.release(t)
		l.emit(t, p)
	}
}

// beside returns by how much dts misses the time expected. Between the newest
// time and that it misses nothing: after a gap the usual distance is the gap's.
func (t *track) beside(dts int64) int64 {
	if d := dts - t.raw; d < 0 {
		return d
	}
	return max(dts-t.raw-t.dist, 0)
}

func (t *track) jump(d int64) bool {
	return !t.sparse && (d > t.forward || d < -t.back) || t.sparse && (d > t.outlier || d < -t.back)
}

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}

// unwrap undoes wraps by the nearest distance to the track's newest time, or
// another track's if it has none.
func (l *line) unwrap(t *track, dts, pts int64) (int64, int64) {
	if l.bits > 0 && l.begun {
		ref := t.raw
		if !t.seen {
			ref = l.rawTB.Rescale(l.raw, t.tb)
		}
		was := dts
		dts = near(dts, ref, l.bits)
		if t.seen && dts != was && dts-was != (t.raw-wrapped(t.raw, l.bits)) {
			l.counts[causeWrap]++
		}
	}
	if l.bits > 0 {
		pts = near(pts, dts, l.bits)
	}
	l.raw, l.rawTB, l.begun = dts, t.tb, true
	return dts, pts
}

// near returns the value that is v modulo 2^bits and nearest to ref.
func near(v, ref int64, bits int) int64 {
	span := int64(1) << bits
	d := (v - ref) & (span - 1)
	if d >= span/2 {
		d -= span
	}
	return ref + d
}

func wrapped(v int64, bits int) int64 { return v & (int64(1)<<bits - 1) }

// first begins a track, on the newest timeline.
func (l *line) first(t *track, p av.Packet) {
	t.gen = l.gen
	if l.offTB.Valid() {
		t.off = l.offTB.Rescale(l.off, t.tb)
	}
	t.seen, t.raw, t.last = true, p.DTS, p.DTS+t.off-1
	l.emit(t, p)
}

// follows reports whether p continues t's output on the newest timeline.
func (l *line) follows(t *track, p av.Packet) bool {
	off := l.offTB.Rescale(l.off, t.tb)
	d := p.DTS + off - t.last
	return !t.jump(min(d, max(d-t.dist, 0)))
}

func (l *line) adopt(t *track, _ av.Packet) {
	t.gen = l.gen
	if l.offTB.Valid() {
		t.off = l.offTB.Rescale(l.off, t.tb)
	}
}

// jump opens a new timeline at p, or at the first packet held: its offset is the
// fewest whole seconds that put it behind everything given out.
func (l *line) jump(t *track, p av.Packet) {
	first := p
	if len(t.held) > 0 {
		first = t.held[0]
	}
	l.gen++
	l.counts[causeJump]++
	second := av.Timebase{Num: 1, Den: 1}
	need := int64(math.MinInt64) // whole seconds
	for i := range l.tracks {
		o := &l.tracks[i]
		if !o.seen || o.sparse {
			continue
		}
		// ceil(o.end - first.DTS)
		gap := o.end - t.tb.Rescale(first.DTS, o.tb)
		need = max(need, -o.tb.RescaleFloor(-gap, second))
	}
	l.off, l.offTB = second.Rescale(need, t.tb), t.tb
	l.adopt(t, p)
	first.Flags |= av.Discont
	if len(t.held) == 0 {
		l.emit(t, first)
		return
	}
	held := t.held
	t.held = nil
	l.emit(t, first)
	for _, h := range held[1:] {
		l.emit(t, h)
	}
	l.emit(t, p)
}

// release gives out what was held, re-stamped: its successor is where it would
// have been without it.
func (l *line) release(t *track) {
	for _, h := range t.held {
		l.counts[causeOutlier]++
		delta := t.raw + t.dist - h.DTS
		h.DTS += delta
		h.PTS += delta
		h.Flags |= av.Derived
		l.emit(t, h)
	}
	t.held = t.held[:0]
}

// emit gives out p on t's timeline, with rising decode times.
func (l *line) emit(t *track, p av.Packet) {
	if d := p.DTS - t.raw; t.last != 0 && d > 0 && d < t.forward {
		t.dist = d
	} else if t.dist == 0 {
		t.dist = p.Dur
	}
	t.raw = p.DTS
	p.DTS += t.off
	p.PTS += t.off
	if p.DTS > p.PTS {
		l.counts[causeOrder]++
		p.Flags |= av.Derived
		if p.PTS > t.last {
			p.DTS = p.PTS
		} else {
			p.PTS = p.DTS
		}
	}
	if p.DTS <= t.last {
		if !t.sparse {
			l.counts[causeEqual]++
		}
		p.DTS = t.last + 1
		if p.PTS < p.DTS {
			p.PTS = p.DTS
		}
		p.Flags |= av.Derived
	}
	t.last, t.end = p.DTS, max(p.PTS+p.Dur, p.DTS+1)
	l.out = append(l.out, p)
}

// finish gives out what is held at the end of the input.
func (l *line) finish() {
	for i := range l.tracks {
		l.release(&l.tracks[i])
	}
}

func (l *line) warnings() []string {
	var out []string
	for i, n := range l.counts {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, causeTexts[i]))
		}
	}
	return out
}
