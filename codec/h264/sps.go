package h264

import (
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/bits"
	"github.com/cleave-video/cleave/internal/nal"
)

// SPS is what is used of a sequence parameter set. ITU-T H.264 7.4.2.1
type SPS struct {
	ID                           uint8
	Profile, Level               uint8
	ChromaFormat                 uint8
	BitDepthLuma, BitDepthChroma uint8
	SeparatePlanes               bool
	Log2MaxFrameNum              int
	POCType                      uint8
	Log2MaxPOCLSB                int
	DeltaAlwaysZero              bool
	OffsetNonRef, OffsetTopToBot int64
	OffsetsRef                   []int64
	MaxRefFrames                 int
	Constraints                  uint8 // constraint_set0_flag is bit 7
	FrameMBSOnly                 bool
	Width, Height                int // after cropping
	SAR                          av.Rational
	FrameRate                    av.Rational // of whole frames; Den 0 if not stated
	FixedRate                    bool
	Reorder                      int // max_num_reorder_frames; -1 if not stated
}

// ParseSPS reads an SPS NAL unit, header included.
func ParseSPS(unit []byte) (SPS, error) {
	s := SPS{ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8, Reorder: -1}
	if len(unit) < 4 || len(unit) > MaxSet {
		return s, fmt.Errorf("h264: SPS: %w: %d bytes", av.ErrInvalid, len(unit))
	}
	r := bits.New(nal.Unescape(make([]byte, 0, len(unit)), unit[1:]))
	s.Profile = uint8(r.U(8))
	s.Constraints = uint8(r.U(8))
	s.Level = uint8(r.U(8))
	id := r.UE()
	if id > 31 {
		return s, fmt.Errorf("h264: SPS.seq_parameter_set_id: %w: %d", av.ErrInvalid, id)
	}
	s.ID = uint8(id)
	if err := s.chroma(&r); err != nil {
		return s, err
	}
	if err := s.order(&r); err != nil {
		return s, err
	}
	if err := s.size(&r); err != nil {
		return s, err
	}
	if r.Flag() {
		s.vui(&r)
	}
	if err := r.Err(); err != nil {
		return s, fmt.Errorf("h264: SPS: %w", av.ErrTruncated)
	}
	return s, nil
}

func (s *SPS) chroma(r *bits.Reader) error {
	switch s.Profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
	default:
		return nil
	}
	c := r.UE()
	if c > 3 {
		return fmt.Errorf("h264: SPS.chroma_format_idc: %w: %d", av.ErrInvalid, c)
	}
	s.ChromaFormat = uint8(c)
	if c == 3 {
		s.SeparatePlanes = r.Flag()
	}
	luma, chroma := r.UE(), r.UE()
	if luma > 6 || chroma > 6 {
		return fmt.Errorf("h264: SPS.bit_depth: %w: %d and %d", av.ErrInvalid, luma+8, chroma+8)
	}
	s.BitDepthLuma, s.BitDepthChroma = uint8(luma+8), uint8(chroma+8)
	r.Skip(1)
	if r.Flag() {
		lists := 8
		if c == 3 {
			lists = 12
		}
		for i := range lists {
			if r.Flag() {
				skipScalingList(r, i)
			}
		}
	}
	return nil
}

// skipScalingList passes over one list. ITU-T H.264 7.3.2.1.1.1
func skipScalingList(r *bits.Reader, i int) {
	n := 16
	if i >= 6 {
		n = 64
	}
	last, next := int64(8), int64(8)
	for range n {
		if next != 0 {
			next = (last + r.SE() + 256) & 255
		}
		if next != 0 {
			last = next
		}
	}
}

func (s *SPS) order(r *bits.Reader) error {
	frameNum := r.UE()
	kind := r.UE()
	if frameNum > 12 || kind > 2 {
		return fmt.Errorf("h264: SPS.pic_order_cnt_type: %w: %d, frame number of %d bits", av.ErrInvalid, kind, frameNum+4)
	}
	s.Log2MaxFrameNum, s.POCType = int(frameNum)+4, uint8(kind)
	switch kind {
	case 0:
		lsb := r.UE()
		if lsb > 12 {
			return fmt.Errorf("h264: SPS.log2_max_pic_order_cnt_lsb: %w: %d", av.ErrInvalid, lsb+4)
		}
		s.Log2MaxPOCLSB = int(lsb) + 4
	case 1:
		s.DeltaAlwaysZero = r.Flag()
		s.OffsetNonRef, s.OffsetTopToBot = r.SE(), r.SE()
		n := r.UE()
		if n > 255 {
			return fmt.Errorf("h264: SPS.num_ref_frames_in_pic_order_cnt_cycle: %w: %d", av.ErrInvalid, n)
		}
		for range n {
			s.OffsetsRef = append(s.OffsetsRef, r.SE())
		}
	}
	refs := r.UE()
	if refs > 16 {
		return fmt.Errorf("h264: SPS.max_num_ref_frames: %w: %d", av.ErrInvalid, refs)
	}
	s.MaxRefFrames = int(refs)
	r.Skip(1)
	return nil
}

func (s *SPS) size(r *bits.Reader) error {
	w, h := r.UE()+1, r.UE()+1
	s.FrameMBSOnly = r.Flag()
	fields := uint64(1)
	if !s.FrameMBSOnly {
		fields = 2
		r.Skip(1)
	}
	r.Skip(1)
	if w > 1024 || h*fields > 1024 { // level 6.2 allows 1056 by 540 macroblocks and less
		return fmt.Errorf("h264: SPS.pic_width_in_mbs: %w: %d by %d macroblocks", av.ErrInvalid, w, h*fields)
	}
	s.Width, s.Height = int(w)*16, int(h*fields)*16
	if r.Flag() {
		left, right, top, bottom := r.UE(), r.UE(), r.UE(), r.UE()
		x, y := uint64(1), fields
		if s.ChromaFormat == 1 || s.ChromaFormat == 2 {
			x = 2
		}
		if s.ChromaFormat == 1 {
			y *= 2
		}
		cw, ch := (left+right)*x, (top+bottom)*y
		if cw >= uint64(s.Width) || ch >= uint64(s.Height) {
			return fmt.Errorf("h264: SPS.frame_crop: %w: %d by %d of %d by %d", av.ErrInvalid, cw, ch, s.Width, s.Height)
		}
		s.Width -= int(cw)
		s.Height -= int(ch)
	}
	return nil
}

// aspects are the sample aspect ratios by aspect_ratio_idc. ITU-T H.264 table E-1
var aspects = [...]av.Rational{{}, {Num: 1, Den: 1}, {Num: 12, Den: 11}, {Num: 10, Den: 11}, {Num: 16, Den: 11}, {Num: 40, Den: 33}, {Num: 24, Den: 11}, {Num: 20, Den: 11}, {Num: 32, Den: 11}, {Num: 80, Den: 33}, {Num: 18, Den: 11}, {Num: 15, Den: 11}, {Num: 64, Den: 33}, {Num: 160, Den: 99}, {Num: 4, Den: 3}, {Num: 3, Den: 2}, {Num: 2, Den: 1}}

// vui reads video usability information. ITU-T H.264 E.1.1
func (s *SPS) vui(r *bits.Reader) {
	s.aspect(r)
	if r.Flag() { // overscan
		r.Skip(1)
	}
	if r.Flag() { // video_signal_type
		r.Skip(4)
		if r.Flag() {
			r.Skip(24)
		}
	}
	if r.Flag() { // chroma_loc_info
		r.UE()
		r.UE()
	}
	if r.Flag() { // timing_info
		unit, scale := uint32(r.U(32)), uint32(r.U(32))
		s.FixedRate = r.Flag()
		if unit != 0 && scale != 0 && unit <= 1<<31-1 {
			s.FrameRate = av.Rational{Num: scale, Den: 2 * unit}.Reduced()
		}
	}
	nalHRD := r.Flag()
	if nalHRD {
		skipHRD(r)
	}
	vclHRD := r.Flag()
	if vclHRD {
		skipHRD(r)
	}
	if nalHRD || vclHRD {
		r.Skip(1)
	}
	r.Skip(1) // pic_struct_present_flag
	if r.Flag() {
		r.Skip(1)
		for range 4 {
			r.UE()
		}
		reorder, buffering := r.UE(), r.UE()
		if r.Err() == nil && reorder <= 16 && reorder <= buffering {
			s.Reorder = int(reorder)
		}
	}
}

// aspect reads the sample aspect ratio.
func (s *SPS) aspect(r *bits.Reader) {
	if !r.Flag() {
		return
	}
	idc := r.U(8)
	switch {
	case idc == 255:
		s.SAR = av.Rational{Num: uint32(r.U(16)), Den: uint32(r.U(16))}
	case idc < uint64(len(aspects)):
		s.SAR = aspects[idc]
	}
}

func skipHRD(r *bits.Reader) {
	n := r.UE() + 1
	if n > 32 {
		r.Skip(-1)
		return
	}
	r.Skip(8)
	for range n {
		r.UE()
		r.UE()
		r.Skip(1)
	}
	r.Skip(20)
}
