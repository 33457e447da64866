package pack

import (
	"time"

	"github.com/cleave-video/cleave/av"
)

// frames is what was seen of a track's decode times since its last break.
type frames struct {
	begun       bool
	first, last int64
	n           int64 // distances between them
	longest     int64
}

func (f *frames) add(p *av.Packet) {
	d := p.DTS - f.last
	if !f.begun || p.Flags&av.Discont != 0 || d <= 0 {
		*f = frames{begun: true, first: p.DTS, last: p.DTS}
		return
	}
	f.n++
	f.longest = max(f.longest, d)
	f.last = p.DTS
}

// The share of PART-TARGET that parts of whole frames must reach for it to be
// promised: a little more than leastPercent, for frames that are not all alike.
const fitPercent = 87

// Promise chooses PART-TARGET from the frames seen so far: as many whole frames of
// the first video track, or else of the first track, as come nearest to the target
// and let the other tracks' whole frames fill it, too, plus what ticks and an uneven
// source make frames differ by. From then on no part is longer, but for a single
// frame that is. The chunk that is open may have parts made by another measure. It is
// a whole number of milliseconds, and 0 if nothing was seen.
func (k *Packager) Promise() time.Duration {
	lead := k.leading()
	if lead == nil {
		return 0
	}
	frame := lead.tb.Duration(lead.frames.last-lead.frames.first) / time.Duration(lead.frames.n)
	n := max(1, (k.cfg.Target+frame/2)/frame)
	spare := k.spare(lead, frame, n)
	best := n*frame + spare
	for more := range n/2 + 2 {
		if d := (n+more)*frame + spare; k.fits(d) {
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

// spare is what a part of n frames may last longer than n average ones: a tick of
// the coarsest timebase, up to a millisecond, and twice what single frames were off by, up to a tenth.
// Where frames are dropped or come as they like, only parts of many frames can be
// as long as they must and no longer than they may.
func (k *Packager) spare(lead *trackParts, frame, n time.Duration) time.Duration {
	tick := time.Duration(0)
	for i := range k.tracks {
		if t := &k.tracks[i]; t.init != nil {
			tick = max(tick, min(t.tb.Duration(1), time.Millisecond))
		}
	}
	off := lead.tb.Duration(lead.frames.longest) - frame
	if off <= tick+time.Millisecond {
		return tick
	}
	return tick + min(2*off, n*frame/10)
}

// fits reports whether whole frames of every track fill parts of d well enough.
func (k *Packager) fits(d time.Duration) bool {
	for i := range k.tracks {
		t := &k.tracks[i]
		if t.init == nil || t.frames.n == 0 {
			continue
		}
		frame := t.tb.Duration(t.frames.last-t.frames.first) / time.Duration(t.frames.n)
		if frame > 0 && d/frame*frame*100 < d*fitPercent {
			return false
		}
	}
	return true
}
