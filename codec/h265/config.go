// Package h265 reads what the rest of the program must know of H.265 streams:
// configuration records, parameter sets and the heads of slices. ITU-T H.265
package h265

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/nal"
)

// NAL unit types. ITU-T H.265 table 7-1
const (
	TypeRADLN     = 6
	TypeRASLN     = 8
	TypeRASLR     = 9
	TypeBLAWLP    = 16
	TypeIDRWRADL  = 19
	TypeIDRNLP    = 20
	TypeCRA       = 21
	TypeVPS       = 32
	TypeSPS       = 33
	TypePPS       = 34
	TypeAUD       = 35
	TypeEOS       = 36
	TypeEOB       = 37
	TypePrefixSEI = 39
)

// Type returns the type of a NAL unit that is not empty.
func Type(unit []byte) int { return int(unit[0] >> 1 & 0x3f) }

// IsVCL reports whether a type is a slice's.
func IsVCL(t int) bool { return t < 32 }

// Bounds on parameter sets: those of real streams are under 1 KiB.
const (
	MaxSet  = 4 << 10 // bytes of one
	maxSets = 64      // in one array of a record
)

// Config is an HEVCDecoderConfigurationRecord. ISO 14496-15 8.3.3.1.2
type Config struct {
	Head      [22]byte // as stored, up to numOfArrays; the length size is patched in
	NALLength int
	VPS       [][]byte
	SPS       [][]byte
	PPS       [][]byte
	SEI       [][]byte
}

// ParseConfig reads a record; the parameter sets are slices of b. The error wraps
// av.ErrTruncated or av.ErrInvalid and names the field.
func ParseConfig(b []byte) (Config, error) {
	var c Config
	if len(b) < 23 {
		return c, fmt.Errorf("h265: hvcC: %w: %d bytes", av.ErrTruncated, len(b))
	}
	copy(c.Head[:], b)
	c.NALLength = int(b[21]&3) + 1
	if c.NALLength == 3 {
		return c, fmt.Errorf("h265: hvcC.lengthSizeMinusOne: %w: 2", av.ErrInvalid)
	}
	rest := b[23:]
	for i := range int(b[22]) {
		if len(rest) < 3 {
			return c, fmt.Errorf("h265: hvcC.array[%d]: %w", i, av.ErrTruncated)
		}
		kind, n := rest[0]&0x3f, int(rest[1])<<8|int(rest[2])
		rest = rest[3:]
		if n > maxSets {
			return c, fmt.Errorf("h265: hvcC.array[%d].numNalus: %w: %d", i, av.ErrTooLarge, n)
		}
		for range n {
			if len(rest) < 2 || len(rest)-2 < int(rest[0])<<8|int(rest[1]) {
				return c, fmt.Errorf("h265: hvcC.array[%d].nalUnitLength: %w", i, av.ErrTruncated)
			}
			size := int(rest[0])<<8 | int(rest[1])
			unit := rest[2 : 2+size : 2+size]
			rest = rest[2+size:]
			if size > MaxSet && kind != TypePrefixSEI {
				return c, fmt.Errorf("h265: hvcC.array[%d].nalUnitLength: %w: %d", i, av.ErrTooLarge, size)
			}
			c.add(kind, unit)
		}
	}
	return c, nil
}

func (c *Config) add(kind byte, unit []byte) {
	switch kind {
	case TypeVPS:
		c.VPS = append(c.VPS, unit)
	case TypeSPS:
		c.SPS = append(c.SPS, unit)
	case TypePPS:
		c.PPS = append(c.PPS, unit)
	case TypePrefixSEI:
		c.SEI = append(c.SEI, unit)
	}
}

// NewConfig makes the record for parameter sets, with lengths of four bytes. The
// first SPS gives profile, tier and level.
func NewConfig(vps, sps, pps [][]byte) (Config, error) {
	c := Config{NALLength: 4, VPS: vps, SPS: sps, PPS: pps}
	if len(vps) == 0 || len(sps) == 0 || len(pps) == 0 {
		return c, fmt.Errorf("h265: %w: %d VPS, %d SPS, %d PPS", av.ErrInvalid, len(vps), len(sps), len(pps))
	}
	s, err := ParseSPS(sps[0])
	if err != nil {
		return c, err
	}
	raw := nal.Unescape(make([]byte, 0, 32), sps[0][:min(32, len(sps[0]))])
	if len(raw) < 15 {
		return c, fmt.Errorf("h265: SPS: %w", av.ErrTruncated)
	}
	h := &c.Head
	h[0] = 1
	copy(h[1:13], raw[3:15]) // profile_tier_level, as it stands in the SPS
	h[13], h[14] = 0xf0, 0   // min_spatial_segmentation_idc unknown
	h[15] = 0xfc             // parallelismType unknown
	h[16] = 0xfc | s.ChromaFormat
	h[17] = 0xf8 | s.BitDepthLuma - 8
	h[18] = 0xf8 | s.BitDepthChroma - 8
	h[21] = (s.TemporalLayers & 7) << 3
	if s.TemporalNesting {
		h[21] |= 4
	}
	return c, nil
}

// Append appends the record.
func (c *Config) Append(dst []byte) []byte {
	dst = append(dst, c.Head[:]...)
	dst[len(dst)-1] = dst[len(dst)-1]&^3 | byte(c.NALLength-1)
	at := len(dst)
	dst = append(dst, 0)
	for _, a := range []struct {
		kind  byte
		units [][]byte
	}{{TypeVPS, c.VPS}, {TypeSPS, c.SPS}, {TypePPS, c.PPS}, {TypePrefixSEI, c.SEI}} {
		if len(a.units) == 0 {
			continue
		}
		dst[at]++
		kind := a.kind
		if kind != TypePrefixSEI {
			kind |= 0x80 // complete: none are in the samples only
		}
		dst = append(dst, kind, byte(len(a.units)>>8), byte(len(a.units)))
		for _, u := range a.units {
			dst = append(append(dst, byte(len(u)>>8), byte(len(u))), u...)
		}
	}
	return dst
}

// String returns the RFC 6381 name, "hvc1.1.6.L93.90". ISO 14496-15 E.3
func (c *Config) String() string {
	h := &c.Head
	var s strings.Builder
	s.WriteString("hvc1.")
	if space := h[1] >> 6; space > 0 {
		s.WriteByte('A' + space - 1)
	}
	compat := uint32(h[2])<<24 | uint32(h[3])<<16 | uint32(h[4])<<8 | uint32(h[5])
	tier := byte('L')
	if h[1]&0x20 != 0 {
		tier = 'H'
	}
	fmt.Fprintf(&s, "%d.%X.%c%d", h[1]&0x1f, bits.Reverse32(compat), tier, h[12])
	last := 12
	for last > 6 && h[last-1] == 0 {
		last--
	}
	for _, b := range h[6:last] {
		fmt.Fprintf(&s, ".%X", b)
	}
	return s.String()
}

// SPS is what is used of a sequence parameter set. ITU-T H.265 7.4.3.2
type SPS struct {
	ID                           uint8
	ChromaFormat                 uint8
	BitDepthLuma, BitDepthChroma uint8
	SeparatePlanes               bool
	TemporalLayers               uint8
	TemporalNesting              bool
	Log2MaxPOCLSB                int
	Width, Height                int
	SAR                          av.Rational
	FrameRate                    av.Rational
	Reorder                      int
}

// ParseSPS reads an SPS NAL unit, header included.
func ParseSPS(unit []byte) (s SPS, err error) {
	if len(unit) < 4 || len(unit) > MaxSet {
		return s, fmt.Errorf("h265: SPS: %w: %d bytes", av.ErrInvalid, len(unit))
	}
	var p h265.SPS
	if err := p.Unmarshal(unit); err != nil {
		return s, fmt.Errorf("h265: SPS: %w: %w", av.ErrInvalid, err)
	}
	if p.ChromaFormatIdc > 3 || p.BitDepthLumaMinus8 > 8 || p.BitDepthChromaMinus8 > 8 || p.Log2MaxPicOrderCntLsbMinus4 > 12 {
		return s, fmt.Errorf("h265: SPS: %w: chroma format %d, bit depths %d and %d", av.ErrInvalid,
			p.ChromaFormatIdc, p.BitDepthLumaMinus8, p.BitDepthChromaMinus8)
	}
	s = SPS{
		ID: p.ID, ChromaFormat: uint8(p.ChromaFormatIdc), SeparatePlanes: p.SeparateColourPlaneFlag,
		BitDepthLuma: uint8(p.BitDepthLumaMinus8 + 8), BitDepthChroma: uint8(p.BitDepthChromaMinus8 + 8),
		TemporalLayers: p.MaxSubLayersMinus1 + 1, TemporalNesting: p.TemporalIDNestingFlag,
		Log2MaxPOCLSB: int(p.Log2MaxPicOrderCntLsbMinus4) + 4, Width: p.Width(), Height: p.Height(), Reorder: -1,
	}
	if s.Width <= 0 || s.Height <= 0 || s.Width > 16384 || s.Height > 16384 {
		return s, fmt.Errorf("h265: SPS.pic_width_in_luma_samples: %w: %d by %d", av.ErrInvalid, s.Width, s.Height)
	}
	if n := len(p.MaxNumReorderPics); n > 0 && p.MaxNumReorderPics[n-1] <= 16 {
		s.Reorder = int(p.MaxNumReorderPics[n-1])
	}
	if v := p.VUI; v != nil {
		s.vui(v)
	}
	return s, nil
}

// aspects are the sample aspect ratios by aspect_ratio_idc. ITU-T H.265 table E.1
var aspects = [...]av.Rational{{}, {Num: 1, Den: 1}, {Num: 12, Den: 11}, {Num: 10, Den: 11}, {Num: 16, Den: 11}, {Num: 40, Den: 33}, {Num: 24, Den: 11}, {Num: 20, Den: 11}, {Num: 32, Den: 11}, {Num: 80, Den: 33}, {Num: 18, Den: 11}, {Num: 15, Den: 11}, {Num: 64, Den: 33}, {Num: 160, Den: 99}, {Num: 4, Den: 3}, {Num: 3, Den: 2}, {Num: 2, Den: 1}}

func (s *SPS) vui(v *h265.SPS_VUI) {
	switch {
	case v.AspectRatioInfoPresentFlag && v.AspectRatioIdc == 255:
		s.SAR = av.Rational{Num: uint32(v.SarWidth), Den: uint32(v.SarHeight)}
	case v.AspectRatioInfoPresentFlag && int(v.AspectRatioIdc) < len(aspects):
		s.SAR = aspects[v.AspectRatioIdc]
	}
	if t := v.TimingInfo; t != nil && t.NumUnitsInTick > 0 && t.TimeScale > 0 {
		s.FrameRate = av.Rational{Num: t.TimeScale, Den: t.NumUnitsInTick}.Reduced()
	}
}
