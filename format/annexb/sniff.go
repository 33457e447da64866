package annexb

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/internal/nal"
)

// maxLead is how many zero bytes may come before the first start code.
const maxLead = 16

// Sniff returns the codec that head, the first bytes of an input, up to 4 KiB, is
// a byte stream of, and from 0 to 100 how sure that is.
func Sniff(head []byte) (av.Codec, int) {
	i := nal.StartCode(head, 0)
	if i < 0 || i > maxLead {
		return av.CodecUnknown, 0
	}
	for _, c := range head[:i] {
		if c != 0 {
			return av.CodecUnknown, 0
		}
	}
	avc, hevc := count(head, grade264), count(head, grade265)
	switch {
	case avc == 0 && hevc == 0:
		return av.CodecUnknown, 0
	case hevc > avc:
		return av.H265, hevc
	}
	return av.H264, avc
}

// grades of one NAL unit.
const (
	gradeBad   = -1
	gradePlain = 0
	gradeSlice = 30
	gradeSet   = 95 // a sequence parameter set that can be read
)

// count returns the best grade in head; a bad one makes 0.
func count(head []byte, grade func([]byte) int) int {
	best := 0
	for pos := 0; ; {
		start, end, next := nal.Next(head, pos)
		if start < 0 || end == start || next == len(head) && best > 0 { // the last is cut
			return best
		}
		g := grade(head[start:end])
		if g == gradeBad {
			return 0
		}
		best, pos = max(best, g), next
	}
}

// grade264 knows that nal_ref_idc is 0 for some types and not for others.
// ITU-T H.264 7.4.1
func grade264(u []byte) int {
	t, ref := h264.Type(u), u[0]&0x60 != 0
	switch {
	case u[0]&0x80 != 0 || t == 0 || t > 20:
		return gradeBad
	case (t == 6 || t >= 9 && t <= 12) == ref && (t >= 5 && t <= 12):
		return gradeBad
	case t == h264.TypeSPS:
		if _, err := h264.ParseSPS(u); err == nil {
			return gradeSet
		}
	case t == h264.TypeSlice || t == h264.TypeIDR:
		if _, _, _, ok := h264.SliceHead(u); ok {
			return gradeSlice
		}
		return gradeBad
	}
	return gradePlain
}

// grade265 knows that nuh_temporal_id_plus1 is not 0. ITU-T H.265 7.4.2.2
func grade265(u []byte) int {
	if len(u) < 2 || u[0]&0x80 != 0 || u[1]&7 == 0 || u[0]&1 != 0 || u[1]>>3 != 0 {
		return gradeBad
	}
	switch t := h265.Type(u); {
	case t == h265.TypeSPS:
		if _, err := h265.ParseSPS(u); err == nil {
			return gradeSet
		}
	case h265.IsVCL(t):
		return gradeSlice
	}
	return gradePlain
}
