package ts

import (
	"cmp"
	"slices"

	"github.com/cleave-video/cleave/av"
)

const (
	maxReorder   = 16         // pictures (H.264 A.3, H.265 A.4)
	maxStep      = 10 * 90000 // ticks between pictures; more is a jump
	maxBack      = 90000      // ticks from a DTS back to the next PTS; more is a jump
	defaultFrame = 3600       // ticks: 25 pictures a second, where nothing tells
	probePics    = 16         // pictures looked at to find out whether DTS are left out
)

// times fills in the PTS and DTS that a stream leaves out.
//
// A missing DTS equals the PTS (ISO 13818-1 2.4.3.7). Some writers leave it out
// of streams with reordered pictures too: then the n-th DTS is the n-th smallest
// PTS, put back by the depth of the reordering. The same is done where DTS are
// later than the PTS of reordered pictures: what is shown when is not touched.
type times struct {
	withoutDTS bool  // writes no DTS although pictures are reordered, or wrong ones
	wrongDTS   bool  // writes DTS, but not in time for PTS
	depth      int   // of reordering
	frame      int64 // ticks from picture to picture, 0 unknown
	declared   bool  // by the parameter sets

	// Pictures without PTS stand by their picture order count between those with.
	lacks   bool // there were such pictures
	counted int  // pictures with PTS before them
	hasRef  bool // ref is of this coded video sequence
	ref     order
	perPOC  int64 // ticks from count to count, 0 unknown
	ahead   int64 // PTS - DTS of the last sequence's first picture

	started bool
	last    int64 // DTS of the picture before
	queue   [maxReorder + 1]int64
	n       int // PTS in queue, in order
}

// setRate takes the rate that the parameter sets declare, if it can be true.
func (t *times) setRate(r av.Rational) {
	if r.Num == 0 || r.Den == 0 {
		return
	}
	if n := 90000 * int64(r.Den) / int64(r.Num); n >= 90 && n <= maxStep {
		t.frame, t.declared = n, true
	}
}

// order is a picture's place: picture order count and PTS, given or derived.
type order struct {
	poc, pts int64
	given    bool
}

func (t *times) restart() { t.started, t.n, t.hasRef = false, 0, false }

// place sets the PTS of a picture that has none by its picture order count;
// first marks the first picture of a coded video sequence. unit is what counts
// rise by from picture to picture where nothing tells.
func (t *times) place(u *unit, poc int64, first bool, unit int64) {
	if first {
		t.hasRef = false
	}
	switch {
	case u.hasPTS:
		if n := poc - t.ref.poc; t.hasRef && t.ref.given && n != 0 {
			if d := since(u.pts, t.ref.pts); d/n > 0 && d%n == 0 {
				t.perPOC = d / n
			}
		}
		if first {
			t.ahead = since(u.pts, u.dts)
		}
	case t.hasRef:
		per := t.perPOC
		if per == 0 {
			per = t.step() / unit
		}
		u.pts = (t.ref.pts + (poc-t.ref.poc)*per) & timeMask
		return
	default:
		u.pts = (u.dts + t.ahead) & timeMask
	}
	t.ref, t.hasRef = order{poc, u.pts, u.hasPTS}, true
}

// counts reports whether picture order counts are of use: in the first pictures,
// and for good once a PTS was missing. To read them costs a tenth of the time.
func (t *times) counts(hasPTS bool) bool {
	switch {
	case !hasPTS && !t.lacks:
		t.lacks = true
		t.hasRef = t.hasRef && t.counted < countedPics
	case !t.lacks && t.counted < countedPics:
		t.counted++
	case !t.lacks:
		return false
	}
	return true
}

// countedPics is how many pictures with PTS make it likely that all have one.
const countedPics = 256

// stampPicture gives u its times.
func (s *stream) stampPicture(u *unit, st stamp) {
	t := &s.video.times
	if st.discont {
		u.flags |= av.Discont
	}
	t.jumped(st)
	st.hasDTS = st.hasDTS && !t.wrongDTS
	switch {
	case st.hasDTS:
		u.pts, u.dts = st.pts, st.dts
	case st.hasPTS && t.withoutDTS:
		u.pts, u.dts = st.pts, t.derive(st.pts)
		u.flags |= av.Derived
	case st.hasPTS:
		u.pts, u.dts = st.pts, st.pts
		if t.started && since(u.dts, t.last) <= 0 && s.index >= 0 {
			t.withoutDTS = true
			u.dts = (t.last + 1) & timeMask
			u.flags |= av.Derived
		}
	default:
		u.dts = (t.last + t.step()) & timeMask
		u.pts = u.dts
		u.flags |= av.Derived
	}
	if t.started && !st.hasDTS && since(u.dts, t.last) <= 0 && u.flags&av.Derived != 0 {
		u.dts = (t.last + 1) & timeMask
	}
	if d := since(u.dts, t.last); t.started && t.frame == 0 && d > 0 {
		t.frame = d
	}
	t.last, t.started = u.dts, true
}

// jumped begins anew where the times do not go on from those before.
func (t *times) jumped(st stamp) {
	if !t.started || !st.hasPTS {
		return
	}
	if d := since(st.pts, t.last); d > maxStep || d < -maxBack {
		t.restart()
	}
}

func (t *times) step() int64 {
	if t.frame > 0 {
		return t.frame
	}
	return defaultFrame
}

// derive returns the DTS of the next picture in decode order.
func (t *times) derive(pts int64) int64 {
	if !t.started {
		t.n = 0
		for i := range t.depth {
			t.queue[i] = (pts - int64(t.depth-i)*t.step()) & timeMask
		}
		t.n = t.depth
	}
	at := t.n
	for at > 0 && since(t.queue[at-1], pts) > 0 {
		at--
	}
	copy(t.queue[at+1:t.n+1], t.queue[at:t.n])
	t.queue[at] = pts
	t.n++
	dts := t.queue[0]
	t.n = copy(t.queue[:], t.queue[1:t.n])
	return dts
}

// evidence looks at the pictures of the probe: does the stream leave out DTS that
// differ from PTS, or write DTS that are later?
type evidence struct {
	pics    int
	pts     [probePics]int64
	depth   int
	given   bool // there are DTS
	late    bool // and one is later than its PTS
	settled bool
}

// see returns true once that is known.
func (e *evidence) see(st *unit, reorder int, t *times) bool {
	if e.settled {
		return true
	}
	ahead := since(st.pts, st.dts)
	e.given = e.given || st.hasDTS
	e.late = e.late || st.hasDTS && ahead < 0
	// A first picture that waits to be shown leaves time for those behind it.
	if reorder == 0 || st.hasDTS && e.pics == 0 && ahead > 0 {
		e.settled = true
		return true
	}
	if st.hasPTS && e.pics < probePics {
		later := 0
		for _, p := range e.pts[:e.pics] {
			if since(p, st.pts) > 0 {
				later++
			}
		}
		e.depth = max(e.depth, later)
		e.pts[e.pics] = st.pts
		e.pics++
	}
	if e.pics == probePics || e.depth > 0 && (reorder > 0 || e.given && !e.late) {
		e.finish(reorder, t)
	}
	return e.settled
}

// finish decides by what was seen.
func (e *evidence) finish(reorder int, t *times) {
	if e.settled {
		return
	}
	e.settled = true
	if e.depth == 0 || e.given && !e.late {
		return
	}
	t.withoutDTS, t.wrongDTS = true, e.given
	t.depth = min(max(e.depth, reorder), maxReorder)
	if !t.declared {
		t.frame = e.distance()
	}
}

// distance returns the least distance of two pictures, 0 if there is none.
func (e *evidence) distance() int64 {
	p := e.pts[:e.pics]
	slices.SortFunc(p, func(a, b int64) int { return cmp.Compare(since(a, b), 0) })
	least := int64(0)
	for i := 1; i < len(p); i++ {
		if d := since(p[i], p[i-1]); d > 0 && (least == 0 || d < least) {
			least = d
		}
	}
	return least
}
