package live

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/timeline"
)

// leastPart is the share of PART-TARGET, in percent, that a listed part reaches if it
// is neither independent nor the last of its segment. RFC 8216bis 4.4.4.9
const leastPart = 85

// opened is a chunk that is not closed yet.
type opened struct {
	c      *chunk.Chunk
	object *object
	zero   time.Time       // time of day of media time 0
	kept   <-chan struct{} // closed when it is certain that its number is not given again; nil: it was waited for
	parts  bool            // its parts keep what is promised
	first  bool            // of its tracks
	in     *Stretch
	blocks [][]*mem.Block // of each lane, with references for the coordinator

	inits   []section    // of each lane
	kin     []string     // of each derived rendition, the one that is kept with its parts; empty: none is known
	period  *seal.Period // that it is encrypted in; nil: not at all
	samples bool         // its samples are encrypted, so that each part is
}

// section is an initialization section.
type section struct {
	name   string
	header []byte
}

// lane is a rendition of one publisher as it grows. Each advances by itself: its
// segment is listed when the track has passed the cut.
type lane struct {
	r       Rendition
	track   int
	section int
	tb      av.Timebase // of the track
	scale   uint32
	factor  int64
	off     int64  // ticks of scale added to every time
	shift   int64  // presentation behind decoding, ticks of the track
	begun   bool   // shift is known
	base    string // name of its initialization section, but for what that says of keys
	info    *codec.Info
	epoch   uint32
	rate    timeline.Rate

	in    *opened      // of the segment that is open
	seg   Segment      // that segment
	holed bool         // it begins before its first packet
	plain bool         // no more of its parts may be listed
	heirs int64        // key frames so far
	fresh bool         // nothing of this epoch was listed
	clear []*mem.Block // what is to be encrypted as a whole when it ends: not shown
}

func (l *lane) output() av.Timebase { return av.Timebase{Num: 1, Den: l.scale} }

// newLanes makes the renditions of a set of tracks, which continue those of the same
// name that the stream had.
func (p *publisher) newLanes(tracks []av.Track) error {
	old := p.s.edge.Load()
	var kinds [4]int
	p.lanes = p.lanes[:0]
	for i := range tracks {
		t := &tracks[i]
		if p.packager.Init(i) == nil {
			if t.Kind != av.Data {
				p.s.hub.cfg.Log.Warn("track left out", "stream", p.s.name, "track", i, "codec", t.Codec.String())
			}
			continue
		}
		info, err := codec.Describe(t)
		if err != nil {
			p.lanes = nil
			return err
		}
		l := &lane{
			r: Rendition{Name: fmt.Sprintf("%s%d", t.Kind, kinds[t.Kind]), Track: *t, Info: info}, track: i, section: len(p.lanes),
			tb: t.Timebase, base: initName(p.packager.Plain(i)), info: &info, epoch: p.s.epoch, fresh: true,
		}
		kinds[t.Kind]++
		l.scale, l.factor = t.Timebase.Timescale()
		l.off = p.offset * int64(l.scale)
		l.inherit(old, &p.s.account)
		p.lanes = append(p.lanes, l)
	}
	p.derive(tracks)
	return nil
}

// sections returns the initialization sections of the lanes as they are now.
func (p *publisher) sections() []section {
	out := make([]section, len(p.lanes))
	for i, l := range p.lanes {
		header := p.packager.Init(l.track)
		out[i] = section{initName(header), header}
		p.s.headers.put(out[i].name, header)
	}
	return out
}

// inherit continues what the stream showed under the lane's name. A name that is new
// has as many discontinuities behind it as the others: numbers must agree in all
// renditions (RFC 8216bis 6.2.4).
func (l *lane) inherit(old *Edge, a *account) {
	if was := old.Rendition(l.r.Name); was != nil {
		l.r.Segments, l.r.Past, l.r.Discontinuities = was.Segments, was.Past, was.Discontinuities
		if n := len(was.Segments); n > 0 {
			last := &was.Segments[n-1]
			l.heirs = last.FirstKey + int64(len(last.Keys))
		}
		return
	}
	l.heirs = a.keys
	if len(old.Renditions) == 0 || len(old.Renditions[0].Segments) == 0 {
		if a.resumed {
			l.r.Discontinuities = a.total + 1
		}
		return
	}
	other := &old.Renditions[0]
	l.r.Discontinuities = other.Discontinuities + 1
	for i := range other.Segments {
		if other.Segments[i].Discontinuity {
			l.r.Discontinuities++
		}
	}
}

// lane returns the rendition of a track, or nil.
func (p *publisher) lane(track int) *lane {
	for _, l := range p.lanes {
		if l.track == track {
			return l
		}
	}
	return nil
}

// arrive notes that a packet of the lane went into a chunk: the segment before ends.
func (p *publisher) arrive(l *lane, o *opened, pkt *av.Packet) error {
	if l.in != o {
		if err := p.finish(l); err != nil {
			return err
		}
		for _, skipped := range p.open {
			if skipped.c.Seq < o.c.Seq && int64(skipped.c.Seq) > l.r.Last() {
				p.gap(l, skipped)
			}
		}
		p.begin(l, o, pkt.DTS)
		if !l.begun {
			l.begun, l.shift = true, pkt.PTS-pkt.DTS
		}
		l.seg.Start, l.seg.Shift = pkt.PTS*l.factor+l.off, l.shift*l.factor
		l.date(o)
	}
	l.seg.Start = min(l.seg.Start, pkt.PTS*l.factor+l.off)
	if l.r.Track.Kind == av.Video {
		l.rate.Add(pkt.DTS)
	}
	return nil
}

// begin opens the lane's segment of a chunk, at a decode time of the track.
func (p *publisher) begin(l *lane, o *opened, dts int64) {
	l.in, l.plain = o, !o.parts
	l.seg = Segment{
		MSN: int64(o.c.Seq), Epoch: l.epoch, Init: o.inits[l.section].name, base: l.base, Info: l.info, DTS: dts*l.factor + l.off, Timescale: l.scale,
		Stretch: o.in, Discontinuity: o.c.Discont, FirstKey: l.heirs, Sealed: o.sealed(), object: o.object, section: l.section,
	}
	if n := len(l.r.Segments); n > 0 {
		last := &l.r.Segments[n-1]
		l.seg.Discontinuity = l.seg.Discontinuity || last.Epoch != l.seg.Epoch || last.base != l.seg.base
	} else if l.fresh {
		l.seg.Discontinuity = false // inherit has counted it
	}
	if l.section == 0 && (l.seg.Discontinuity || l.fresh && len(l.r.Segments) == 0 && l.r.Discontinuities > 0) {
		p.s.account.broke(l.seg.MSN)
		p.note()
	}
	l.fresh = false
	p.tile(l)
	p.changed = true
}

// date gives the open segment its time of day, which does not change while leading
// pictures come.
func (l *lane) date(o *opened) {
	l.seg.Date = o.zero.Add(l.output().Duration(l.seg.DTS + l.shift*l.factor))
}

// add puts a part into the lane's open segment, and takes its block over.
func (p *publisher) add(l *lane, part *pack.Part) {
	if p.s.sealer.wholeSegments() {
		l.hide(part)
		return
	}
	s := &l.seg
	x := Part{
		DTS: part.DTS*l.factor + l.off, Dur: part.Dur * l.factor, Offset: s.Size, Size: int64(len(part.Block.Bytes())),
		Independent: part.Independent, block: part.Block,
	}
	if len(s.Parts) == 0 && !l.holed {
		s.DTS = x.DTS
	}
	if k := part.Key; k.Size > 0 {
		s.Keys = append(s.Keys, Key{PTS: k.PTS*l.factor + l.off, Offset: s.Size + k.Offset, Size: k.Size})
	}
	// One that turned out short, and after which the segment goes on, ends the list:
	// the rest is had with the whole segment.
	l.plain = l.plain || s.Listed < len(s.Parts)
	if n := len(s.Parts); n > 0 {
		l.plain = l.plain || x.DTS != s.Parts[n-1].DTS+s.Parts[n-1].Dur // something is missing
	}
	s.Parts = append(s.Parts, x)
	s.Size += x.Size
	s.Dur = x.DTS + x.Dur - s.DTS
	target, d := p.partTarget, l.output().Duration(x.Dur)
	l.plain = l.plain || d > target
	if !l.plain && (d*100 >= target*leastPart || x.Independent) {
		s.Listed = len(s.Parts)
	}
	part.Block.Retain()
	l.in.blocks[l.section] = append(l.in.blocks[l.section], part.Block)
	p.changed = true
	p.journalPart(l, part.Block)
}

// finish lists the lane's open segment. One that cannot be encrypted is a gap, and
// an error.
func (p *publisher) finish(l *lane) (err error) {
	if l.in == nil {
		return nil
	}
	s, o := &l.seg, l.in
	if len(l.clear) > 0 {
		err = p.sealWhole(l)
	}
	if !l.plain {
		s.Listed = len(s.Parts) // the last one may be short
	}
	s.Gap = len(s.Parts) == 0
	s.Independent = o.c.Independent || l.r.Track.Kind != av.Video
	s.Dur = max(s.Dur, 1)
	if most := l.output().Ticks(p.longest()); l.holed && most > 0 && s.Dur > most {
		s.DTS, s.Dur = s.End()-most, most
		l.date(o)
	}
	l.heirs += int64(len(s.Keys))
	p.s.account.keys = max(p.s.account.keys, l.heirs)
	p.s.memory.keep(s, l.output().Duration(s.End()))
	p.s.end = max(p.s.end, l.output().Duration(s.End()))
	l.r.Segments = append(l.r.Segments, *s)
	p.slide(l)
	l.in, l.seg = nil, Segment{}
	p.changed = true
	return err
}

// slide takes what is too old out of the lane, and lets the objects expire of which no
// lane has anything any more: the shares of a chunk are not equally long, and a track that
// often ends before the others lists more chunks.
func (p *publisher) slide(l *lane) {
	left := p.s.slide(&l.r)
	if l.section == 0 {
		p.s.leaving = append(p.s.leaving, left...)
	}
	first := int64(math.MaxInt64)
	for _, l := range p.lanes {
		first = min(first, l.r.first())
	}
	for _, d := range p.derived {
		first = min(first, d.r.first())
	}
	n := 0
	for n < len(p.s.leaving) && p.s.leaving[n].MSN < first {
		s := &p.s.leaving[n]
		p.s.expire(s.object.key, time.Now(), s.Date.Add(s.Duration()))
		n++
	}
	p.s.leaving = slices.Delete(p.s.leaving, 0, n)
}

// first returns the number of the oldest segment; the greatest if there is none.
func (r *Rendition) first() int64 {
	for _, list := range [...][]Segment{r.Past, r.Segments} {
		if len(list) > 0 {
			return list[0].MSN
		}
	}
	return math.MaxInt64
}

// tile has the open segment begin where the one before ended, if packets are missing
// between both, as far as the promise allows: the durations in a playlist then add up
// to the media's time.
func (p *publisher) tile(l *lane) {
	s := &l.seg
	n := len(l.r.Segments)
	l.holed = false
	if n == 0 || s.Discontinuity || l.r.Segments[n-1].Epoch != s.Epoch {
		return
	}
	if missing := s.DTS - l.r.Segments[n-1].End(); missing > 0 {
		s.DTS -= min(missing, p.s.edge.Load().TargetDuration*int64(l.scale))
		l.plain, l.holed = true, true
	}
}

// gap lists a segment of a chunk in which the track has nothing.
func (p *publisher) gap(l *lane, o *opened) {
	c := o.c
	lead := c.Span.Timebase
	p.begin(l, o, lead.Rescale(c.Span.Start, l.tb))
	end := lead.Rescale(c.Span.MaxPTS, l.tb)*l.factor + l.off
	l.seg.Start, l.seg.Dur = l.seg.DTS, max(1, end-l.seg.DTS)
	if td := p.s.edge.Load().TargetDuration; td > 0 {
		l.seg.Dur = min(l.seg.Dur, td*int64(l.scale))
	}
	l.date(o)
	_ = p.finish(l) // it has nothing to encrypt
}

// discard lets go of what was never listed.
func (l *lane) discard() {
	l.bare()
	for i := range l.seg.Parts {
		l.seg.Parts[i].block.Release()
	}
	l.in, l.seg = nil, Segment{}
}

// show replaces the edge if anything has changed.
func (p *publisher) show() {
	if !p.changed {
		return
	}
	p.changed = false
	e := p.s.edge.Load().next()
	if p.s.sealer != nil {
		e.Ahead = p.s.sealer.upcoming()
	}
	e.Renditions = make([]Rendition, len(p.lanes))
	for i, l := range p.lanes {
		e.Renditions[i] = l.r
		if l.in != nil {
			open := l.seg
			open.Independent = l.in.c.Independent || l.r.Track.Kind != av.Video
			e.Renditions[i].Open = &open
		}
	}
	e.Renditions = p.withDerived(e.Renditions)
	p.s.show(e)
}
