package verify

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/mp4"
)

// look is what one track of a segment turned out to be.
type look struct {
	id            uint32
	kind          av.Kind
	codec         string // RFC 6381 if it is known, else the sample entry
	scale         int64
	dts, endDTS   int64 // of the first sample, and behind the last
	pts, endPTS   int64 // earliest and latest presentation
	edit          int64 // what an edit list of one entry takes off them
	frame         int64 // longest sample
	samples       int
	keys          []int64 // PTS of sync samples
	sap           sap
	place         Place // of what says the first time
	wraps         bool  // times have 33 bits
	negative      bool  // a composition offset below 0
	encrypted     bool
	description   av.Track
	width, height int
	first         int64  // bytes of the first sample
	transfer      uint16 // as colr says
}

// sap is how a segment starts.
type sap uint8

const (
	sapUnknown sap = iota
	sapClosed      // decodes alone, all pictures from the first on
	sapOpen        // decodes alone but for pictures shown before the first
	sapGradual
	sapNone
)

func (s sap) String() string {
	return [...]string{"unknown", "IDR or another closed key frame", "open GOP", "gradual refresh", "no key frame"}[s]
}

// sampleIsNonSync is in the flags of a sample. ISO/IEC 14496-12 8.8.3.1
const sampleIsNonSync = 0x10000

// segmentReader checks the fragments of one segment.
type segmentReader struct {
	c     *checker
	h     *header
	at    Place
	data  []byte // of the segment
	base  int64  // where it begins in its file
	looks map[uint32]*look
	order []uint32
	kids  map[uint32][16]byte // of each track's first encrypted sample
	cmaf  bool
	// of the fragment
	moof   *mp4.Node
	mdats  [][2]int64 // payload ranges
	events []*mp4.Node
	sidx   []*mp4.Node
}

// lookMP4 reads and checks one segment of fragmented MP4.
func (c *checker) lookMP4(at Place, h *header, data []byte, base int64) []*look {
	c.saw("S3", "C1", "C3")
	nodes, err := mp4.Tree(data, base)
	if err != nil {
		c.find("S3", at, "%v", err)
	}
	s := &segmentReader{c: c, h: h, at: at, data: data, base: base, looks: map[uint32]*look{}, kids: map[uint32][16]byte{}, cmaf: h.cmaf()}
	s.checkOrder(nodes)
	chunks := 0
	for i := range nodes {
		n := &nodes[i]
		switch n.Type {
		case "moof":
			s.fragment(n, nodes, i, chunks)
			chunks++
		case "emsg":
			s.events = append(s.events, n)
		case "sidx":
			s.sidx = append(s.sidx, n)
		}
	}
	var out []*look
	for _, id := range s.order {
		s.looks[id].edit = h.edit(id)
		out = append(out, s.looks[id])
	}
	s.checkIndex(out, nodes)
	return out
}

// checkOrder checks that each moof is followed by its mdat.
func (s *segmentReader) checkOrder(nodes []mp4.Node) {
	moofs := 0
	for i := range nodes {
		n := &nodes[i]
		if n.Type == "mdat" {
			s.mdats = append(s.mdats, [2]int64{n.Offset + int64(n.Header), n.Offset + n.Size()})
		}
		if n.Type != "moof" {
			continue
		}
		moofs++
		if i+1 == len(nodes) || nodes[i+1].Type != "mdat" {
			s.c.find("C1", boxPlace(s.at, n), "no mdat behind moof")
		}
		trafs := 0
		for k := range n.Children {
			if n.Children[k].Type == "traf" {
				trafs++
			}
		}
		if trafs != 1 && s.cmaf {
			s.c.find("C1", boxPlace(s.at, n), "%d traf boxes in a file of brand cmfc", trafs)
		}
	}
	if moofs == 0 {
		s.c.find("S3", s.at, "no moof in the segment")
	}
	if styp := mp4.First(nodes, "styp"); styp != nil && s.cmaf {
		s.c.saw("C8")
		b := body(styp)
		brands := map[string]bool{string(b.take(4)): true}
		for b.take(4); len(b.b) >= 4; {
			brands[string(b.take(4))] = true
		}
		if !brands["cmfs"] && !brands["cmff"] && !brands["cmfl"] && !brands["msdh"] && !brands["msix"] {
			s.c.should("C8", boxPlace(s.at, styp), "styp has neither cmfs, cmff, cmfl, msdh nor msix")
		}
	}
}

// fragment reads the traf boxes of a moof.
func (s *segmentReader) fragment(moof *mp4.Node, nodes []mp4.Node, index, chunk int) {
	s.moof = moof
	for i := range moof.Children {
		if traf := &moof.Children[i]; traf.Type == "traf" {
			s.traf(traf, chunk)
		}
	}
	if chunk > 0 && index > 0 && nodes[index-1].Type == "emsg" {
		s.c.late = append(s.c.late, nodes[index-1].Body)
	}
}

// tfhd flags. ISO/IEC 14496-12 8.8.7
const (
	tfhdBase, tfhdDesc, tfhdDur, tfhdSize, tfhdFlags, tfhdMoof = 0x1, 0x2, 0x8, 0x10, 0x20, 0x20000
)

// trun flags. ISO/IEC 14496-12 8.8.8
const (
	trunOffset, trunFirst, trunDur, trunSize, trunFlags, trunCTS = 0x1, 0x4, 0x100, 0x200, 0x400, 0x800
)

func (s *segmentReader) traf(traf *mp4.Node, chunk int) {
	tfhd := traf.First("tfhd")
	b := body(tfhd)
	_, flags := b.full()
	id := b.u32()
	t := s.h.track(id)
	if t == nil {
		s.c.find("S3", boxPlace(s.at, tfhd), "track_ID %d is not in the initialization section", id)
		return
	}
	def, base := t.defaults, s.moof.Offset
	if flags&tfhdBase != 0 {
		base = int64(b.u64() & (1<<62 - 1))
	}
	if flags&tfhdDesc != 0 {
		b.u32()
	}
	for _, f := range [...]struct {
		bit uint32
		to  *uint32
	}{{tfhdDur, &def.dur}, {tfhdSize, &def.size}, {tfhdFlags, &def.flags}} {
		if flags&f.bit != 0 {
			*f.to = b.u32()
		}
	}
	s.checkTfhd(tfhd, flags)
	s.checkKeysOf(t, traf)
	tfdt := traf.First("tfdt")
	if tfdt == nil {
		s.c.find("C2", boxPlace(s.at, traf), "no tfdt")
		return
	}
	d := body(tfdt)
	v, _ := d.full()
	l := s.look(t, d.wide(v), boxPlace(s.at, tfdt))
	run := &run{s: s, t: t, l: l, def: def, base: base, at: base, tfhd: flags, chunk: chunk}
	for i := range traf.Children {
		if n := &traf.Children[i]; n.Type == "trun" {
			run.read(n)
		}
	}
}

func (s *segmentReader) checkTfhd(tfhd *mp4.Node, flags uint32) {
	if !s.cmaf {
		return
	}
	s.c.saw("C5")
	if flags&tfhdBase != 0 || flags&tfhdMoof == 0 {
		s.c.find("C5", boxPlace(s.at, tfhd), "flags 0x%x: default-base-is-moof must be set, base-data-offset not", flags)
	}
	if s.h.has("cmf2") && flags&tfhdDesc == 0 {
		s.c.find("C5", boxPlace(s.at, tfhd), "no sample_description_index in a file of brand cmf2")
	}
}

// look returns the track's look and checks that a fragment behind the first goes
// on where the one before ended.
func (s *segmentReader) look(t *headerTrack, dts int64, at Place) *look {
	s.c.saw("C2")
	if l := s.looks[t.id]; l != nil {
		if dts != l.endDTS {
			s.c.find("C2", at, "baseMediaDecodeTime is %d, the samples before it end at %d", dts, l.endDTS)
		}
		l.endDTS = dts
		return l
	}
	l := &look{
		id: t.id, scale: t.scale, dts: dts, endDTS: dts, pts: 1 << 62, endPTS: -1 << 62, place: at, codec: t.info.String,
		encrypted: t.scheme != "", description: t.track, width: t.width, height: t.height, transfer: t.transfer,
	}
	switch t.handler {
	case "vide":
		l.kind = av.Video
	case "soun":
		l.kind = av.Audio
	default:
		l.kind = av.Data
	}
	if l.codec == "" {
		l.codec = t.entry
	}
	s.looks[t.id] = l
	s.order = append(s.order, t.id)
	return l
}

// run reads the trun boxes of one traf.
type run struct {
	s        *segmentReader
	t        *headerTrack
	l        *look
	def      sampleDefaults
	base, at int64 // where data offsets count from; where the next sample lies
	tfhd     uint32
	chunk    int
	seen     int
}

func (r *run) read(n *mp4.Node) {
	b := body(n)
	v, flags := b.full()
	count := b.u32()
	if flags&trunOffset != 0 {
		r.at = r.base + int64(int32(b.u32()))
	}
	def := r.def
	firstFlags := def.flags
	if flags&trunFirst != 0 {
		firstFlags = b.u32()
	}
	width := 0
	for _, bit := range [...]uint32{trunDur, trunSize, trunFlags, trunCTS} {
		if flags&bit != 0 {
			width += 4
		}
	}
	if int64(count)*int64(width) > int64(len(b.b)) || width == 0 && count > 1<<20 {
		r.s.c.find("S3", boxPlace(r.s.at, n), "%d samples of %d bytes do not fit in the box", count, width)
		return
	}
	r.checkFields(n, flags)
	for i := range count {
		x := def
		if i == 0 {
			x.flags = firstFlags
		}
		if flags&trunDur != 0 {
			x.dur = b.u32()
		}
		if flags&trunSize != 0 {
			x.size = b.u32()
		}
		if flags&trunFlags != 0 {
			x.flags = b.u32()
		}
		cts := int64(0)
		if flags&trunCTS != 0 {
			cts = int64(int32(b.u32()))
			if v == 0 {
				cts = int64(uint32(cts))
			}
		}
		if !r.sample(n, x, cts) {
			return
		}
	}
}

// checkFields checks that what the samples need is in the fragment itself.
func (r *run) checkFields(n *mp4.Node, flags uint32) {
	if !r.s.h.has("cmf2") {
		return
	}
	for _, f := range [...]struct {
		name       string
		tfhd, trun uint32
	}{{"duration", tfhdDur, trunDur}, {"size", tfhdSize, trunSize}, {"flags", tfhdFlags, trunFlags}} {
		if r.tfhd&f.tfhd == 0 && flags&f.trun == 0 {
			r.s.c.find("C5", boxPlace(r.s.at, n), "sample %s is in trex only, in a file of brand cmf2", f.name)
		}
	}
}

// sample takes one sample; false ends the run.
func (r *run) sample(n *mp4.Node, x sampleDefaults, cts int64) bool {
	l, s := r.l, r.s
	inside := false
	for _, m := range s.mdats {
		inside = inside || r.at >= m[0] && r.at+int64(x.size) <= m[1]
	}
	if !inside {
		s.c.find("C3", boxPlace(s.at, n), "sample %d, bytes %d-%d, is not inside an mdat", r.seen, r.at, r.at+int64(x.size))
		return false
	}
	from := r.at - s.base
	data := s.data[from : from+int64(x.size)]
	sync := x.flags&sampleIsNonSync == 0
	if l.samples == 0 {
		l.first = int64(x.size)
		l.sap = r.start(data, sync)
	}
	if r.seen == 0 && l.kind == av.Video && s.cmaf && r.chunk == 0 {
		s.c.saw("C4")
		if !sync {
			s.c.find("C4", boxPlace(s.at, n), "the flags of the first sample, 0x%08x, say that it is no sync sample", x.flags)
		} else if l.sap == sapNone {
			s.c.find("C4", boxPlace(s.at, n), "the first sample is marked sync, its bitstream is no key frame")
		}
	}
	pts := l.endDTS + cts
	l.pts, l.endPTS = min(l.pts, pts), max(l.endPTS, pts+int64(x.dur))
	l.frame = max(l.frame, int64(x.dur))
	l.negative = l.negative || cts < 0
	if sync {
		l.keys = append(l.keys, pts)
	}
	l.endDTS += int64(x.dur)
	r.at += int64(x.size)
	l.samples++
	r.seen++
	return true
}

// start tells how the segment starts, from the bitstream where it can be read.
func (r *run) start(data []byte, sync bool) sap {
	if r.t.insp == nil || r.t.scheme != "" {
		if sync {
			return sapClosed
		}
		return sapUnknown
	}
	return startOf(r.t.insp.Flags(data))
}

func startOf(f av.Flags) sap {
	switch {
	case !f.Has(av.Key):
		return sapNone
	case f.Has(av.Gradual):
		return sapGradual
	case f.Has(av.Open):
		return sapOpen
	}
	return sapClosed
}

// checkIndex checks a sidx of a segment, and events.
func (s *segmentReader) checkIndex(looks []*look, nodes []mp4.Node) {
	for _, t := range s.h.tracks {
		if l := s.looks[t.id]; l != nil && t.handler == "vide" && s.cmaf {
			s.c.saw("C7")
			if l.negative && len(t.edits) > 0 {
				s.c.find("C7", l.place, "composition offsets below 0 and an edit list")
			}
		}
	}
	s.c.checkEvents(s.at, s.events)
	if len(s.sidx) == 0 || len(looks) == 0 {
		return
	}
	s.c.saw("C13")
	x := readSidx(s.sidx[0])
	l := looks[0]
	if l.id != x.id || x.scale == 0 {
		return
	}
	for _, l2 := range looks {
		if l2.id == x.id {
			l = l2
		}
	}
	if x.scale != l.scale {
		s.c.should("C13", boxPlace(s.at, s.sidx[0]), "timescale %d, that of mdhd is %d", x.scale, l.scale)
		return
	}
	if off := x.earliest - l.pts; off != 0 {
		edit := int64(0)
		if t := s.h.track(l.id); t != nil && len(t.edits) > 0 {
			edit = t.edits[len(t.edits)-1].media
		}
		if off != -edit { // presentation is counted behind the edit list by some
			s.c.should("C13", boxPlace(s.at, s.sidx[0]), "earliest_presentation_time is %d, the samples' is %d", x.earliest, l.pts)
		}
	}
}

// index is a sidx box. ISO/IEC 14496-12 8.16.3
type index struct {
	id       uint32
	scale    int64
	earliest int64
	first    int64 // offset of the first referenced byte from the end of the box
	refs     []reference
}

type reference struct {
	index     bool
	size, dur int64
	sap       uint8 // starts_with_SAP in bit 7, SAP_type in bits 4-6
}

func readSidx(n *mp4.Node) index {
	b := body(n)
	v, _ := b.full()
	x := index{id: b.u32(), scale: int64(b.u32())}
	x.earliest = b.wide(v)
	x.first = b.wide(v)
	b.u16()
	for count := b.u16(); count > 0 && len(b.b) >= 12; count-- {
		size := b.u32()
		r := reference{index: size>>31 == 1, size: int64(size & 0x7fffffff), dur: int64(b.u32())}
		r.sap = uint8(b.u32() >> 24)
		x.refs = append(x.refs, r)
	}
	return x
}

// checkEvents checks that events of later chunks of the segment before stand
// before the first chunk of this one (CTA-5005 4.5).
func (c *checker) checkEvents(at Place, events []*mp4.Node) {
	for _, late := range c.owed {
		c.saw("C12")
		found := false
		for _, e := range events {
			found = found || string(e.Body) == string(late)
		}
		if !found {
			c.find("C12", at, "an emsg of a later chunk of the segment before is not repeated")
		}
	}
	c.owed, c.late = c.late, nil
}
