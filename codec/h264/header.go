package h264

import (
	"bytes"

	"github.com/cleave-video/cleave/internal/bits"
	"github.com/cleave-video/cleave/internal/nal"
)

// Headers measures the slice headers of a stream. The zero value knows no
// parameter sets; Set gives it those of the configuration and of the samples.
type Headers struct {
	sps map[uint8]knownSPS
	pps map[uint8]knownPPS
	buf []byte
}

type knownSPS struct {
	raw []byte
	SPS
}

type knownPPS struct {
	raw []byte
	pps
}

// pps is what a slice header needs of a PPS. ITU-T H.264 7.3.2.2
type pps struct {
	id, sps      uint8
	cabac        bool
	fieldOrder   bool // bottom_field_pic_order_in_frame_present_flag
	refs         [2]uint64
	weightedP    bool
	weightedB    uint64
	deblocking   bool
	redundantPic bool
}

// Set takes over a parameter set; other NAL units and damaged ones change nothing.
func (h *Headers) Set(unit []byte) {
	if len(unit) < 2 || len(unit) > MaxSet {
		return
	}
	switch Type(unit) {
	case TypeSPS:
		for _, k := range h.sps {
			if bytes.Equal(k.raw, unit) {
				return
			}
		}
		if s, err := ParseSPS(unit); err == nil {
			if h.sps == nil {
				h.sps = make(map[uint8]knownSPS)
			}
			h.sps[s.ID] = knownSPS{bytes.Clone(unit), s}
		}
	case TypePPS:
		for _, k := range h.pps {
			if bytes.Equal(k.raw, unit) {
				return
			}
		}
		if p, ok := h.parsePPS(unit); ok {
			if h.pps == nil {
				h.pps = make(map[uint8]knownPPS)
			}
			h.pps[p.id] = knownPPS{bytes.Clone(unit), p}
		}
	}
}

// parsePPS reads a PPS. Slice groups, which no encoder uses, are not known.
func (h *Headers) parsePPS(unit []byte) (p pps, ok bool) {
	h.buf = nal.Unescape(h.buf[:0], unit[1:])
	r := bits.New(h.buf)
	id, sps := r.UE(), r.UE()
	p.id, p.sps = uint8(id), uint8(sps)
	p.cabac, p.fieldOrder = r.Flag(), r.Flag()
	groups := r.UE()
	p.refs = [2]uint64{r.UE() + 1, r.UE() + 1}
	p.weightedP, p.weightedB = r.Flag(), r.U(2)
	r.SE()
	r.SE()
	r.SE()
	p.deblocking = r.Flag()
	r.Skip(1)
	p.redundantPic = r.Flag()
	return p, r.Err() == nil && groups == 0 && id <= 255 && sps <= 31 && p.refs[0] <= 32 && p.refs[1] <= 32
}

// A slice header is looked for in the first bytes of its NAL unit, then in more:
// one with weights for 32 references in both lists has 1.2 KiB.
const (
	headerWindow    = 256
	maxHeaderWindow = 4 << 10
)

// Size returns how many bytes of a slice NAL unit, emulation prevention
// included, hold its header and that of the unit: slice data begins in the last
// of them or behind it. ok is false if the unit is no slice, or uses parameter
// sets or tools that are not known. ITU-T H.264 7.3.3
func (h *Headers) Size(unit []byte) (n int, ok bool) {
	if len(unit) < 2 {
		return 0, false
	}
	if t := Type(unit); t != TypeSlice && t != TypeIDR && t != TypePartitionA {
		return 0, false
	}
	for window := headerWindow; window <= maxHeaderWindow; window *= 16 {
		head := unit[1:min(len(unit), 1+window)]
		h.buf = nal.Unescape(h.buf[:0], head)
		r := bits.New(h.buf)
		h.slice(&r, unit)
		if r.Err() == nil {
			return 1 + nal.Escaped(head, (r.Pos()+7)/8), true
		}
		if len(head) == len(unit)-1 {
			break
		}
	}
	return 0, false
}

// slice passes over a slice header; what it cannot read ends r.
func (h *Headers) slice(r *bits.Reader, unit []byte) {
	r.UE()
	kind, id := r.UE(), r.UE()
	p, okPPS := h.pps[uint8(id)]
	s, okSPS := h.sps[p.sps]
	if kind > 9 || id > 255 || !okPPS || !okSPS {
		r.Skip(-1)
		return
	}
	kind %= 5
	idr := Type(unit) == TypeIDR
	skipOrder(r, &s.SPS, &p.pps, idr)
	if p.redundantPic {
		r.UE()
	}
	if kind != SliceI && kind != SliceSI {
		skipReferences(r, &s.SPS, &p.pps, kind == SliceB)
	}
	if unit[0]>>5&3 != 0 {
		skipMarking(r, idr)
	}
	if p.cabac && kind != SliceI && kind != SliceSI {
		r.UE()
	}
	r.SE()
	if kind == SliceSP {
		r.Skip(1)
	}
	if kind == SliceSP || kind == SliceSI {
		r.SE()
	}
	if p.deblocking && r.UE() != 1 {
		r.SE()
		r.SE()
	}
}

// skipReferences passes over what a slice that predicts says of the pictures it
// predicts from.
func skipReferences(r *bits.Reader, s *SPS, p *pps, b bool) {
	refs, lists := p.refs, 1
	if b {
		r.Skip(1)
		lists = 2
	}
	if r.Flag() {
		for i := range lists {
			refs[i] = r.UE() + 1
		}
	}
	skipListModification(r, lists)
	if p.weightedP && !b || p.weightedB == 1 && b {
		skipWeights(r, refs[:lists], s.ChromaFormat != 0 && !s.SeparatePlanes)
	}
}

// skipOrder passes over what says which picture it is.
func skipOrder(r *bits.Reader, s *SPS, p *pps, idr bool) {
	if s.SeparatePlanes {
		r.Skip(2)
	}
	r.Skip(s.Log2MaxFrameNum)
	field := false
	if !s.FrameMBSOnly {
		if field = r.Flag(); field {
			r.Skip(1)
		}
	}
	if idr {
		r.UE()
	}
	switch {
	case s.POCType == 0:
		r.Skip(s.Log2MaxPOCLSB)
		if p.fieldOrder && !field {
			r.SE()
		}
	case s.POCType == 1 && !s.DeltaAlwaysZero:
		r.SE()
		if p.fieldOrder && !field {
			r.SE()
		}
	}
}

// skipListModification passes over ref_pic_list_modification. ITU-T H.264 7.3.3.1
func skipListModification(r *bits.Reader, lists int) {
	for range lists {
		if !r.Flag() {
			continue
		}
		for r.Err() == nil && r.UE() != 3 {
			r.UE()
		}
	}
}

// skipWeights passes over pred_weight_table. ITU-T H.264 7.3.3.2
func skipWeights(r *bits.Reader, refs []uint64, chroma bool) {
	r.UE()
	if chroma {
		r.UE()
	}
	for _, n := range refs {
		if n > 32 {
			r.Skip(-1)
			return
		}
		for range n {
			if r.Flag() {
				r.SE()
				r.SE()
			}
			if chroma && r.Flag() {
				for range 4 {
					r.SE()
				}
			}
		}
	}
}

// skipMarking passes over dec_ref_pic_marking. ITU-T H.264 7.3.3.3
func skipMarking(r *bits.Reader, idr bool) {
	if idr {
		r.Skip(2)
		return
	}
	if !r.Flag() {
		return
	}
	for r.Err() == nil {
		op := r.UE()
		switch op {
		case 0:
			return
		case 3:
			r.UE()
			r.UE()
		case 1, 2, 4, 6:
			r.UE()
		}
	}
}
