package probe

import (
	"time"

	"github.com/cleave-video/cleave/av"
)

// picture is what SVG needs beyond the report. Its size does not grow with the input:
// frames are kept one by one while they are few, and always summed up in a series.
type picture struct {
	frames []frame // of the lead, in decode order; nil once they are too many
	many   bool
	series series
	order  []frame // the first of the lead from its first key frame on, in decode order
	marks  []mark
	change bool // the next lead packet begins a set of tracks
	keyed  bool // a key frame came since the set began
	n      int  // lead packets
	span   extent
	lead   extent
	audio  bool // the lead is sound
}

const (
	maxFrames = 600 // drawn one by one: below two pixels a bar is no picture
	maxOrder  = 44  // shown in both orders
	maxMarks  = 64
)

// frame is one packet of the lead.
type frame struct {
	pts, dts, dur time.Duration
	size          int
	kind          kind
	n             int // its place in decode order
}

// mark is a place where the stream breaks.
type mark struct {
	at   time.Duration
	text string
}

// kind is how a frame is drawn.
type kind uint8

// The kinds. Of a pair of areas the later one is drawn in front.
const (
	kindEarly kind = iota // before the first key frame
	kindKey
	kindI
	kindP
	kindB
	kindDisposable
	kindUnknown
	kindAudio
	kindOther // of another track
	kinds
)

var kindNames = [kinds]string{
	"before the first key frame", "key frame", "I, no key", "P", "B", "disposable", "type unknown", "audio frame", "other tracks",
}

func (k kind) String() string { return kindNames[k] }

// kindOf sorts a lead packet.
func kindOf(flags av.Flags, typ byte, video, keyed bool) kind {
	switch {
	case !video:
		return kindAudio
	case flags&av.Key != 0:
		return kindKey
	case !keyed:
		return kindEarly
	case flags&av.Disposable != 0:
		return kindDisposable
	case typ == 'I':
		return kindI
	case typ == 'P':
		return kindP
	case typ == 'B':
		return kindB
	}
	return kindUnknown
}

// letter is what stands on a frame.
func (k kind) letter() string { return [kinds]string{"·", "K", "I", "P", "B", "b", "?", "A", ""}[k] }

// extent is a stretch of time.
type extent struct {
	from, to time.Duration
	set      bool
}

func (e *extent) add(from, to time.Duration) {
	if !e.set {
		*e = extent{from, to, true}
	}
	e.from, e.to = min(e.from, from), max(e.to, to)
}

// changed says that a set of tracks begins.
func (p *picture) changed(again bool) {
	p.change, p.keyed = p.change || again, false
}

// draw gives the picture a packet.
func (p *prober) draw(s *trackState, pkt *av.Packet, typ byte, dur int64) {
	pic := p.report.picture
	pts := s.tb.Duration(pkt.PTS)
	f := frame{pts: pts, dts: s.tb.Duration(pkt.DTS), dur: s.tb.Duration(pkt.PTS+dur) - pts, size: len(pkt.Data)}
	if pkt.Track != p.lead {
		if p.report.Tracks[s.at].Kind != av.Data.String() {
			pic.span.add(f.pts, f.pts+f.dur)
		}
		pic.series.add(f.pts, kindOther, f.size)
		return
	}
	pic.audio = !s.video
	pic.keyed = pic.keyed || pkt.Flags&av.Key != 0
	f.kind = kindOf(pkt.Flags, typ, s.video, pic.keyed)
	pic.mark(pkt, f.pts)
	pic.take(f)
}

func (p *picture) mark(pkt *av.Packet, at time.Duration) {
	text := ""
	switch {
	case p.n == 0:
	case p.change:
		text = "tracks change"
	case pkt.Flags&av.Discont != 0:
		text = "discontinuity"
	}
	p.change = false
	if text != "" && len(p.marks) < maxMarks {
		p.marks = append(p.marks, mark{at, text})
	}
}

// take adds a frame of the lead.
func (p *picture) take(f frame) {
	f.n = p.n
	p.n++
	p.span.add(f.pts, f.pts+f.dur)
	p.lead.add(f.pts, f.pts+f.dur)
	p.series.add(f.pts, f.kind, f.size)
	if len(p.order) < maxOrder && (len(p.order) > 0 || f.kind == kindKey) {
		p.order = append(p.order, f)
	}
	if p.many {
		return
	}
	if len(p.frames) == maxFrames {
		p.frames, p.many = nil, true
		return
	}
	p.frames = append(p.frames, f)
}

// bucket sums up the packets of a stretch of time.
type bucket struct {
	n     [kinds]int32
	bytes [kinds]int64
	max   [kinds]int32
}

func (b *bucket) merge(o *bucket) {
	for k := range kinds {
		b.n[k] += o.n[k]
		b.bytes[k] += o.bytes[k]
		b.max[k] = max(b.max[k], o.max[k])
	}
}

// lead returns number, bytes and the largest of the lead's frames.
func (b *bucket) lead() (n int, bytes int64, largest int32) {
	for k := range kindOther {
		n += int(b.n[k])
		bytes += b.bytes[k]
		largest = max(largest, b.max[k])
	}
	return n, bytes, largest
}

const (
	maxBuckets = 1024
	firstWidth = 10 * time.Millisecond
)

// series is packets summed up in buckets of equal width, which doubles whenever
// there would be more than maxBuckets. Bucket i covers [(first+i)*width, +width).
type series struct {
	width time.Duration
	first int64
	b     []bucket
}

func (s *series) add(at time.Duration, k kind, size int) {
	if s.width == 0 {
		s.width = firstWidth
	}
	i := s.index(at)
	if len(s.b) == 0 {
		s.first = i
	}
	for max(i, s.first+int64(len(s.b))-1)-min(i, s.first) >= maxBuckets {
		s.coarsen()
		i = s.index(at)
	}
	if i < s.first {
		s.b = append(make([]bucket, s.first-i), s.b...)
		s.first = i
	}
	for i >= s.first+int64(len(s.b)) {
		s.b = append(s.b, bucket{})
	}
	b := &s.b[i-s.first]
	b.n[k]++
	b.bytes[k] += int64(size)
	b.max[k] = max(b.max[k], int32(min(size, 1<<31-1)))
}

// index returns the number of the bucket that at lies in, counted from time 0.
func (s *series) index(at time.Duration) int64 {
	i := int64(at / s.width)
	if at%s.width < 0 {
		i--
	}
	return i
}

// coarsen doubles the width.
func (s *series) coarsen() {
	first := s.first >> 1
	out := s.b[:0:0]
	for i := range s.b {
		at := int((s.first+int64(i))>>1 - first)
		if at == len(out) {
			out = append(out, bucket{})
		}
		out[at].merge(&s.b[i])
	}
	s.first, s.b, s.width = first, out, s.width*2
}

// coarser returns s with buckets at least width wide.
func (s *series) coarser(width time.Duration) series {
	c := series{s.width, s.first, append([]bucket(nil), s.b...)}
	for c.width > 0 && c.width < width {
		c.coarsen()
	}
	return c
}
