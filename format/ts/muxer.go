package ts

import (
	"encoding/binary"
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/nal"
)

// What the Muxer writes, in ticks of 90 kHz.
const (
	// PCRLead is by how much PCR runs ahead of the lead track's DTS: the time a
	// receiver has to gather a frame before it decodes it. 0.7 s holds the
	// largest frames of usual encoders and keeps PCR at most 1 s from any PTS
	// (ISO 13818-1 2.7.5 asks for less than 1 s of buffering).
	PCRLead = 63000

	pcrEvery = 3600   // at most 40 ms (ETSI TR 101 290 2.3)
	psiEvery = 36000  // 400 ms; with a step of PCR less than 500 ms (TR 101 290 1.3, 1.5)
	pcrJump  = 900000 // a longer pause is not filled with PCR

	muxProgram = 1
	muxPMT     = 0x1000
	muxFirst   = 0x0100 // PID of the first track
)

// Muxer writes packets as a transport stream of one program. Everything it
// appends is a whole number of 188-byte packets; continuity counters and the
// 33-bit clock go on from one call to the next, so that what is appended to
// several files is one stream. It keeps no reference to what it is given.
//
// The lead track, the first video, else the first audio, else the first track,
// carries PCR: in each of its frames, and in packets of their own where its
// frames are more than 40 ms apart.
type Muxer struct {
	tracks []muxTrack
	lead   int
	pmt    []byte // the PMT section
	patCC  uint8
	pmtCC  uint8

	timed bool // pcr and psi are valid
	pcr   int64
	psi   int64
	es    []byte // the elementary stream form of one packet, reused
}

// muxTrack is what the muxer knows of a track.
type muxTrack struct {
	av.Track
	pid      uint16
	typ      uint8
	streamID uint8
	desc     []byte
	cc       uint8
	discont  bool // discontinuity_indicator in the next packet
	lengths  int  // bytes of a NAL unit's length
	sets     [][]byte
	prefix   []byte // Annex B: access unit delimiter, then parameter sets
	aud      int    // bytes of prefix that are the delimiter
}

// NewMuxer returns a Muxer for the tracks, whose packets then name them by
// index. It returns an *av.Error that wraps av.ErrUnsupported if a track's codec
// has no form in a transport stream that players read, av.ErrInvalid if its
// Config is damaged, av.ErrTooLarge if the PMT would not fit.
func NewMuxer(tracks []av.Track) (*Muxer, error) {
	m := &Muxer{tracks: make([]muxTrack, len(tracks)), lead: leadOf(tracks)}
	for i := range tracks {
		t := &m.tracks[i]
		t.Track = tracks[i]
		t.pid = muxFirst + uint16(i)
		if err := t.setUp(); err != nil {
			return nil, err
		}
	}
	pmt, err := m.buildPMT()
	if err != nil {
		return nil, err
	}
	m.pmt = pmt
	return m, nil
}

// leadOf returns the index of the track that carries PCR.
func leadOf(tracks []av.Track) int {
	for _, k := range [...]av.Kind{av.Video, av.Audio} {
		for i := range tracks {
			if tracks[i].Kind == k {
				return i
			}
		}
	}
	return 0
}

// AppendHeader appends PAT and PMT. Each segment starts with it.
func (m *Muxer) AppendHeader(dst []byte) []byte {
	dst = appendSection(dst, pidPAT, &m.patCC, m.pat())
	dst = appendSection(dst, muxPMT, &m.pmtCC, m.pmt)
	if m.timed {
		m.psi = m.pcr
	}
	return dst
}

// Discontinuity says that what follows does not go on from what came before: the
// first packet of each track then carries discontinuity_indicator (ISO 13818-1
// 2.4.3.5).
func (m *Muxer) Discontinuity() {
	m.timed = false
	for i := range m.tracks {
		m.tracks[i].discont = true
	}
}

// AppendPacket appends one packet of a track; dts and pts, in ticks of 90 kHz,
// stand for p.DTS and p.PTS. Packets come in order of DTS per track; those of the
// lead track decide where PCR, PAT and PMT are put. Payload whose NAL lengths lie
// is written as far as they hold.
func (m *Muxer) AppendPacket(dst []byte, p av.Packet, dts, pts int64) []byte {
	return m.appendPacket(dst, p, dts, pts, -1)
}

// Last returns which packet of a track in a segment AppendLast is for, and how many come
// after it. Packets of a few bytes cannot be cut into many: in a segment that has no
// others, of silence, the counter may not come to 0.
func Last(packets []av.Packet) (at, after int) {
	for at = len(packets) - 1; at >= 0; at-- {
		if len(packets[at].Data) > 2*maskCC {
			return at, len(packets) - 1 - at
		}
	}
	return len(packets) - 1, 0
}

// AppendLast is AppendPacket for the last packet of a track in a segment that is made by a
// Muxer of its own, see Last: it is cut into so many transport packets that the continuity
// counter of the track is 0, with which the next segment begins, when after more packets,
// of one transport packet each, have come.
func (m *Muxer) AppendLast(dst []byte, p av.Packet, dts, pts int64, after int) []byte {
	return m.appendPacket(dst, p, dts, pts, after)
}

// AppendEnd appends as many PAT and PMT as make their next continuity counters 0.
func (m *Muxer) AppendEnd(dst []byte) []byte {
	for m.patCC != 0 || m.pmtCC != 0 {
		dst = m.AppendHeader(dst)
	}
	return dst
}

func (m *Muxer) appendPacket(dst []byte, p av.Packet, dts, pts int64, after int) []byte {
	t := &m.tracks[p.Track]
	lead := p.Track == m.lead
	if lead {
		dst = m.appendClock(dst, dts-PCRLead)
	}
	if t.inSections() {
		if lead {
			dst = m.appendPCR(dst, dts-PCRLead)
		}
		return appendSection(dst, t.pid, &t.cc, p.Data)
	}
	a := adaptation{pcr: -1, random: p.Flags.Has(av.Key) && (lead || t.Kind == av.Video), discont: t.discont}
	if lead {
		a.pcr = (dts - PCRLead) & timeMask
	}
	t.discont = false
	if t.lengths > 0 {
		return t.appendPicture(dst, p, dts, pts, a, after)
	}
	m.es = t.appendES(m.es[:0], p)
	w := newPESWriter(dst, t, len(m.es), dts, pts, a, after)
	w.write(m.es)
	return w.dst
}

// appendClock appends PCR, PAT and PMT that are due before a frame whose PCR is pcr.
func (m *Muxer) appendClock(dst []byte, pcr int64) []byte {
	gap := since(pcr, m.pcr)
	if !m.timed || gap < 0 || gap > pcrJump {
		m.timed, m.pcr, m.psi = true, pcr, pcr
		return dst
	}
	from := m.pcr
	for n, k := (gap+pcrEvery-1)/pcrEvery, int64(1); k <= n; k++ {
		m.pcr = from + gap*k/n
		if m.pcr-m.psi > psiEvery {
			dst = m.AppendHeader(dst)
		}
		if k < n {
			dst = m.appendPCR(dst, m.pcr)
		}
	}
	return dst
}

// appendPCR appends a packet of the lead's PID without payload; it does not
// count (ISO 13818-1 2.4.3.3).
func (m *Muxer) appendPCR(dst []byte, pcr int64) []byte {
	t := &m.tracks[m.lead]
	dst = append(dst, syncByte, byte(t.pid>>8), byte(t.pid), flagAdapt|(t.cc-1)&maskCC)
	a := adaptation{pcr: pcr & timeMask, discont: t.discont}
	t.discont = false
	return a.append(dst, packetSize-headerSize)
}

// adaptation is an adaptation field to be written.
type adaptation struct {
	pcr     int64 // -1 none
	random  bool
	discont bool
}

// size is the least that append needs, 0 if there is nothing to say.
func (a adaptation) size() int {
	switch {
	case a.pcr >= 0:
		return 8
	case a.random || a.discont:
		return 2
	}
	return 0
}

// append writes the field in exactly n >= size bytes (ISO 13818-1 2.4.3.4).
func (a adaptation) append(dst []byte, n int) []byte {
	dst = append(dst, byte(n-1))
	if n == 1 {
		return dst
	}
	end := len(dst) + n - 1
	var flags byte
	if a.discont {
		flags |= adaptDiscont
	}
	if a.random {
		flags |= adaptRandom
	}
	if a.pcr >= 0 {
		flags |= adaptPCR
	}
	dst = append(dst, flags)
	if a.pcr >= 0 { // 33 bits of 90 kHz, 6 reserved, 9 bits of 27 MHz
		dst = append(dst, byte(a.pcr>>25), byte(a.pcr>>17), byte(a.pcr>>9), byte(a.pcr>>1), byte(a.pcr<<7)|0x7E, 0)
	}
	return append(dst, ones[:end-len(dst)]...)
}

// ones is stuffing.
var ones = func() (b [packetSize]byte) {
	for i := range b {
		b[i] = 0xFF
	}
	return b
}()

// appendPESHeader appends a PES header for n bytes of payload.
func appendPESHeader(dst []byte, t *muxTrack, n int, dts, pts int64) []byte {
	head := 5
	if dts != pts {
		head = 10
	}
	length := 3 + head + n
	if t.streamID == sidVideo || length > 0xFFFF {
		length = 0
	}
	dst = append(dst, 0, 0, 1, t.streamID, byte(length>>8), byte(length), 0x84) // data_alignment_indicator
	if dts == pts {
		return appendTime(append(dst, 0x80, 5), 2, pts)
	}
	return appendTime(appendTime(append(dst, 0xC0, 10), 3, pts), 1, dts)
}

// pesWriter cuts one PES packet, written in pieces, into transport packets.
type pesWriter struct {
	dst   []byte
	t     *muxTrack
	left  int  // bytes of the PES packet to come
	room  int  // bytes free in the last transport packet
	alone int  // bytes of the first packet, if it is to have no more; else 0
	spare int  // packets after it that are to have one byte only
	start byte // flagStart until the first packet was begun
	field adaptation
}

// newPESWriter appends the header of a PES packet with n bytes of payload. The continuity
// counter of the track is to be 0 when after more transport packets have come; -1: it may
// be any.
func newPESWriter(dst []byte, t *muxTrack, n int, dts, pts int64, a adaptation, after int) pesWriter {
	const room = packetSize - headerSize
	var b [19]byte
	head := appendPESHeader(b[:0], t, n, dts, pts)
	w := pesWriter{t: t, left: len(head) + n, start: flagStart, field: a}
	if after >= 0 {
		w.spread(len(head), n, after)
	}
	n += len(head)
	w.dst = slices.Grow(dst, (n/room+3+w.spare)*packetSize)
	w.write(head)
	return w
}

// spread finds how many packets of one byte bring the continuity counter to where it is
// to be after a PES packet of a header and n bytes. If there are any, the header has a
// packet of its own. A PES packet of a few bytes cannot be spread so far.
func (w *pesWriter) spread(header, n, after int) {
	const room = packetSize - headerSize
	from := int(w.t.cc) + after
	if (from+(header+n+w.field.size()+room-1)/room)&maskCC == 0 {
		return
	}
	for spare := 0; spare <= min(maskCC, n); spare++ {
		if (from+1+spare+(n-spare+room-1)/room)&maskCC == 0 {
			w.alone, w.spare = header, spare
			return
		}
	}
}

func (w *pesWriter) write(b []byte) {
	for len(b) > 0 {
		if w.room == 0 {
			if b = w.whole(b); len(b) == 0 {
				return
			}
			w.begin()
		}
		n := min(len(b), w.room)
		w.dst = append(w.dst, b[:n]...)
		w.room -= n
		w.left -= n
		b = b[n:]
	}
}

// whole writes the transport packets that b fills, which are nearly all, and returns
// what is left of b.
func (w *pesWriter) whole(b []byte) []byte {
	const payload = packetSize - headerSize
	if w.start != 0 || w.field.size() > 0 || w.spare > 0 {
		return b
	}
	dst, head := w.dst, syncByte<<24|uint32(w.t.pid)<<8|flagPayload
	for len(b) >= payload {
		dst = binary.BigEndian.AppendUint32(dst, head|uint32(w.t.cc))
		dst = append(dst, b[:payload]...)
		w.t.cc = (w.t.cc + 1) & maskCC
		w.left -= payload
		b = b[payload:]
	}
	w.dst = dst
	return b
}

// begin begins a transport packet, with the stuffing that the last one needs.
func (w *pesWriter) begin() {
	w.room = min(w.left, packetSize-headerSize-w.field.size())
	switch {
	case w.start != 0 && w.alone > 0:
		w.room = w.alone
	case w.start == 0 && w.spare > 0:
		w.spare--
		w.room = 1
	}
	field := packetSize - headerSize - w.room
	flags := byte(flagPayload)
	if field > 0 {
		flags |= flagAdapt
	}
	w.dst = append(w.dst, syncByte, w.start|byte(w.t.pid>>8), byte(w.t.pid), flags|w.t.cc)
	w.t.cc = (w.t.cc + 1) & maskCC
	if field > 0 {
		w.dst = w.field.append(w.dst, field)
	}
	w.start, w.field = 0, adaptation{pcr: -1}
}

// appendPicture writes an access unit of H.264 or H.265 in Annex B: a delimiter
// in front, before a key frame the parameter sets of Config; what it would repeat
// is left out.
func (t *muxTrack) appendPicture(dst []byte, p av.Packet, dts, pts int64, a adaptation, after int) []byte {
	prefix := t.prefix[:t.aud]
	if p.Flags.Has(av.Key) {
		prefix = t.prefix
	}
	n := len(prefix)
	for list := nal.Split(p.Data, t.lengths); ; {
		u, ok := list.Next()
		if !ok {
			break
		}
		if !t.repeats(u) {
			n += len(longStartCode) + len(u)
		}
	}
	w := newPESWriter(dst, t, n, dts, pts, a, after)
	w.write(prefix)
	for list := nal.Split(p.Data, t.lengths); ; {
		u, ok := list.Next()
		if !ok {
			return w.dst
		}
		if !t.repeats(u) {
			w.write(longStartCode[:])
			w.write(u)
		}
	}
}

// longStartCode has the zero_byte that parameter sets and the first NAL unit of an
// access unit need (ITU-T H.264 B.1.2).
var longStartCode = [4]byte{0, 0, 0, 1}

// appendES appends the packet's payload as the elementary stream has it.
func (t *muxTrack) appendES(dst []byte, p av.Packet) []byte {
	switch t.Codec {
	case av.AAC:
		return appendADTS(dst, t.Config, p.Data)
	case av.Opus:
		dst = append(dst, 0x7F, 0xE0)
		n := len(p.Data)
		for ; n >= 0xFF; n -= 0xFF {
			dst = append(dst, 0xFF)
		}
		dst = append(dst, byte(n))
	}
	return append(dst, p.Data...)
}

// repeats reports whether the NAL unit is empty, or written by the muxer itself.
func (t *muxTrack) repeats(n []byte) bool {
	if len(n) == 0 {
		return true
	}
	if t.Codec == av.H264 {
		switch n[0] & 0x1F {
		case 9:
			return true
		case 7, 8:
			return t.isSet(n)
		}
		return false
	}
	switch n[0] >> 1 & 0x3F {
	case 35:
		return true
	case 32, 33, 34:
		return t.isSet(n)
	}
	return false
}

func (t *muxTrack) isSet(n []byte) bool {
	for _, s := range t.sets {
		if string(s) == string(n) {
			return true
		}
	}
	return false
}
