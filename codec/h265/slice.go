package h265

import "github.com/cleave-video/cleave/internal/bits"

// PPS is what slice heads need of a picture parameter set. ITU-T H.265 7.4.3.3
type PPS struct {
	ID, SPS    uint8
	Dependent  bool // dependent_slice_segments_enabled_flag
	OutputFlag bool // output_flag_present_flag
	ExtraBits  int  // num_extra_slice_header_bits
}

// ParsePPS reads the head of a PPS NAL unit.
func ParsePPS(unit []byte) (p PPS, ok bool) {
	if len(unit) < 3 {
		return p, false
	}
	var raw [sliceHead]byte
	r := bits.New(unescapeHead(&raw, unit[2:]))
	id, sps := r.UE(), r.UE()
	p.Dependent, p.OutputFlag, p.ExtraBits = r.Flag(), r.Flag(), int(r.U(3))
	p.ID, p.SPS = uint8(id), uint8(sps)
	return p, r.Err() == nil && id < 64 && sps < 16
}

// sliceHead is how much of a slice is looked at.
const sliceHead = 40

func unescapeHead(dst *[sliceHead]byte, b []byte) []byte {
	n, zeros := 0, 0
	for _, c := range b {
		if n == len(dst) {
			break
		}
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst[n] = c
		n++
	}
	return dst[:n]
}

// FirstSlice reports whether a slice NAL unit begins a picture.
// ITU-T H.265 7.4.2.4.5
func FirstSlice(unit []byte) bool { return len(unit) > 2 && unit[2]&0x80 != 0 }

// Slice types. ITU-T H.265 table 7-7
const (
	SliceB = 0
	SliceP = 1
	SliceI = 2
)

// Picture is what the head of a picture's first slice says.
type Picture struct {
	Type   int // of the NAL unit
	PPS    uint8
	Kind   uint8
	POCLSB uint32
	TID    uint8 // nuh_temporal_id_plus1 - 1
}

// IRAP reports whether decoding can begin at the picture. ITU-T H.265 3.76
func (p *Picture) IRAP() bool { return p.Type >= 16 && p.Type <= 23 }

// SlicePPS returns the id of the PPS that a first slice uses.
func SlicePPS(unit []byte) (id uint8, ok bool) {
	if len(unit) < 3 {
		return 0, false
	}
	var raw [sliceHead]byte
	r := bits.New(unescapeHead(&raw, unit[2:]))
	if !r.Flag() {
		return 0, false
	}
	if t := Type(unit); t >= 16 && t <= 23 {
		r.Skip(1)
	}
	v := r.UE()
	return uint8(v), r.Err() == nil && v < 64
}

// ParsePicture reads the head of a picture's first slice as far as the picture
// order count. ITU-T H.265 7.3.6.1
func ParsePicture(unit []byte, s *SPS, pps *PPS) (p Picture, ok bool) {
	if len(unit) < 3 || unit[1]&7 == 0 {
		return p, false
	}
	p.Type, p.TID = Type(unit), unit[1]&7-1
	var raw [sliceHead]byte
	r := bits.New(unescapeHead(&raw, unit[2:]))
	if !r.Flag() {
		return p, false
	}
	if p.IRAP() {
		r.Skip(1)
	}
	p.PPS = uint8(r.UE())
	r.Skip(pps.ExtraBits)
	kind := r.UE()
	p.Kind = uint8(kind)
	if pps.OutputFlag {
		r.Skip(1)
	}
	if s.SeparatePlanes {
		r.Skip(2)
	}
	if p.Type != TypeIDRWRADL && p.Type != TypeIDRNLP {
		p.POCLSB = uint32(r.U(s.Log2MaxPOCLSB))
	}
	return p, r.Err() == nil && kind <= 2
}

// POCState derives picture order counts. The zero value begins at an IRAP
// picture. ITU-T H.265 8.3.1
type POCState struct {
	prevLSB uint32
	prevMSB int64
	begun   bool
}

// Next returns the count of p. reset is true where a new count begins: at IDR and
// BLA pictures and at the first.
func (st *POCState) Next(p *Picture, s *SPS) (poc int64, reset bool) {
	span := uint32(1) << s.Log2MaxPOCLSB
	reset = !st.begun || p.Type >= TypeBLAWLP && p.Type <= TypeIDRNLP
	msb := int64(0)
	if !reset {
		msb = st.prevMSB
		switch {
		case p.POCLSB < st.prevLSB && st.prevLSB-p.POCLSB >= span/2:
			msb += int64(span)
		case p.POCLSB > st.prevLSB && p.POCLSB-st.prevLSB > span/2:
			msb -= int64(span)
		}
	}
	st.begun = true
	// RASL, RADL and sub-layer non-reference pictures are no anchor.
	if p.TID == 0 && (p.Type < TypeRADLN || p.Type > TypeRASLR) && (p.Type > 14 || p.Type&1 == 1) {
		st.prevMSB, st.prevLSB = msb, p.POCLSB
	}
	return msb + int64(p.POCLSB), reset
}
