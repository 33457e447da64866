package h264

import "github.com/cleave-video/cleave/internal/bits"

// Picture is what the head of a slice says of its picture.
type Picture struct {
	FirstMB   uint64
	Kind      uint8 // slice type
	PPS       uint8
	FrameNum  uint32
	IDRPicID  uint32
	IDR       bool
	Ref       bool // nal_ref_idc != 0
	Field     bool
	Bottom    bool
	POCLSB    uint32
	DeltaPOCB int32
	DeltaPOC  [2]int32
}

// ParsePicture reads a slice's head as far as its picture order count. deltaPOC
// is the PPS's bottom_field_pic_order_in_frame_present_flag.
// ITU-T H.264 7.3.3
func ParsePicture(unit []byte, s *SPS, deltaPOC bool) (p Picture, ok bool) {
	if len(unit) < 2 {
		return p, false
	}
	var raw [sliceHead]byte
	r := bits.New(unescapeHead(&raw, unit[1:]))
	p.FirstMB = r.UE()
	kind, pps := r.UE(), r.UE()
	p.Kind, p.PPS = uint8(kind%5), uint8(pps)
	p.IDR, p.Ref = Type(unit) == TypeIDR, unit[0]>>5&3 != 0
	if s.SeparatePlanes {
		r.Skip(2)
	}
	p.FrameNum = uint32(r.U(s.Log2MaxFrameNum))
	if !s.FrameMBSOnly {
		if p.Field = r.Flag(); p.Field {
			p.Bottom = r.Flag()
		}
	}
	if p.IDR {
		p.IDRPicID = uint32(r.UE())
	}
	switch s.POCType {
	case 0:
		p.POCLSB = uint32(r.U(s.Log2MaxPOCLSB))
		if deltaPOC && !p.Field {
			p.DeltaPOCB = int32(r.SE())
		}
	case 1:
		if !s.DeltaAlwaysZero {
			p.DeltaPOC[0] = int32(r.SE())
			if deltaPOC && !p.Field {
				p.DeltaPOC[1] = int32(r.SE())
			}
		}
	}
	return p, r.Err() == nil && kind <= 9 && pps <= 255
}

// SameAs reports whether both slices are of one picture. ITU-T H.264 7.4.1.2.4
func (p *Picture) SameAs(q *Picture) bool {
	return p.FrameNum == q.FrameNum && p.PPS == q.PPS && p.Field == q.Field && p.Bottom == q.Bottom &&
		p.Ref == q.Ref && p.IDR == q.IDR && (!p.IDR || p.IDRPicID == q.IDRPicID) &&
		p.POCLSB == q.POCLSB && p.DeltaPOCB == q.DeltaPOCB && p.DeltaPOC == q.DeltaPOC
}

// POCState derives picture order counts. The zero value begins at an IDR picture.
// memory_management_control_operation 5 is taken for what it nearly always is,
// an IDR in other words, by its effect: the count falls back. ITU-T H.264 8.2.1
type POCState struct {
	prevLSB  uint32
	prevMSB  int64
	prevNum  uint32
	numOff   int64
	anchored bool
}

// Next returns the count of p, the lower of its fields. reset is true at IDR
// pictures, where a new count from 0 begins.
func (st *POCState) Next(p *Picture, s *SPS) (poc int64, reset bool) {
	if p.IDR {
		*st = POCState{anchored: true}
		reset = true
	}
	switch s.POCType {
	case 0:
		poc = st.type0(p, s)
	case 1:
		poc = st.type1(p, s)
	default:
		poc = st.type2(p, s)
	}
	st.prevNum = p.FrameNum
	return poc, reset
}

func (st *POCState) type0(p *Picture, s *SPS) int64 {
	span := uint32(1) << s.Log2MaxPOCLSB
	msb := st.prevMSB
	switch {
	case p.POCLSB < st.prevLSB && st.prevLSB-p.POCLSB >= span/2:
		msb += int64(span)
	case p.POCLSB > st.prevLSB && p.POCLSB-st.prevLSB > span/2:
		msb -= int64(span)
	}
	if p.Ref {
		st.prevMSB, st.prevLSB = msb, p.POCLSB
	}
	top := msb + int64(p.POCLSB)
	return min(top, top+int64(p.DeltaPOCB))
}

func (st *POCState) frameNum(p *Picture, s *SPS) int64 {
	if !p.IDR && st.prevNum > p.FrameNum {
		st.numOff += 1 << s.Log2MaxFrameNum
	}
	return st.numOff + int64(p.FrameNum)
}

func (st *POCState) type1(p *Picture, s *SPS) int64 {
	abs := st.frameNum(p, s)
	n := int64(len(s.OffsetsRef))
	if n == 0 {
		abs = 0
	}
	if !p.Ref && abs > 0 {
		abs--
	}
	poc, cycle := int64(0), int64(0)
	for _, o := range s.OffsetsRef {
		cycle += o
	}
	if abs > 0 {
		full, part := (abs-1)/n, (abs-1)%n
		poc = full * cycle
		for _, o := range s.OffsetsRef[:part+1] {
			poc += o
		}
	}
	if !p.Ref {
		poc += s.OffsetNonRef
	}
	top := poc + int64(p.DeltaPOC[0])
	bottom := top + s.OffsetTopToBot + int64(p.DeltaPOC[1])
	switch {
	case !p.Field:
		return min(top, bottom)
	case p.Bottom:
		return poc + s.OffsetTopToBot + int64(p.DeltaPOC[0])
	}
	return top
}

func (st *POCState) type2(p *Picture, s *SPS) int64 {
	poc := 2 * st.frameNum(p, s)
	if !p.Ref {
		poc--
	}
	return poc
}

// PPSInfo reads the id of a PPS, its SPS's, and whether slices carry the second
// delta of the order count. ITU-T H.264 7.3.2.2
func PPSInfo(unit []byte) (id, sps uint8, deltaPOC, ok bool) {
	if len(unit) < 2 {
		return 0, 0, false, false
	}
	var raw [sliceHead]byte
	r := bits.New(unescapeHead(&raw, unit[1:]))
	i, s := r.UE(), r.UE()
	r.Skip(1)
	deltaPOC = r.Flag()
	return uint8(i), uint8(s), deltaPOC, r.Err() == nil && i <= 255 && s <= 31
}
