package verify

import (
	"bytes"
	"errors"
	"io"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/ts"
)

// counter is the continuity of one PID.
type counter struct {
	cc   uint8
	seen bool
}

// tsSegment checks the packets of one segment.
type tsSegment struct {
	c       *checker
	at      Place
	in      ts.Inspector
	cc      map[uint16]counter
	media   bool // a PES packet has begun
	video   map[uint16]bool
	begin   map[uint16]ts.PESInfo // the first of each video stream
	pcr     int64
	lastPCR int64 // packet of it
	pts     map[uint16]int64
	dts     map[uint16]int64
	discont map[uint16]bool
	sets    map[uint16]bool // a first picture was seen
	first   bool            // segment of its playlist
	broke   bool            // EXT-X-DISCONTINUITY
	sample  bool            // SAMPLE-AES

	continuous bool             // no segment: a stream that goes on
	tabled     map[string]int64 // PCR when each table came last, -1 before the first
}

func newTSSegment(c *checker, at Place, counters map[uint16]counter) *tsSegment {
	return &tsSegment{
		c: c, at: at, cc: counters, pcr: -1, pts: map[uint16]int64{}, dts: map[uint16]int64{}, discont: map[uint16]bool{}, sets: map[uint16]bool{},
		video: map[uint16]bool{}, begin: map[uint16]ts.PESInfo{}, tabled: map[string]int64{},
	}
}

// lookTS reads and checks one segment of a transport stream.
func (c *checker) lookTS(at Place, data []byte, p *playlist, i int) []*look {
	looks := c.demuxTS(at, data)
	c.saw("T1", "T2", "T3", "T10")
	// The ranges of an I-frame playlist leave packets out between them.
	if i == 0 || c.counters == nil || c.countersOf != p || p.role == "iframes" {
		c.counters, c.countersOf = map[uint16]counter{}, p
	}
	s := newTSSegment(c, at, c.counters)
	s.first, s.broke, s.sample = i == 0, p.m.Segments[i].Discontinuity, p.keyOf(i) == "SAMPLE-AES"
	if len(data)%ts.PacketSize != 0 {
		c.find("T2", at, "%d bytes are not a multiple of 188", len(data))
	}
	for n := int64(1); len(data) >= ts.PacketSize; n++ {
		if data[0] != ts.SyncByte {
			c.find("T2", s.packet(n), "begins with 0x%02x, not 0x47", data[0])
			break
		}
		s.take(n, data[:ts.PacketSize])
		data = data[ts.PacketSize:]
	}
	if !s.in.HasPAT || !s.in.HasPMT {
		c.find("T1", at, "no PAT and PMT that can be read in the segment")
	}
	s.checkStreams()
	for _, e := range s.in.Streams {
		if !s.video[e.PID] {
			continue
		}
		l := lookOf(looks, e.PID)
		switch {
		case l == nil:
			c.find("T7", at, "PID 0x%x has pictures, but no parameter sets from which a decoder can start", e.PID)
		case ts.Since(l.dts, s.begin[e.PID].DTS) > 0:
			c.find("T7", at, "PID 0x%x has pictures for %d ms before the first parameter sets", e.PID, ts.Since(l.dts, s.begin[e.PID].DTS)/90)
			l.dts, l.pts, l.sap = s.begin[e.PID].DTS, s.begin[e.PID].PTS, sapNone
		}
	}
	return looks
}

func lookOf(looks []*look, pid uint16) *look {
	for _, l := range looks {
		if l.id == uint32(pid) && l.kind == av.Video {
			return l
		}
	}
	return nil
}

func (s *tsSegment) packet(n int64) Place {
	at := s.at
	at.Packet = n
	return at
}

func (s *tsSegment) take(n int64, b []byte) {
	p := s.in.Packet(b)
	if p.Damaged {
		s.c.find("S3", s.packet(n), "PID 0x%x: transport_error_indicator, or an adaptation field longer than the packet", p.PID)
		return
	}
	if p.BadTable != nil {
		s.c.find("T10", s.packet(n), "%v", p.BadTable)
	}
	s.continuity(n, &p)
	if !s.first && n == 1 {
		s.c.saw("T11")
	}
	if p.Discont && !s.first && !s.broke && !s.discont[p.PID] {
		s.discont[p.PID] = true
		s.c.find("T11", s.packet(n), "PID 0x%x has discontinuity_indicator, the segment no EXT-X-DISCONTINUITY", p.PID)
	}
	if s.continuous {
		if p.Discont && p.PID == s.in.PCRPID {
			s.restart()
		}
		s.tables(n, &p)
	}
	if p.PCR >= 0 && p.PID == s.in.PCRPID {
		s.clock(n, &p)
	}
	if p.PES != nil {
		s.pes(n, &p)
	} else if p.Start && p.Table == "" && s.isStream(p.PID) && len(p.Payload) >= 9 && !s.sections(p.PID) {
		s.c.find("T10", s.packet(n), "PID 0x%x begins a PES packet whose header cannot be read", p.PID)
	}
}

func (s *tsSegment) stream(pid uint16) *ts.ElementaryStream {
	for i := range s.in.Streams {
		if s.in.Streams[i].PID == pid {
			return &s.in.Streams[i]
		}
	}
	return nil
}

func (s *tsSegment) isStream(pid uint16) bool { return s.stream(pid) != nil }

// sections reports whether a stream carries sections, not PES packets.
func (s *tsSegment) sections(pid uint16) bool {
	e := s.stream(pid)
	return e != nil && (e.Type == 0x05 || e.Type == 0x86 || e.Type >= 0x0A && e.Type <= 0x0D)
}

// continuity checks the counter, across segments, too. Null packets have none; a
// packet without payload repeats it; one duplicate is allowed (2.4.3.3).
func (s *tsSegment) continuity(n int64, p *ts.PacketInfo) {
	if p.PID == 0x1FFF {
		return
	}
	last := s.cc[p.PID]
	s.cc[p.PID] = counter{p.CC, true}
	if !last.seen || p.Discont {
		return
	}
	want := last.cc
	if p.HasPayload {
		want = (want + 1) & 15
	}
	if p.CC == want || p.HasPayload && p.CC == last.cc {
		return
	}
	if n <= 64 && !s.started(p.PID) {
		s.c.saw("A6")
		if !s.broke {
			s.c.find("A6", s.packet(n), "PID 0x%x: continuity_counter %d at the start of the segment, %d would follow on", p.PID, p.CC, want)
		}
		return
	}
	s.c.find("T3", s.packet(n), "PID 0x%x: continuity_counter %d, %d expected", p.PID, p.CC, want)
}

// started reports whether the PID was seen in this segment, and notes it.
func (s *tsSegment) started(pid uint16) bool {
	k := pid | 0x8000
	was := s.sets[k]
	s.sets[k] = true
	return was
}

func (s *tsSegment) clock(n int64, p *ts.PacketInfo) {
	s.c.saw("T5")
	if s.pcr >= 0 && !p.Discont {
		if gap := ts.Since(p.PCR, s.pcr); gap > 9000 {
			s.c.find("T5", s.packet(n), "PCR %d ms behind the last one, in packet %d", gap/90, s.lastPCR)
		} else if gap < 0 {
			s.c.find("T5", s.packet(n), "PCR goes back by %d ms", -gap/90)
		}
	}
	for table, at := range s.tabled {
		if at < 0 {
			s.tabled[table] = p.PCR
		}
	}
	s.pcr, s.lastPCR = p.PCR, n
}

func (s *tsSegment) pes(n int64, p *ts.PacketInfo) {
	e := s.stream(p.PID)
	if !s.media {
		s.media = true
		if !s.continuous && (!s.in.HasPAT || !s.in.HasPMT) {
			s.c.find("T1", s.packet(n), "a PES packet of PID 0x%x before PAT and PMT", p.PID)
		}
	}
	if e == nil || !p.PES.HasPTS {
		return
	}
	s.c.saw("T8")
	pts, dts := p.PES.PTS, p.PES.PTS
	if p.PES.HasDTS {
		dts = p.PES.DTS
	}
	if ts.Since(pts, dts) < 0 {
		s.c.find("T8", s.packet(n), "PID 0x%x: PTS %d is before DTS %d", p.PID, pts, dts)
	}
	s.times(n, p, e.Type, dts)
	if (e.Type == 0x1B || e.Type == 0x24) && !s.video[p.PID] {
		s.video[p.PID] = true
		s.begin[p.PID] = ts.PESInfo{PTS: pts, DTS: dts}
		if !s.continuous {
			s.firstPicture(n, p, e.Type)
		}
	}
	if isAudio(e.Type) && p.PES.Length == 0 {
		s.c.find("T10", s.packet(n), "PID 0x%x: an audio PES packet without a length", p.PID)
	}
}

// times compares a time stamp with the one before it and with PCR.
func (s *tsSegment) times(n int64, p *ts.PacketInfo, typ uint8, dts int64) {
	if last, ok := s.dts[p.PID]; ok && ts.Since(dts, last) <= 0 && isMedia(typ) {
		s.c.find("T8", s.packet(n), "PID 0x%x: DTS %d, the one before is %d", p.PID, dts, last)
	}
	if last, ok := s.pts[p.PID]; ok && isMedia(typ) {
		s.c.saw("T6")
		if gap := ts.Since(dts, last); gap > 63000 {
			s.c.find("T6", s.packet(n), "PID 0x%x: %d ms since the last time stamp", p.PID, gap/90)
		}
	}
	if s.pcr >= 0 && p.PID == s.in.PCRPID && ts.Since(dts, s.pcr) < 0 {
		s.c.find("T5", s.packet(n), "PID 0x%x: DTS is %d ms before PCR", p.PID, ts.Since(s.pcr, dts)/90)
	}
	s.pts[p.PID], s.dts[p.PID] = dts, dts
}

// firstPicture checks what a decoder needs before the first picture.
func (s *tsSegment) firstPicture(n int64, p *ts.PacketInfo, typ uint8) {
	s.c.saw("T7")
	if !p.Random {
		s.c.should("T7", s.packet(n), "PID 0x%x: random_access_indicator is not set at the first picture", p.PID)
	}
	b := p.PES.Payload
	aud := len(b) > 4 && (bytes.HasPrefix(b, []byte{0, 0, 0, 1}) && unitType(b[4], typ) == audType(typ) || bytes.HasPrefix(b, []byte{0, 0, 1}) && unitType(b[3], typ) == audType(typ))
	if !aud {
		s.c.should("T7", s.packet(n), "PID 0x%x: the first picture does not begin with an access unit delimiter", p.PID)
	}
}

func unitType(b, typ uint8) uint8 {
	if typ == 0x24 {
		return b >> 1 & 63
	}
	return b & 31
}

func audType(typ uint8) uint8 {
	if typ == 0x24 {
		return 35
	}
	return 9
}

func isAudio(typ uint8) bool {
	switch typ {
	case 0x03, 0x04, 0x0F, 0x11, 0x81, 0x87, 0xCF, 0xC1, 0xC2:
		return true
	}
	return false
}

func isMedia(typ uint8) bool { return isAudio(typ) || typ == 0x1B || typ == 0x24 || typ == 0xDB }

// checkStreams checks the PMT.
func (s *tsSegment) checkStreams() {
	audio := 0
	for _, e := range s.in.Streams {
		s.c.saw("T9", "T12")
		if isAudio(e.Type) {
			audio++
		}
		switch e.Type {
		case 0x11:
			s.c.find("T12", s.at, "PID 0x%x is AAC in LATM, stream_type 0x11", e.PID)
		case 0x1B, 0x24, 0x0F, 0x03, 0x04, 0x81, 0x87, 0x15, 0x86, 0xDB, 0xCF, 0xC1, 0xC2:
		case 0x06:
			if len(e.Descriptors) == 0 {
				s.c.find("T9", s.at, "PID 0x%x has stream_type 0x06 and no descriptor that says what it is", e.PID)
			}
		default:
			s.c.find("T9", s.at, "PID 0x%x has stream_type 0x%02x, which HLS does not know", e.PID, e.Type)
		}
		if s.sample {
			s.c.saw("T13")
			if e.Type == 0x1B || e.Type == 0x0F || e.Type == 0x81 {
				s.c.find("T13", s.at, "PID 0x%x has the stream_type of clear media, 0x%02x, under SAMPLE-AES", e.PID, e.Type)
			}
		}
	}
	if len(s.in.Streams) > 0 {
		s.c.saw("A30")
		if audio > 1 {
			s.c.find("A30", s.at, "%d audio streams in one segment", audio)
		}
	}
}

// demuxTS returns the tracks of a segment as this program's demuxer reads them.
func (c *checker) demuxTS(at Place, data []byte) []*look {
	d := ts.NewDemuxer(bytes.NewReader(data))
	defer d.Close()
	t := &tsTracks{at: at}
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			t.set(d.Tracks())
		case errors.Is(err, io.EOF):
			return present(t.all)
		case err != nil && t.all == nil:
			return nil // T1 and T7 say why there is nothing to read
		case err != nil:
			c.find("S3", at, "%v", err)
			return present(t.all)
		case p.Track < len(t.now):
			t.now[p.Track].add(p, t.insp[p.Track])
		}
	}
}

// tsTracks are the tracks of a segment: those that begin late are announced late.
type tsTracks struct {
	at   Place
	all  []*look
	now  []*look // by the demuxer's number
	insp []*codec.Inspector
}

func (x *tsTracks) set(tracks []av.Track) {
	x.now, x.insp = make([]*look, len(tracks)), make([]*codec.Inspector, len(tracks))
	for i := range tracks {
		t := &tracks[i]
		for _, l := range x.all {
			if l.id == t.ID && l.kind == t.Kind {
				x.now[i] = l
			}
		}
		if x.now[i] == nil {
			info, _ := codec.Describe(t)
			x.now[i] = &look{
				id: t.ID, kind: t.Kind, codec: info.String, scale: 90000, place: x.at, wraps: true, description: *t, width: info.Width, height: info.Height,
			}
			x.all = append(x.all, x.now[i])
		}
		if t.Codec != av.Private {
			x.insp[i], _ = codec.NewInspector(t)
		}
	}
}

// add takes one packet of a transport stream. The demuxer leaves parameter sets
// out of a picture; whether they were there shows in that there is a track at all.
func (l *look) add(p av.Packet, insp *codec.Inspector) {
	if l.samples == 0 {
		l.dts, l.endDTS, l.pts, l.endPTS, l.first = p.DTS, p.DTS, p.PTS, p.PTS, int64(len(p.Data))
		if insp != nil {
			l.sap = startOf(insp.Flags(p.Data))
		}
	}
	dts := l.dts + ts.Since(p.DTS, l.dts)
	pts := l.dts + ts.Since(p.PTS, l.dts)
	dur := p.Dur
	if l.samples > 0 && dts > l.endDTS {
		dur = max(dur, dts-l.endDTS)
	}
	if p.Flags.Has(av.Key) {
		l.keys = append(l.keys, pts)
	}
	l.frame = max(l.frame, dur)
	l.endDTS = dts // of the last so far; present adds its length
	l.pts, l.endPTS = min(l.pts, pts), max(l.endPTS, pts)
	l.samples++
}

// present leaves out tracks without samples and lets the last frame last as long
// as the longest.
func present(looks []*look) []*look {
	var out []*look
	for _, l := range looks {
		if l.samples == 0 {
			continue
		}
		if l.frame == 0 && l.samples == 1 {
			l.frame = 3000
		}
		frame := l.frame
		if l.samples > 1 {
			frame = (l.endDTS - l.dts) / int64(l.samples-1) // of constant rates; else near
		}
		l.endDTS, l.endPTS = l.endDTS+frame, l.endPTS+frame
		out = append(out, l)
	}
	return out
}
