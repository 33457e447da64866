package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/internal/nal"
)

// ByteStream turns one H.264 or H.265 elementary stream from Annex B into access
// units of NAL units behind four-byte lengths, and keeps its parameter sets.
//
// For each access unit: Scan, then Write into memory of the size that Scan gave.
type ByteStream struct {
	hevc bool
	vps  [16][]byte // copies, by id; nil if not seen
	sps  [32][]byte
	pps  [256][]byte

	avcSPS  [32]*h264.SPS
	hevcSPS [16]*h265.SPS
	ppsSPS  [256]uint8 // which SPS a PPS refers to
	delta   [256]bool  // H.264: bottom_field_pic_order_in_frame_present_flag
	hevcPPS [64]h265.PPS

	active int  // SPS of the newest picture; -1 unknown
	dirty  bool // a set changed since config was made
	config []byte
	inconf [][]byte // the sets in config
	inUse  int      // the active SPS when config was made
	units  []span   // of the access unit that Scan saw
	credit int      // bytes that new parameter sets may cost

	sawVCL bool // StartsAU: the current access unit has a slice
	last   h264.Picture
	poc    h264.POCState
	poc265 h265.POCState
	ended  bool // H.265: the access unit that Scan saw ends its sequence
	begins bool // the next picture begins one
}

type span struct{ start, end int }

// NewByteStream returns a ByteStream for av.H264 or av.H265.
func NewByteStream(c av.Codec) *ByteStream {
	return &ByteStream{hevc: c == av.H265, active: -1, inUse: -1, credit: firstCredit}
}

// New parameter sets cost memory beyond their own size: they are paid for with
// the bytes of the stream, so that a stream of nothing else costs no more than
// any other. Real streams never spend what they begin with.
const (
	firstCredit = 192 << 10
	setCost     = 512 // of a set that is read
	rebuildCost = 8   // times the configuration's size
)

// spend takes n bytes of credit, if there is as much.
func (s *ByteStream) spend(n int) bool {
	if s.credit < n {
		return false
	}
	s.credit -= n
	return true
}

// earn adds half the bytes of a stream to the credit: a set costs its bytes and
// what is built of them.
func (s *ByteStream) earn(n int) { s.credit = min(s.credit+n/2, firstCredit) }

// Config returns the configuration record, with lengths of four bytes, of the
// access unit that Scan saw last; nil until every parameter set was seen.
func (s *ByteStream) Config() []byte { return s.config }

// MaxUnits bounds the NAL units of one access unit: more than the slices and SEI
// messages that any level allows.
const MaxUnits = 4096

// StartCodes appends to dst where the start codes of an access unit begin, as
// AddStartCode does.
func StartCodes(dst []int, au []byte) []int {
	for pos := 0; ; pos += 3 {
		if pos = nal.StartCode(au, pos); pos < 0 {
			return dst
		}
		dst = AddStartCode(dst, au, pos)
	}
}

// AddStartCode adds to codes, which are those before it, the start code at b[at].
// One behind an empty NAL unit takes the place of that one's. It adds no more than
// MaxUnits+1.
func AddStartCode(codes []int, b []byte, at int) []int {
	n := len(codes)
	if n > MaxUnits {
		return codes
	}
	if n > 0 {
		end := at
		for end > codes[n-1]+3 && b[end-1] == 0 {
			end--
		}
		if end == codes[n-1]+3 {
			codes[n-1] = at
			return codes
		}
	}
	return append(codes, at)
}

// Scan looks at one access unit; codes is where its start codes begin, in order:
// who split the stream knows them, and looking for them again would cost as much
// as all the rest. size is what Write needs: access unit delimiters, filler and
// the parameter sets that Config has are left out. changed tells that Config is
// new, which happens at key pictures only. The error wraps av.ErrTooLarge: too
// many NAL units, or parameter sets that change too often.
func (s *ByteStream) Scan(au []byte, codes []int) (size int, changed bool, err error) {
	s.units = s.units[:0]
	s.begins, s.ended = s.begins || s.ended, false
	s.earn(len(au))
	key := false
	for i, at := range codes {
		if i == MaxUnits {
			return 0, false, fmt.Errorf("codec: access unit: %w: more than %d NAL units", av.ErrTooLarge, MaxUnits)
		}
		end := len(au)
		if i+1 < len(codes) {
			end = codes[i+1]
		}
		start := at + 3
		for end > start && au[end-1] == 0 { // of no NAL unit
			end--
		}
		if end == start {
			continue
		}
		u := au[start:end]
		s.units = append(s.units, span{start, end})
		s.ended = s.ended || s.endsSequence(u)
		s.learn(u)
		s.activate(u)
		key = key || s.isKey(u)
	}
	if (key || s.config == nil) && (s.dirty || s.active != s.inUse || s.config == nil) {
		old := s.config
		if err := s.rebuild(4); err != nil {
			return 0, false, err
		}
		changed = s.config != nil && !bytes.Equal(old, s.config)
	}
	for _, p := range s.units {
		if u := au[p.start:p.end]; s.kept(u) {
			size += 4 + len(u)
		}
	}
	return size, changed, nil
}

// Write fills dst, of the size that Scan gave, with the access unit given to Scan.
func (s *ByteStream) Write(dst, au []byte) {
	for _, p := range s.units {
		u := au[p.start:p.end]
		if !s.kept(u) {
			continue
		}
		binary.BigEndian.PutUint32(dst, uint32(len(u)))
		copy(dst[4:], u)
		dst = dst[4+len(u):]
	}
}

func (s *ByteStream) kept(u []byte) bool {
	if s.hevc {
		switch t := h265.Type(u); {
		case t == h265.TypeAUD, t == 38: // 38: filler
			return false
		case t >= h265.TypeVPS && t <= h265.TypePPS:
			return !holds(s.inconf, u)
		}
		return true
	}
	switch h264.Type(u) {
	case h264.TypeAUD, h264.TypeFiller:
		return false
	case h264.TypeSPS, h264.TypePPS:
		return !holds(s.inconf, u)
	}
	return true
}

func (s *ByteStream) isKey(u []byte) bool {
	if s.hevc {
		t := h265.Type(u)
		return t >= 16 && t <= 23
	}
	if h264.Type(u) == h264.TypeSEI {
		_, ok := h264.Recovery(u)
		return ok
	}
	return h264.Type(u) == h264.TypeIDR
}

// endsSequence reports whether the next picture begins a coded video sequence,
// whatever it is. ITU-T H.265 7.4.2.2, 8.1.3
func (s *ByteStream) endsSequence(u []byte) bool {
	return s.hevc && (h265.Type(u) == h265.TypeEOS || h265.Type(u) == h265.TypeEOB)
}

// learn keeps a parameter set that is new.
func (s *ByteStream) learn(u []byte) {
	if s.hevc {
		s.learn265(u)
		return
	}
	switch h264.Type(u) {
	case h264.TypeSPS:
		if len(u) > h264.MaxSet || holds(s.sps[:], u) || !s.spend(setCost) {
			return
		}
		if p, err := h264.ParseSPS(u); err == nil {
			s.keep(&s.sps[p.ID], u)
			s.avcSPS[p.ID] = &p
		}
	case h264.TypePPS:
		if len(u) > h264.MaxSet || holds(s.pps[:], u) || !s.spend(setCost) {
			return
		}
		if id, sps, delta, ok := h264.PPSInfo(u); ok {
			s.keep(&s.pps[id], u)
			s.ppsSPS[id], s.delta[id] = sps, delta
		}
	}
}

func (s *ByteStream) learn265(u []byte) {
	if len(u) < 3 || len(u) > h265.MaxSet {
		return
	}
	switch h265.Type(u) {
	case h265.TypeVPS:
		if holds(s.vps[:], u) || !s.spend(setCost) {
			return
		}
		s.keep(&s.vps[u[2]>>4], u)
	case h265.TypeSPS:
		if holds(s.sps[:], u) || !s.spend(setCost) {
			return
		}
		if p, err := h265.ParseSPS(u); err == nil && p.ID < 16 {
			s.keep(&s.sps[p.ID], u)
			s.hevcSPS[p.ID] = &p
		}
	case h265.TypePPS:
		if holds(s.pps[:64], u) || !s.spend(setCost) {
			return
		}
		if p, ok := h265.ParsePPS(u); ok {
			s.keep(&s.pps[p.ID], u)
			s.ppsSPS[p.ID], s.hevcPPS[p.ID] = p.SPS, p
		}
	}
}

// keep stores a copy of u unless that is there already.
func (s *ByteStream) keep(at *[]byte, u []byte) {
	if bytes.Equal(*at, u) {
		return
	}
	*at = append([]byte(nil), u...)
	s.dirty = true
}

// activate notes which SPS a slice uses. ITU-T H.264 7.4.1.2.1
func (s *ByteStream) activate(u []byte) {
	var id uint8
	var ok bool
	if s.hevc {
		if !h265.IsVCL(h265.Type(u)) {
			return
		}
		id, ok = h265.SlicePPS(u)
	} else {
		_, _, id, ok = h264.SliceHead(u)
	}
	if ok && s.pps[id] != nil && s.sps[s.ppsSPS[id]] != nil {
		s.active = int(s.ppsSPS[id])
	}
}

// rebuild makes config of all sets, the active SPS first; config stays nil while
// a kind is missing.
func (s *ByteStream) rebuild(nalLen int) error {
	sps := s.collect(s.sps[:], s.active)
	pps := s.collect(s.pps[:], -1)
	vps := s.collect(s.vps[:], -1)
	if len(sps) == 0 || len(pps) == 0 || s.hevc && len(vps) == 0 {
		return nil
	}
	if n := length(sps) + length(pps) + length(vps); !s.spend(rebuildCost * n) {
		return fmt.Errorf("codec: parameter sets: %w: %d bytes change too often", av.ErrTooLarge, n)
	}
	var config []byte
	if s.hevc {
		c, err := h265.NewConfig(vps, sps, pps)
		if err != nil {
			return err
		}
		c.NALLength = nalLen
		config = c.Append(nil)
	} else {
		sps, pps = sps[:min(len(sps), 31)], pps[:min(len(pps), h264.MaxPPS)]
		c, err := h264.NewConfig(sps, pps)
		if err != nil {
			return err
		}
		c.NALLength = nalLen
		config = c.Append(nil)
	}
	s.config, s.dirty, s.inUse = config, false, s.active
	s.inconf = append(append(append(s.inconf[:0], vps...), sps...), pps...)
	return nil
}

func length(list [][]byte) (n int) {
	for _, u := range list {
		n += len(u)
	}
	return n
}

func (s *ByteStream) collect(list [][]byte, first int) (out [][]byte) {
	if first >= 0 && list[first] != nil {
		out = append(out, list[first])
	}
	for i, u := range list {
		if u != nil && i != first {
			out = append(out, u)
		}
	}
	return out
}
