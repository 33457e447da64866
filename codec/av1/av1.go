// Package av1 reads open bitstream units of AV1.
// AV1 Bitstream & Decoding Process Specification
package av1

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/bits"
)

// OBU types. AV1 6.2.2
const (
	TypeSequenceHeader    = 1
	TypeTemporalDelimiter = 2
	TypeFrameHeader       = 3
	TypeFrame             = 6
	TypeTileList          = 8
)

// OBU is one unit of a temporal unit.
type OBU struct {
	Type    int
	Raw     []byte // with header and size
	Payload []byte
}

// Next returns the first unit of b and what follows it; ok is false at the end
// and where a size exceeds b. A unit without a size reaches to the end. AV1 5.3
func Next(b []byte) (o OBU, rest []byte, ok bool) {
	if len(b) == 0 || b[0]&0x80 != 0 {
		return o, nil, false
	}
	o.Type = int(b[0] >> 3 & 15)
	head := 1
	if b[0]&4 != 0 {
		head = 2
	}
	if head > len(b) {
		return o, nil, false
	}
	if b[0]&2 == 0 {
		o.Raw, o.Payload = b, b[head:]
		return o, nil, true
	}
	size, n := leb128(b[head:])
	if n == 0 || size > uint64(len(b)-head-n) {
		return o, nil, false
	}
	end := head + n + int(size)
	o.Raw, o.Payload = b[:end:end], b[head+n:end:end]
	return o, b[end:], true
}

func leb128(b []byte) (v uint64, n int) {
	for i := 0; i < 8 && i < len(b); i++ {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

// Unit is what a temporal unit says of itself.
type Unit struct {
	Sequence []byte // its sequence header OBU, if it has one
	Key      bool   // its first shown frame is a key frame
	Intra    bool   // or an intra-only one
	Valid    bool   // the sizes add up
}

// Look reads the heads of a temporal unit's OBUs. AV1 5.9.2
func Look(tu []byte) (u Unit) {
	first := true
	for len(tu) > 0 {
		o, rest, ok := Next(tu)
		if !ok {
			return u
		}
		switch o.Type {
		case TypeSequenceHeader:
			u.Sequence = o.Raw
		case TypeFrame, TypeFrameHeader:
			if first && len(o.Payload) > 0 {
				first = false
				// show_existing_frame(1) frame_type(2) show_frame(1)
				p := o.Payload[0]
				u.Key = p&0x80 == 0 && p>>5&3 == 0 && p&0x10 != 0
				u.Intra = u.Key || p&0x80 == 0 && p>>5&3 == 2
			}
		}
		tu = rest
	}
	u.Valid = true
	return u
}

// Sequence is what is used of a sequence header.
type Sequence struct {
	Width, Height int
	FrameRate     av.Rational
	Profile       uint8
	Level         uint8
	Tier          bool
	BitDepth      int
	Mono          bool
	SubX, SubY    bool
	Position      uint8
	Primaries     uint8
	Transfer      uint8
	Matrix        uint8
	FullRange     bool
	Described     bool // colour description is there
}

// maxSequence bounds a sequence header; real ones have about 12 bytes.
const maxSequence = 1 << 10

// ParseSequence reads a sequence header OBU, header and size included.
func ParseSequence(obu []byte) (s Sequence, err error) {
	o, _, ok := Next(obu)
	if !ok || o.Type != TypeSequenceHeader || len(o.Payload) == 0 || len(obu) > maxSequence {
		return s, fmt.Errorf("av1: sequence header: %w: %d bytes", av.ErrInvalid, len(obu))
	}
	var h av1.SequenceHeader
	bare := append([]byte{TypeSequenceHeader << 3}, o.Payload...)
	if err := h.Unmarshal(bare); err != nil {
		return s, fmt.Errorf("av1: sequence header: %w: %w", av.ErrInvalid, err)
	}
	c := h.ColorConfig
	s = Sequence{
		Width: h.Width(), Height: h.Height(), Profile: h.SeqProfile, BitDepth: c.BitDepth, Mono: c.MonoChrome,
		SubX: c.SubsamplingX, SubY: c.SubsamplingY, Position: uint8(c.ChromaSamplePosition), FullRange: c.ColorRange,
		Primaries: uint8(c.ColorPrimaries), Transfer: uint8(c.TransferCharacteristics), Matrix: uint8(c.MatrixCoefficients),
		Described: c.ColorDescriptionPresentFlag,
	}
	if len(h.SeqLevelIdx) > 0 {
		s.Level = h.SeqLevelIdx[0]
	}
	if len(h.SeqTier) > 0 {
		s.Tier = h.SeqTier[0]
	}
	s.FrameRate = timing(o.Payload)
	return s, nil
}

// timing reads timing_info, which stands at the head of the sequence header.
// AV1 5.5.1, 5.5.3
func timing(payload []byte) av.Rational {
	r := bits.New(payload)
	r.Skip(3 + 1)
	if reduced := r.Flag(); reduced || !r.Flag() {
		return av.Rational{}
	}
	unit, scale := uint32(r.U(32)), uint32(r.U(32))
	if !r.Flag() { // equal_picture_interval
		return av.Rational{}
	}
	ticks := r.UE() + 1
	if r.Err() != nil || unit == 0 || scale == 0 || uint64(unit)*ticks > 1<<31 {
		return av.Rational{}
	}
	return av.Rational{Num: scale, Den: unit * uint32(ticks)}.Reduced()
}

// Config returns the AV1CodecConfigurationRecord for a sequence header OBU.
// AV1-ISOBMFF 2.3
func Config(obu []byte) ([]byte, error) {
	s, err := ParseSequence(obu)
	if err != nil {
		return nil, err
	}
	flag := func(b bool, bit byte) byte {
		if b {
			return bit
		}
		return 0
	}
	third := flag(s.Tier, 0x80) | flag(s.BitDepth > 8, 0x40) | flag(s.BitDepth == 12, 0x20) |
		flag(s.Mono, 0x10) | flag(s.SubX, 8) | flag(s.SubY, 4) | s.Position&3
	return append([]byte{0x81, s.Profile<<5 | s.Level&31, third, 0}, obu...), nil
}

// String returns the codecs parameter of a record, with its sequence header if
// that is in it: "av01.0.08M.08", longer when the colours are not the default.
// AV1-ISOBMFF 5
func String(config []byte) string {
	if len(config) < 4 {
		return ""
	}
	tier, depth := "M", 8
	if config[2]&0x80 != 0 {
		tier = "H"
	}
	if config[2]&0x40 != 0 {
		depth = 10
		if config[2]&0x20 != 0 {
			depth = 12
		}
	}
	str := fmt.Sprintf("av01.%d.%02d%s.%02d", config[1]>>5, config[1]&31, tier, depth)
	s, err := ParseSequence(config[4:])
	if err != nil {
		return str
	}
	p, t, m := s.Primaries, s.Transfer, s.Matrix
	if !s.Described {
		p, t, m = 1, 1, 1
	}
	sub := 0
	if s.SubX {
		sub = 100
	}
	if s.SubY {
		sub += 10
	}
	if s.SubX && s.SubY {
		sub += int(s.Position & 3)
	}
	full, mono := 0, 0
	if s.FullRange {
		full = 1
	}
	if s.Mono {
		mono = 1
	}
	if p == 1 && t == 1 && m == 1 && sub == 110 && full == 0 && mono == 0 {
		return str
	}
	return fmt.Sprintf("%s.%d.%03d.%02d.%02d.%02d.%d", str, mono, sub, p, t, m, full)
}
