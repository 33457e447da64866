package h265

import (
	"bytes"
	mathbits "math/bits"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/cleave-video/cleave/internal/bits"
	"github.com/cleave-video/cleave/internal/nal"
)

// Headers measures the headers of slice segments. The zero value knows no
// parameter sets; Set gives it those of the configuration and of the samples.
type Headers struct {
	sps map[uint8]knownSPS
	pps map[uint8]knownPPS
	buf []byte
}

type knownSPS struct {
	raw []byte
	sliceSPS
}

type knownPPS struct {
	raw []byte
	slicePPS
}

// sliceSPS is what the header of a slice segment needs of an SPS.
type sliceSPS struct {
	separatePlanes bool
	chroma         bool // ChromaArrayType is not 0
	log2LSB        int
	addressBits    int // of slice_segment_address
	sets           []refSet
	longTerm       bool
	temporalMVP    bool
	sao            bool
}

// refSet is a short-term reference picture set: its POC differences, first the
// negative ones. ITU-T H.265 7.4.8
type refSet []refPicture

type refPicture struct {
	delta int64
	used  bool
}

// used counts the pictures that the current one may refer to.
func (s refSet) used() (n int) {
	for _, p := range s {
		if p.used {
			n++
		}
	}
	return n
}

// Set takes over a parameter set; other NAL units and damaged ones change
// nothing. Screen content and multi-layer coding are not known.
func (h *Headers) Set(unit []byte) {
	if len(unit) < 4 || len(unit) > MaxSet {
		return
	}
	switch Type(unit) {
	case TypeSPS:
		for _, k := range h.sps {
			if bytes.Equal(k.raw, unit) {
				return
			}
		}
		if id, s, ok := parseSliceSPS(unit); ok {
			if h.sps == nil {
				h.sps = make(map[uint8]knownSPS)
			}
			h.sps[id] = knownSPS{bytes.Clone(unit), s}
		}
	case TypePPS:
		for _, k := range h.pps {
			if bytes.Equal(k.raw, unit) {
				return
			}
		}
		h.buf = nal.Unescape(h.buf[:0], unit[2:])
		r := bits.New(h.buf)
		if p, ok := parseSlicePPS(&r); ok {
			if h.pps == nil {
				h.pps = make(map[uint8]knownPPS)
			}
			h.pps[p.id] = knownPPS{bytes.Clone(unit), p}
		}
	}
}

// maxProfile is the last general_profile_idc whose slices have no fields of
// screen content coding. ITU-T H.265 A.3
const maxProfile = 5

func parseSliceSPS(unit []byte) (id uint8, s sliceSPS, ok bool) {
	if _, err := ParseSPS(unit); err != nil {
		return 0, s, false
	}
	var p h265.SPS
	if err := p.Unmarshal(unit); err != nil || p.ProfileTierLevel.GeneralProfileIdc > maxProfile {
		return 0, s, false
	}
	log2 := p.Log2MinLumaCodingBlockSizeMinus3 + 3 + p.Log2DiffMaxMinLumaCodingBlockSize
	if log2 < 3 || log2 > 6 {
		return 0, s, false
	}
	size := uint32(1) << log2
	blocks := ((p.PicWidthInLumaSamples + size - 1) / size) * ((p.PicHeightInLumaSamples + size - 1) / size)
	s = sliceSPS{
		separatePlanes: p.SeparateColourPlaneFlag, chroma: p.ChromaFormatIdc != 0 && !p.SeparateColourPlaneFlag,
		log2LSB: int(p.Log2MaxPicOrderCntLsbMinus4) + 4, addressBits: mathbits.Len32(max(blocks, 1) - 1),
		longTerm: p.LongTermRefPicsPresentFlag, temporalMVP: p.TemporalMvpEnabledFlag, sao: p.SampleAdaptiveOffsetEnabledFlag,
	}
	for _, set := range p.ShortTermRefPicSets {
		var l refSet
		for i, d := range set.DeltaPocS0 {
			l = append(l, refPicture{int64(d), set.UsedByCurrPicS0Flag[i]})
		}
		for i, d := range set.DeltaPocS1 {
			l = append(l, refPicture{int64(d), set.UsedByCurrPicS1Flag[i]})
		}
		s.sets = append(s.sets, l)
	}
	return p.ID, s, true
}

// A header is looked for in the first bytes of its NAL unit, then in more: one
// with 440 entry points and an extension has 2 KiB.
const (
	headerWindow    = 256
	maxHeaderWindow = 4 << 10
)

// Size returns how many bytes of a slice segment's NAL unit, emulation
// prevention included, hold its header and that of the unit: slice data begins
// behind them. ok is false if the unit is no slice segment, or uses parameter
// sets or tools that are not known. ITU-T H.265 7.3.6.1
func (h *Headers) Size(unit []byte) (n int, ok bool) {
	if len(unit) < 3 || !IsVCL(Type(unit)) || unit[0]&1 != 0 || unit[1]>>3 != 0 {
		return 0, false
	}
	for window := headerWindow; window <= maxHeaderWindow; window *= 16 {
		head := unit[2:min(len(unit), 2+window)]
		h.buf = nal.Unescape(h.buf[:0], head)
		s := segment{r: bits.New(h.buf), kind: Type(unit)}
		s.parse(h)
		if s.r.Err() == nil {
			return 2 + nal.Escaped(head, (s.r.Pos()+7)/8), true
		}
		if len(head) == len(unit)-2 {
			break
		}
	}
	return 0, false
}
