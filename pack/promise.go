package pack

import (
	"time"

	"github.com/cleave-video/cleave/av"
)

// frames is what was seen of a track's decode times since its last break.
type frames struct {
	begun       bool
	first, last int64
	n           int64    // distances between them
	longest     [3]int64 // of them, in order
	// The distance that most have, within a quarter, by majority vote; those near it.
	most, votes int64
	sum, near   int64
}

func (f *frames) add(p *av.Packet) {
	d := p.DTS - f.last
	if !f.begun || p.Flags&av.Discont != 0 || d <= 0 {
		*f = frames{begun: true, first: p.DTS, last: p.DTS}
		return
	}
	f.n++
	f.last = p.DTS
	f.vote(d)
	for i, l := range f.longest {
		if d > l {
			f.longest[i], d = d, l
		}
	}
}

func (f *frames) vote(d int64) {
	switch off := max(d-f.most, f.most-d); {
	case f.votes == 0:
		f.most, f.votes, f.sum, f.near = d, 1, d, 1
	case off*4 <= f.most:
		f.votes, f.sum, f.near = f.votes+1, f.sum+d, f.near+1
	default:
		f.votes--
	}
}

// even reports whether nearly all distances are alike.
func (f *frames) even() bool { return f.near*8 >= f.n*7 }

// frame is what a usual frame lasts, or where there is none the mean one.
func (f *frames) frame(tb av.Timebase) time.Duration {
	if f.even() {
		return tb.Duration(f.sum) / time.Duration(f.near)
	}
	return tb.Duration(f.last-f.first) / time.Duration(f.n)
}

// regular is the longest distance but two, which may have been hiccups.
func (f *frames) regular() int64 { return f.longest[2] }

// The share of PART-TARGET that parts of whole frames must reach for it to be
// promised: a little more than leastPercent, for frames that are not all alike.
const fitPercent = 87

// Where frames come unevenly, the longest of them must be a smaller share of a part
// than what leastPercent leaves, or parts of whole frames cannot all be as long as they
// must and no longer than they may. But no part is made longer than longestPart for it.
const (
	unevenPercent = 14
	longestPart   = time.Second
)

// Promise chooses PART-TARGET from the frames seen so far: as many whole frames of
// the first video track, or else of the first track, as come nearest to the target
// and let the other tracks' whole frames fill it, too, and a tick; more where the source
// is uneven. From then on no part is longer, but for a single
// frame that is. The chunk that is open may have parts made by another measure. It is
// a whole number of milliseconds, and 0 if nothing was seen.
func (k *Packager) Promise() time.Duration {
	lead := k.leading()
	if lead == nil {
		return 0
	}
	frame := lead.frames.frame(lead.tb)
	n := max(1, (k.cfg.Target+frame/2)/frame)
	tick := k.tick()
	least := time.Duration(0)
	if longest := lead.tb.Duration(lead.frames.regular()); longest-frame > tick+time.Millisecond || !lead.frames.even() {
		least = min(longest*100/unevenPercent, longestPart)
	}
	n = max(n, (least+frame-1)/frame)
	best := n*frame + tick
	for more := range n/2 + 2 {
		if d := (n+more)*frame + tick; k.fits(d) {
			best = d
			break
		}
	}
	d := (best + time.Millisecond - 1).Truncate(time.Millisecond)
	k.Bound(d, 0)
	return d
}

// Bound makes part and segment, promised before, the most that each lasts; 0 leaves
// what was. Where packets are missing, a segment ends before what is missing rather
// than be longer.
func (k *Packager) Bound(part, segment time.Duration) {
	if part > 0 {
		k.most = part
	}
	if segment > 0 {
		k.whole = segment
	}
	for i := range k.tracks {
		k.tracks[i].bound(k.most, k.whole)
	}
}

func (t *trackParts) bound(part, segment time.Duration) {
	if part > 0 && t.init != nil {
		t.most = max(1, av.Nanosecond.RescaleFloor(int64(part), t.tb))
	}
	if segment > 0 && t.init != nil {
		t.longest = max(1, av.Nanosecond.RescaleFloor(int64(segment), t.tb))
	}
}

// leading returns the track whose frames the promise counts.
func (k *Packager) leading() (lead *trackParts) {
	for i := range k.tracks {
		t := &k.tracks[i]
		if t.init == nil || t.frames.n == 0 {
			continue
		}
		if lead == nil || t.video && !lead.video {
			lead = t
		}
	}
	return lead
}

// tick is the coarsest timebase's, up to a millisecond: as much longer a part of whole
// frames may be by rounding.
func (k *Packager) tick() time.Duration {
	tick := time.Duration(0)
	for i := range k.tracks {
		if t := &k.tracks[i]; t.init != nil {
			tick = max(tick, min(t.tb.Duration(1), time.Millisecond))
		}
	}
	return tick
}

// fits reports whether whole frames of every track fill parts of d well enough.
func (k *Packager) fits(d time.Duration) bool {
	for i := range k.tracks {
		t := &k.tracks[i]
		if t.init == nil || t.frames.n == 0 {
			continue
		}
		frame := t.frames.frame(t.tb)
		if frame > 0 && d/frame*frame*100 < d*fitPercent {
			return false
		}
	}
	return true
}
