package libav

import (
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// maxReorder is the depth of reordering that any level allows (H.264 A.3, H.265 A.4).
const maxReorder = 16

// defaultRate holds where nothing tells the frame rate.
var defaultRate = av.Rational{Num: 25, Den: 1}

// times fills in the PTS and DTS that a container leaves out.
//
// Matroska has no DTS: the n-th is the n-th smallest PTS, put back by the depth of
// reordering. AVI has no PTS: the n-th picture in output order is shown when the
// n-th is decoded, later by that depth.
type times struct {
	tb    av.Timebase
	bits  int
	rate  av.Rational // frames a second
	rated bool        // and told by something
	depth int         // of reordering
	least int64       // distance of two pictures that was seen, 0 unknown
	lacks bool        // there are pictures without PTS
	// More than these from the picture before is a jump.
	far, back int64

	started bool
	last    int64 // DTS of the picture before
	pts     int64 // its PTS
	queue   [maxReorder + 1]int64
	n       int // PTS in queue, in order

	// Pictures without PTS stand by their picture order count.
	ref    codec.Place
	refPTS int64
	hasRef bool

	// Audio counts samples from the last time that was given.
	base    int64
	samples int64
	counted int // rate
}

func (t *times) begin(track *av.Track, s *wire.Stream) {
	t.tb, t.rate = track.Timebase, defaultRate
	if s.RateNum > 0 && s.RateDen > 0 && s.RateNum <= 1<<31-1 && s.RateDen <= 1<<31-1 {
		t.setRate(av.Rational{Num: uint32(s.RateNum), Den: uint32(s.RateDen)})
	}
	second := av.Timebase{Num: 1, Den: 1}
	t.far, t.back = second.Rescale(10, t.tb), second.Rescale(1, t.tb)
}

// setRate takes a frame rate that can be true.
func (t *times) setRate(r av.Rational) {
	if f := r.Float(); f >= 0.1 && f <= 1000 {
		t.rate, t.rated = r, true
	}
}

// frames returns the ticks of n frames.
func (t *times) frames(n int) int64 {
	return av.Timebase{Num: t.rate.Den, Den: t.rate.Num}.Rescale(int64(n), t.tb)
}

func (t *times) step() int64 { return max(t.frames(1), 1) }

// since returns a - b, by the nearest way round if times wrap.
func (t *times) since(a, b int64) int64 {
	if t.bits == 0 {
		return a - b
	}
	return (a - b) << (64 - t.bits) >> (64 - t.bits)
}

// wrap brings a derived time into the container's range.
func (t *times) wrap(v int64) int64 {
	if t.bits == 0 {
		return v
	}
	return v & (1<<t.bits - 1)
}

// stamp says what becomes of a packet.
type stamp uint8

const (
	stampGive stamp = iota
	stampHold       // its PTS shows when later pictures have come
	stampDrop
)

// video gives p its times.
func (t *times) video(p *av.Packet, r *raw, u unit) stamp {
	t.lacks = t.lacks || !r.hasPTS()
	given := r.DTS
	if !r.hasDTS() {
		given = r.PTS
	}
	if t.started && given != wire.NoTime {
		if d := t.since(given, t.last); d > t.far || d < -t.back-t.frames(t.depth) {
			t.started, t.n, t.hasRef = false, 0, false
		}
	}
	switch {
	case r.hasPTS() && r.hasDTS():
		p.PTS, p.DTS = r.PTS, r.DTS
	case r.hasPTS() && t.depth > 0:
		p.PTS, p.DTS = r.PTS, t.derive(r.PTS)
		p.Flags |= av.Derived
	case r.hasPTS():
		p.PTS, p.DTS = r.PTS, r.PTS
	case r.hasDTS():
		p.PTS, p.DTS = r.DTS, r.DTS
		p.Flags |= av.Derived
		if t.depth > 0 {
			t.last, t.started = p.DTS, true
			return stampHold
		}
	case !t.started:
		return stampDrop
	default:
		p.DTS = t.wrap(t.last + t.step())
		p.PTS = t.output(p.DTS, u)
		p.Flags |= av.Derived
	}
	if u.placed && (r.hasPTS() || u.place.Reset || !t.hasRef) {
		t.ref, t.refPTS, t.hasRef = u.place, p.PTS, true
	}
	t.last, t.pts, t.started = p.DTS, p.PTS, true
	return stampGive
}

// output is the PTS of a picture that has none, by its distance in output order
// from one that has.
func (t *times) output(dts int64, u unit) int64 {
	const fieldsPerFrame = 2 // picture order counts are of fields (H.264 8.2.1)
	field := av.Timebase{Num: t.rate.Den, Den: fieldsPerFrame * t.rate.Num}
	switch {
	case !u.placed, !t.hasRef && !u.place.Reset:
		return t.wrap(dts + t.frames(t.depth))
	case u.place.Reset:
		return t.wrap(dts + t.frames(t.depth) + field.Rescale(u.place.Count, t.tb))
	}
	return t.wrap(t.refPTS + field.Rescale(u.place.Count-t.ref.Count, t.tb))
}

// derive returns the DTS of the next picture in decode order.
func (t *times) derive(pts int64) int64 {
	if !t.started {
		t.n = t.depth
		for i := range t.depth {
			t.queue[i] = pts - t.frames(t.depth-i)
		}
	}
	at := t.n
	for at > 0 && t.since(t.queue[at-1], pts) > 0 {
		at--
	}
	copy(t.queue[at+1:t.n+1], t.queue[at:t.n])
	t.queue[at] = pts
	dts := t.queue[0]
	copy(t.queue[:], t.queue[1:t.n+1])
	return t.wrap(dts)
}

// audio gives p its times; false if there is none yet.
func (t *times) audio(p *av.Packet, r *raw, samples, rate int) bool {
	at := r.PTS
	if !r.hasPTS() {
		at = r.DTS
	}
	switch {
	case at != wire.NoTime:
		t.base, t.samples, t.counted, t.started = at, 0, rate, true
	case !t.started:
		return false
	default:
		if t.counted != rate {
			t.base, t.samples, t.counted = t.at(), 0, rate
		}
		p.Flags |= av.Derived
	}
	p.PTS = t.wrap(t.at())
	p.DTS = p.PTS
	before := t.at()
	if t.samples += int64(samples); p.Dur == 0 {
		p.Dur = t.at() - before
	}
	if samples == 0 {
		t.base += p.Dur
	}
	return true
}

// at is the time of the next sample.
func (t *times) at() int64 {
	if t.counted <= 0 {
		return t.base
	}
	return t.base + av.Timebase{Num: 1, Den: uint32(t.counted)}.Rescale(t.samples, t.tb)
}

// evidence of how deep pictures are reordered, from the search for tracks.
type evidence struct {
	pts   []int64
	n     int  // packets
	timed bool // some had a time
	keys  int
	both  int // packets with PTS and DTS
	depth int
	b     bool // there is a B picture of MPEG
}

const maxEvidence = 1024 // pictures

func (e *evidence) see(l *lane, r *raw) {
	if r.hasPTS() || r.hasDTS() {
		e.timed = true
	}
	if e.n++; l.track.Kind != av.Video || len(e.pts) >= maxEvidence {
		return
	}
	l.times.lacks = l.times.lacks || !r.hasPTS()
	e.b = e.b || l.mpeg.isB(r.data)
	if r.hasPTS() && r.hasDTS() {
		e.both++
	}
	if l.insp != nil && l.form == formPlain && l.insp.Flags(r.data)&av.Key != 0 || r.Flags&wire.FlagKey != 0 {
		e.keys++
	}
	if !r.hasPTS() {
		return
	}
	later := 0
	for _, p := range e.pts[max(0, len(e.pts)-2*maxReorder):] {
		if l.times.since(p, r.PTS) > 0 {
			later++
		}
	}
	e.depth = min(max(e.depth, later), maxReorder)
	e.pts = append(e.pts, r.PTS)
}

// settled reports whether more would tell nothing: no picture can be reordered, all
// times are given, or a whole GOP was seen.
func (e *evidence) settled(l *lane) bool {
	const enough = 16
	return l.info.Reorder == 0 || e.both >= enough || e.keys >= 2 || len(e.pts) >= maxEvidence
}

// finish decides.
func (e *evidence) finish(l *lane) {
	t := &l.times
	if l.info.FrameRate.Den > 0 {
		t.setRate(l.info.FrameRate)
	}
	if t.least = e.distance(t); t.least > t.step() || t.least > 0 && !t.rated {
		// A rate that is told may be that of fields: no two pictures are that near.
		t.setRate(av.Rational{Num: t.tb.Den, Den: uint32(t.least) * t.tb.Num}.Reduced())
	}
	t.depth = max(e.depth, min(l.info.Reorder, maxReorder), 0)
	if e.b {
		t.depth = max(t.depth, 1)
	}
	if e.n > 0 && !e.timed {
		t.started = true // an elementary stream: it is counted from 0
		t.last = -t.step()
	}
	e.pts = nil
}

// distance is the least of two pictures, 0 if it is not known.
func (e *evidence) distance(t *times) int64 {
	slices.SortFunc(e.pts, func(a, b int64) int { return int(max(-1, min(1, t.since(a, b)))) })
	least := int64(0)
	for i := 1; i < len(e.pts); i++ {
		if d := t.since(e.pts[i], e.pts[i-1]); d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	if least >= 1<<31/int64(t.tb.Num) {
		return 0
	}
	return least
}
