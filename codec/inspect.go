package codec

import (
	"bytes"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/av1"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/codec/vp9"
	"github.com/cleave-video/cleave/internal/nal"
)

// Inspector tells what a packet is from its bitstream. It is immutable: it may be
// used by several goroutines. Flags and FrameType do not allocate.
type Inspector struct {
	kind   av.Kind
	codec  av.Codec
	nalLen int
	config []byte
	avc    h264.Config
	hevc   h265.Config
}

// NewInspector returns the inspector of t's packets. The errors are Describe's.
func NewInspector(t *av.Track) (*Inspector, error) {
	i := &Inspector{kind: t.Kind, codec: t.Codec, config: t.Config}
	var err error
	switch t.Codec {
	case av.H264:
		i.avc, err = h264.ParseConfig(t.Config)
		i.nalLen = i.avc.NALLength
	case av.H265:
		i.hevc, err = h265.ParseConfig(t.Config)
		i.nalLen = i.hevc.NALLength
	default:
		_, err = Describe(t)
	}
	return i, err
}

// maxSEI bounds the SEI NAL units of one access unit that are looked at.
const maxSEI = 64

// Flags returns Key, Open, Gradual, Leading, Disposable and Corrupt as the
// packet's bitstream says.
//
// H.264: an IDR picture is Key; a picture with a recovery point is Key and Open,
// and Gradual if recovery takes frames. An I picture alone is no key: pictures
// after it may refer to what came before. H.265: IDR and BLA are Key, CRA is Key
// and Open, RASL is Leading. Of a Private track's video nothing is known.
func (i *Inspector) Flags(data []byte) av.Flags {
	switch i.codec {
	case av.H264:
		return i.flagsH264(data)
	case av.H265:
		return i.flagsH265(data)
	case av.AV1:
		u := av1.Look(data)
		switch {
		case !u.Valid:
			return av.Corrupt
		case u.Key:
			return av.Key
		}
		return 0
	case av.VP9:
		f, ok := vp9.Look(data)
		switch {
		case !ok:
			return av.Corrupt
		case f.Key:
			return av.Key
		}
		return 0
	case av.Private:
		if i.kind == av.Video {
			return 0 // its container may know
		}
	}
	return av.Key
}

func (i *Inspector) flagsH264(data []byte) av.Flags {
	var f av.Flags
	recovery, seis, slices := av.Flags(0), 0, 0
	l := i.units(data)
	for {
		u, ok := l.next()
		if !ok {
			break
		}
		switch t := h264.Type(u); {
		case t == h264.TypeSEI && slices == 0 && seis < maxSEI:
			seis++
			if n, ok := h264.Recovery(u); ok {
				recovery = av.Key | av.Open
				if n > 0 {
					recovery |= av.Gradual
				}
			}
		case t >= h264.TypeSlice && t <= h264.TypeIDR:
			if slices == 0 {
				if t == h264.TypeIDR {
					f |= av.Key
				}
				if u[0]&0x60 == 0 {
					f |= av.Disposable
				}
			}
			slices++
		}
	}
	if l.l.Err() != nil {
		f |= av.Corrupt
	}
	if f&av.Key == 0 && slices > 0 {
		f |= recovery
	}
	return f
}

func (i *Inspector) flagsH265(data []byte) av.Flags {
	l := nal.Split(data, i.nalLen)
	var f av.Flags
	first := true
	for {
		u, ok := l.Next()
		if !ok {
			break
		}
		if len(u) < 2 || !first || !h265.IsVCL(h265.Type(u)) {
			continue
		}
		first = false
		switch t := h265.Type(u); {
		case t == h265.TypeCRA:
			f |= av.Key | av.Open
		case t >= h265.TypeBLAWLP && t <= h265.TypeIDRNLP:
			f |= av.Key
		case t == h265.TypeRASLN || t == h265.TypeRASLR:
			f |= av.Leading
		}
		if t := h265.Type(u); t < 16 && t&1 == 0 {
			f |= av.Disposable
		}
	}
	if l.Err() != nil {
		f |= av.Corrupt
	}
	return f
}

// FrameType returns 'I', 'P' or 'B' for a video packet, '?' if its first slice
// does not tell, and 'I' for everything else.
func (i *Inspector) FrameType(data []byte) byte {
	switch i.codec {
	case av.H264, av.H265:
		l := i.units(data)
		for {
			u, ok := l.next()
			if !ok {
				return '?'
			}
			if t := i.sliceType(u); t != 0 {
				return t
			}
		}
	case av.AV1:
		if u := av1.Look(data); u.Intra {
			return 'I'
		}
		return 'P'
	case av.VP9:
		if f, ok := vp9.Look(data); ok && (f.Key || f.Intra) {
			return 'I'
		}
		return 'P'
	}
	return 'I'
}

// sliceType returns 0 if u is no slice.
func (i *Inspector) sliceType(u []byte) byte {
	if len(u) < 3 {
		return 0
	}
	if i.codec == av.H264 {
		_, kind, _, ok := h264.SliceHead(u)
		if !ok {
			return 0
		}
		return "PBIPI"[kind]
	}
	if !h265.IsVCL(h265.Type(u)) {
		return 0
	}
	pps := h265.PPS{}
	for _, p := range i.hevc.PPS {
		if id, ok := h265.SlicePPS(u); ok {
			if q, ok := h265.ParsePPS(p); ok && q.ID == id {
				pps = q
			}
		}
	}
	p, ok := h265.ParsePicture(u, &h265.SPS{Log2MaxPOCLSB: 4}, &pps)
	if !ok {
		return '?'
	}
	return "BPI"[p.Kind]
}

// NewConfig returns the configuration record that a packet's own parameter sets
// make, and true, if any of them is not in the track's Config. It allocates only
// then.
func (i *Inspector) NewConfig(data []byte) ([]byte, bool) {
	switch i.codec {
	case av.H264, av.H265:
		l := i.units(data)
		for {
			u, ok := l.next()
			if !ok {
				return nil, false
			}
			if len(u) > 2 && i.isSet(u) && !i.known(u) {
				return i.rebuild(data)
			}
		}
	case av.AV1:
		u := av1.Look(data)
		if u.Sequence == nil || len(i.config) >= 4 && bytes.Equal(i.config[4:], u.Sequence) {
			return nil, false
		}
		if len(i.config) > 4 { // a record may hold more than the header
			if o, _, ok := av1.Next(i.config[4:]); ok && bytes.Equal(o.Raw, u.Sequence) {
				return nil, false
			}
		}
		c, err := av1.Config(u.Sequence)
		return c, err == nil
	}
	return nil, false
}

func (i *Inspector) isSet(u []byte) bool {
	if i.codec == av.H264 {
		t := h264.Type(u)
		return t == h264.TypeSPS || t == h264.TypePPS
	}
	t := h265.Type(u)
	return t >= h265.TypeVPS && t <= h265.TypePPS
}

func (i *Inspector) known(u []byte) bool {
	return holds(i.avc.SPS, u) || holds(i.avc.PPS, u) || holds(i.hevc.VPS, u) || holds(i.hevc.SPS, u) || holds(i.hevc.PPS, u)
}

func holds(sets [][]byte, u []byte) bool {
	for _, s := range sets {
		if bytes.Equal(s, u) {
			return true
		}
	}
	return false
}

// rebuild makes a record of the old sets and those in data, which replace the
// ones of the same id.
func (i *Inspector) rebuild(data []byte) ([]byte, bool) {
	s := NewByteStream(i.codec)
	for _, list := range [][][]byte{i.avc.SPS, i.avc.PPS, i.hevc.VPS, i.hevc.SPS, i.hevc.PPS} {
		for _, u := range list {
			s.learn(u)
		}
	}
	l := i.units(data)
	for {
		u, ok := l.next()
		if !ok {
			break
		}
		if len(u) > 2 {
			s.learn(u)
			s.activate(u)
		}
	}
	if err := s.rebuild(i.nalLen); err != nil || s.config == nil || bytes.Equal(s.config, i.config) {
		return nil, false
	}
	return s.config, true
}
