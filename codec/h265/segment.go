package h265

import (
	mathbits "math/bits"

	"github.com/cleave-video/cleave/internal/bits"
)

// segment passes over the header of a slice segment; what it cannot read ends r.
type segment struct {
	r    bits.Reader
	kind int // of the NAL unit
	sps  *sliceSPS
	pps  *slicePPS

	slice       uint64 // slice_type
	total       int    // NumPicTotalCurr
	temporalMVP bool
	refs        [2]uint64
	sao         bool
}

func (s *segment) parse(h *Headers) {
	r := &s.r
	first := r.Flag()
	if s.kind >= 16 && s.kind <= 23 {
		r.Skip(1)
	}
	id := r.UE()
	p, okPPS := h.pps[uint8(id)]
	sps, okSPS := h.sps[p.sps]
	if id > 63 || !okPPS || !okSPS {
		r.Skip(-1)
		return
	}
	s.pps, s.sps = &p.slicePPS, &sps.sliceSPS
	dependent := false
	if !first {
		dependent = p.dependent && r.Flag()
		r.Skip(sps.addressBits)
	}
	if !dependent {
		s.independent()
	}
	if p.tiles || p.wavefront {
		s.entryPoints()
	}
	if p.headerExtension {
		n := r.UE()
		if n > 256 {
			r.Skip(-1)
			return
		}
		r.Skip(int(n) * 8)
	}
	r.Skip(1) // alignment_bit_equal_to_one; zeros follow up to the byte
}

// independent passes over what a dependent segment takes from the one before it.
func (s *segment) independent() {
	r, p := &s.r, s.pps
	r.Skip(p.extraBits)
	if s.slice = r.UE(); s.slice > SliceI {
		r.Skip(-1)
		return
	}
	if p.outputFlag {
		r.Skip(1)
	}
	if s.sps.separatePlanes {
		r.Skip(2)
	}
	if s.kind != TypeIDRWRADL && s.kind != TypeIDRNLP {
		s.pictures()
	}
	if s.sps.sao {
		s.sao = r.Flag()
		if s.sps.chroma {
			s.sao = r.Flag() || s.sao
		}
	}
	if s.slice != SliceI {
		s.inter()
	}
	r.SE()
	if p.chromaQP {
		r.SE()
		r.SE()
	}
	if p.chromaQPList {
		r.Skip(1)
	}
	off := p.deblockingOff
	if p.override && r.Flag() {
		if off = r.Flag(); !off {
			r.SE()
			r.SE()
		}
	}
	if p.acrossSlices && (s.sao || !off) {
		r.Skip(1)
	}
}

// pictures passes over the order count and the reference picture sets.
func (s *segment) pictures() {
	r := &s.r
	r.Skip(s.sps.log2LSB)
	if r.Flag() {
		i := uint64(0)
		if n := len(s.sps.sets); n > 1 {
			i = r.U(mathbits.Len(uint(n - 1)))
		}
		if i >= uint64(len(s.sps.sets)) {
			r.Skip(-1)
			return
		}
		s.total = s.sps.sets[i].used()
	} else {
		s.total = s.ownSet()
	}
	if s.sps.longTerm {
		n := r.UE()
		if n > 32 {
			r.Skip(-1)
			return
		}
		for range n {
			r.Skip(s.sps.log2LSB)
			if r.Flag() {
				s.total++
			}
			if r.Flag() {
				r.UE()
			}
		}
	}
	s.temporalMVP = s.sps.temporalMVP && r.Flag()
}

// maxPictures bounds the pictures of a set. ITU-T H.265 7.4.8
const maxPictures = 16

// ownSet passes over a set that stands in the header, and returns how many of
// its pictures are used. ITU-T H.265 7.3.7
func (s *segment) ownSet() (used int) {
	r, sets := &s.r, s.sps.sets
	if len(sets) > 0 && r.Flag() { // predicted from one of the SPS
		back := r.UE() + 1
		negative := r.Flag()
		delta := int64(r.UE()&0xffff) + 1
		if negative {
			delta = -delta
		}
		if back > uint64(len(sets)) {
			r.Skip(-1)
			return 0
		}
		ref := sets[uint64(len(sets))-back]
		for j := range len(ref) + 1 {
			at := delta
			if j < len(ref) {
				at += ref[j].delta
			}
			if !r.Flag() {
				r.Skip(1)
			} else if at != 0 {
				used++
			}
		}
		return used
	}
	n := [2]uint64{r.UE(), r.UE()}
	if n[0] > maxPictures || n[1] > maxPictures {
		r.Skip(-1)
		return 0
	}
	for range n[0] + n[1] {
		r.UE()
		if r.Flag() {
			used++
		}
	}
	return used
}

// inter passes over what P and B slices have.
func (s *segment) inter() {
	r, p := &s.r, s.pps
	lists := 1
	if s.slice == SliceB {
		lists = 2
	}
	s.refs = p.refs
	if r.Flag() {
		for i := range lists {
			s.refs[i] = r.UE() + 1
		}
	}
	if s.refs[0] > maxPictures || s.refs[1] > maxPictures {
		r.Skip(-1)
		return
	}
	if p.listModification && s.total > 1 {
		for i := range lists {
			if r.Flag() {
				r.Skip(int(s.refs[i]) * mathbits.Len(uint(s.total-1)))
			}
		}
	}
	if s.slice == SliceB {
		r.Skip(1)
	}
	if p.cabacInit {
		r.Skip(1)
	}
	if s.temporalMVP {
		list := 0
		if s.slice == SliceB && !r.Flag() {
			list = 1
		}
		if s.refs[list] > 1 {
			r.UE()
		}
	}
	if p.weightedP && s.slice == SliceP || p.weightedB && s.slice == SliceB {
		s.weights(lists)
	}
	r.UE()
}

// weights passes over pred_weight_table. ITU-T H.265 7.3.6.3
func (s *segment) weights(lists int) {
	r := &s.r
	r.UE()
	if s.sps.chroma {
		r.SE()
	}
	for i := range lists {
		n := int(s.refs[i])
		luma, chroma := r.U(n), uint64(0)
		if s.sps.chroma {
			chroma = r.U(n)
		}
		for k := n - 1; k >= 0; k-- {
			if luma>>k&1 != 0 {
				r.SE()
				r.SE()
			}
			if chroma>>k&1 != 0 {
				for range 4 {
					r.SE()
				}
			}
		}
	}
}

// maxEntries bounds entry points: 22 tile rows of 20 columns, or a row of blocks
// each. ITU-T H.265 table A.8
const maxEntries = 1100

func (s *segment) entryPoints() {
	n := s.r.UE()
	if n == 0 {
		return
	}
	width := s.r.UE() + 1
	if n > maxEntries || width > 32 {
		s.r.Skip(-1)
		return
	}
	s.r.Skip(int(n * width))
}

// slicePPS is what the header of a slice segment needs of a PPS.
// ITU-T H.265 7.3.2.3
type slicePPS struct {
	id, sps          uint8
	dependent        bool
	outputFlag       bool
	extraBits        int
	cabacInit        bool
	refs             [2]uint64
	chromaQP         bool // pps_slice_chroma_qp_offsets_present_flag
	weightedP        bool
	weightedB        bool
	tiles, wavefront bool
	acrossSlices     bool
	override         bool // deblocking_filter_override_enabled_flag
	deblockingOff    bool
	listModification bool
	headerExtension  bool
	chromaQPList     bool // chroma_qp_offset_list_enabled_flag
}

func parseSlicePPS(r *bits.Reader) (p slicePPS, ok bool) {
	id, sps := r.UE(), r.UE()
	p.id, p.sps = uint8(id), uint8(sps)
	p.dependent, p.outputFlag, p.extraBits = r.Flag(), r.Flag(), int(r.U(3))
	r.Skip(1)
	p.cabacInit = r.Flag()
	p.refs = [2]uint64{r.UE() + 1, r.UE() + 1}
	r.SE()
	r.Skip(1)
	transformSkip := r.Flag()
	if r.Flag() {
		r.UE()
	}
	r.SE()
	r.SE()
	p.chromaQP, p.weightedP, p.weightedB = r.Flag(), r.Flag(), r.Flag()
	r.Skip(1)
	p.tiles, p.wavefront = r.Flag(), r.Flag()
	if p.tiles {
		skipTiles(r)
	}
	p.acrossSlices = r.Flag()
	if r.Flag() {
		p.override = r.Flag()
		if p.deblockingOff = r.Flag(); !p.deblockingOff {
			r.SE()
			r.SE()
		}
	}
	if r.Flag() {
		skipScaling(r)
	}
	p.listModification = r.Flag()
	r.UE()
	p.headerExtension = r.Flag()
	if r.Flag() {
		rangeExtension, others := r.Flag(), r.U(7)
		if others != 0 { // multi-layer, 3D, screen content, or not known
			return p, false
		}
		if rangeExtension {
			if transformSkip {
				r.UE()
			}
			r.Skip(1)
			p.chromaQPList = r.Flag()
		}
	}
	return p, r.Err() == nil && id < 64 && sps < 16
}

func skipTiles(r *bits.Reader) {
	columns, rows := r.UE(), r.UE()
	if columns >= 20 || rows >= 22 {
		r.Skip(-1)
		return
	}
	if !r.Flag() {
		for range columns + rows {
			r.UE()
		}
	}
	r.Skip(1)
}

// skipScaling passes over scaling_list_data. ITU-T H.265 7.3.4
func skipScaling(r *bits.Reader) {
	for size := range 4 {
		step := 1
		if size == 3 {
			step = 3
		}
		for matrix := 0; matrix < 6; matrix += step {
			if !r.Flag() {
				r.UE()
				continue
			}
			if size > 1 {
				r.SE()
			}
			for range min(64, 1<<(4+size<<1)) {
				r.SE()
			}
		}
	}
}
