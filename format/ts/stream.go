package ts

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// mark says where in a stream's buffer the payload of a PES packet starts, and
// its times.
type mark struct {
	off int
	stamp
}

// stamp is the times of a PES packet as they pass to the first access unit that
// commences in it (ISO 13818-1 2.4.3.7).
type stamp struct {
	pts, dts       int64
	hasPTS, hasDTS bool
	discont        bool // data or clock broke before it
}

// unit is one access unit, audio frame or private payload inside a stream's
// buffer, with its times on the 33-bit clock.
type unit struct {
	data     []byte
	codes    []int // of video: where its start codes are in data
	pts, dts int64
	dur      int64
	flags    av.Flags
	hasPTS   bool // the container gave it
	hasDTS   bool
	noTime   bool   // the container gave none
	config   []byte // the track's from here on, nil if unchanged
	size     int    // of the packet that it becomes
}

// stream puts one elementary stream together. Its bytes are gathered in one
// reused buffer: feed appends the payload of a packet, next takes whole units
// off the front.
type stream struct {
	esInfo
	kind  av.Kind
	codec av.Codec
	stats *stats

	// Transport and PES layer.
	cc       int8      // continuity_counter of the last packet, -1 unknown
	dup      bool      // the last packet was a duplicate
	print    [2]uint64 // of its payload
	skipping bool      // until the next PES start
	broke    bool      // the next PES start comes after a break
	clipped  bool      // a PES packet ended early
	left     int       // bytes missing of a PES packet with a length, -1 unbounded
	pes      []byte
	inHeader bool
	psi      sections

	// Elementary stream layer.
	buf    []byte
	head   int    // start of the unit that is being put together
	scan   int    // where the search for its end goes on
	marks  []mark // in order; those before head are used up
	damage int    // offset in buf where bytes are missing, -1 none
	over   bool   // the last PES packet is whole

	video video
	audio audio

	// Track layer.
	config []byte // nil until it is known
	ready  bool   // can be a track
	stale  bool   // insp is of an older config

	settling bool // gets the rest of its picture before the tracks change
	index    int  // in the demuxer's tracks, -1 none
	insp     *codec.Inspector
	probe    probe
}

// probe is what was seen of a stream while the tracks are looked for.
type probe struct {
	units   int
	first   int64
	last    int64
	reorder int // of the parameter sets, -1 unknown
	evidence
}

func newStream(e esInfo, st *stats) *stream {
	s := &stream{esInfo: e, stats: st, index: -1}
	s.kind, s.codec = e.identify()
	s.reset()
	if s.kind == av.Data {
		s.passThrough()
	}
	return s
}

// passThrough makes the stream one that is not looked into.
func (s *stream) passThrough() {
	s.kind, s.codec, s.config, s.ready = av.Data, av.Private, s.privateConfig(), true
}

// reset forgets what was gathered, not what was learnt for the track.
func (s *stream) reset() {
	s.cc, s.dup, s.broke, s.clipped = -1, false, false, false
	s.skipping, s.inHeader, s.left, s.over = true, false, -1, false
	s.pes = s.pes[:0]
	s.psi.reset()
	s.buf, s.head, s.scan, s.marks, s.damage = s.buf[:0], 0, 0, s.marks[:0], -1
	s.video.reset()
	s.audio = audio{}
}

// lost notes that packets of the stream are missing before the one at hand,
// which starts a PES packet or not.
func (s *stream) lost(start bool) {
	s.broke = true
	s.psi.reset()
	if s.inHeader {
		s.inHeader, s.skipping = false, true
	}
	switch {
	case s.kind == av.Video:
		if !start && !s.skipping {
			s.setDamage()
		}
	case s.kind == av.Audio || !start:
		s.dropTail()
		s.skipping = s.skipping || !start
	}
}

func (s *stream) setDamage() {
	if s.damage < 0 {
		s.damage = len(s.buf)
	}
}

// dropTail forgets the unit that is incomplete; whole ones were taken before.
func (s *stream) dropTail() {
	if s.head < len(s.buf) {
		s.stats.add(warnCutUnit, 1)
	}
	s.buf, s.head, s.scan, s.marks = s.buf[:0], 0, 0, s.marks[:0]
	s.audio.want = 0
}

// feed takes the payload of one packet.
func (s *stream) feed(h header) {
	if inSections(s.typ) {
		s.psi.feed(h.payload, h.start)
		return
	}
	p := h.payload
	if h.start {
		s.endPES()
		s.pes, s.inHeader, s.skipping = s.pes[:0], true, false
	}
	if s.skipping {
		return
	}
	if s.inHeader {
		if p = s.header(p); len(p) == 0 {
			return
		}
	}
	s.payload(p)
}

// endPES is called where the next PES packet starts, or nothing more comes.
func (s *stream) endPES() {
	if s.inHeader {
		s.stats.add(warnBadPES, 1)
	} else if !s.skipping && s.left > 0 {
		s.stats.add(warnShortPES, 1)
		if s.kind == av.Video {
			s.clipped = true
		} else {
			s.dropTail()
		}
		s.broke = true
	}
	s.over = true
	s.inHeader = false
}

// header gathers the PES header and returns the payload behind it.
func (s *stream) header(p []byte) []byte {
	b := p
	if len(s.pes) > 0 {
		s.pes = append(s.pes, p...)
		b = s.pes
	}
	h, n := parsePES(b)
	switch {
	case n == 0:
		s.stats.add(warnBadPES, 1)
	case n > len(b):
		if len(s.pes) == 0 {
			s.pes = append(s.pes, p...)
		}
		return nil
	case h.scrambled:
		s.stats.add(warnScrambled, 1)
	case h.id != sidPadding:
		s.begin(h)
		return b[n:]
	}
	s.inHeader, s.skipping, s.broke = false, true, s.broke || h.id != sidPadding
	return nil
}

// begin starts the payload of a PES packet.
func (s *stream) begin(h pesHeader) {
	s.inHeader = false
	s.left = h.length
	if len(s.marks) > 0 && s.marks[len(s.marks)-1].off == len(s.buf) {
		s.broke = s.broke || s.marks[len(s.marks)-1].discont
		s.marks = s.marks[:len(s.marks)-1] // a PES packet without payload
	}
	if s.clipped {
		s.setDamage()
		s.clipped = false
	}
	s.video.from = len(s.buf)
	m := mark{len(s.buf), stamp{h.pts, h.dts, h.hasPTS, h.hasDTS, s.broke}}
	if len(s.marks) == maxMarks {
		s.marks = s.marks[:copy(s.marks, s.marks[1:])]
	}
	s.marks = append(s.marks, m)
	s.broke, s.over = false, false
	s.audio.want = 0
}

// maxMarks bounds the PES packets that one access unit is looked for in.
const maxMarks = 64

// payload appends the bytes of a PES packet.
func (s *stream) payload(p []byte) {
	if s.left >= 0 && s.kind != av.Video && len(p) > s.left {
		s.stats.add(warnLongPES, 1)
		p = p[:s.left]
	}
	if s.left > 0 {
		s.left = max(s.left-len(p), 0)
	}
	if len(s.buf)+len(p) > cap(s.buf) {
		s.grow(len(p))
	}
	s.buf = append(s.buf, p...)
}

// grow doubles the buffer: append's smaller steps would copy, and allocate, more.
func (s *stream) grow(n int) {
	b := make([]byte, len(s.buf), max(2*cap(s.buf), len(s.buf)+n, 512))
	copy(b, s.buf)
	s.buf = b
}

// take returns the stamp for a unit that commences at off and uses up it and
// those before.
func (s *stream) take(off int) stamp {
	n := 0
	for n < len(s.marks) && s.marks[n].off <= off {
		n++
	}
	if n == 0 {
		return stamp{}
	}
	t := s.marks[n-1].stamp
	for _, m := range s.marks[:n-1] {
		t.discont = t.discont || m.discont
	}
	s.marks = s.marks[:copy(s.marks, s.marks[n:])]
	return t
}

// next returns the next whole unit; its data are valid until the next feed.
// With final set what is left is taken for whole.
func (s *stream) next(final bool) (unit, bool) {
	switch {
	case s.kind == av.Video:
		return s.nextPicture(final)
	case s.codec == av.Opus:
		return s.nextOpus()
	case s.kind == av.Audio:
		return s.nextFrame()
	case inSections(s.typ):
		return s.nextSection()
	}
	return s.nextPayload(final)
}

// compact moves what is left to the front of the buffer.
func (s *stream) compact() {
	if s.head == 0 {
		return
	}
	s.buf = s.buf[:copy(s.buf, s.buf[s.head:])]
	for i := range s.marks {
		s.marks[i].off = max(s.marks[i].off-s.head, 0)
	}
	s.scan = max(s.scan-s.head, 0)
	s.video.from = max(s.video.from-s.head, 0)
	for i := range s.video.codes {
		s.video.codes[i] -= s.head
	}
	s.audio.want = max(s.audio.want-s.head, 0)
	if s.damage >= 0 {
		s.damage = max(s.damage-s.head, 0)
	}
	s.head = 0
}
