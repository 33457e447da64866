package seal

import (
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/codec/vp9"
	"github.com/cleave-video/cleave/format/mp4"
)

// mapper finds what of a picture stays in the clear: everything but slice data,
// so that a player can tell pictures and slices apart before it decrypts them.
// What it does not understand is protected. ISO 23001-7 9.5.2
type mapper struct {
	lengths int  // bytes of the length before each NAL unit
	whole   bool // protected ranges are whole blocks: cenc
	hevc    bool
	vp      *vp9.Headers // of frames, in place of NAL units
	avc     h264.Headers
	hvc     h265.Headers
	opaque  int // slices and frames whose header could not be read

	subs  []mp4.Subsample // being appended to
	from  int             // where the sample's begin
	clear int             // bytes in the clear since the last protected ones
}

func newMapper(t *av.Track, whole bool) (*mapper, error) {
	m := &mapper{whole: whole}
	switch t.Codec {
	case av.H264:
		c, err := h264.ParseConfig(t.Config)
		if err != nil {
			return nil, err
		}
		m.lengths = c.NALLength
		for _, list := range [][][]byte{c.SPS, c.PPS} {
			for _, unit := range list {
				m.avc.Set(unit)
			}
		}
	case av.H265:
		c, err := h265.ParseConfig(t.Config)
		if err != nil {
			return nil, err
		}
		m.lengths, m.hevc = c.NALLength, true
		for _, list := range [][][]byte{c.SPS, c.PPS} {
			for _, unit := range list {
				m.hvc.Set(unit)
			}
		}
	case av.VP9:
		m.vp = new(vp9.Headers)
	case av.AV1:
		return nil, fmt.Errorf("seal: %w: samples of AV1: where their tiles begin is known only to who decodes each frame header, and those before it",
			av.ErrUnsupported)
	default:
		return nil, fmt.Errorf("seal: %w: samples of %s: what of them must stay in the clear is not known", av.ErrUnsupported, t.Codec)
	}
	return m, nil
}

// maxSubsamples bounds those of one sample; what follows is protected as one.
const maxSubsamples = 1 << 14

// appendMap appends the subsamples of a picture: at least one, and they add up to
// its length.
func (m *mapper) appendMap(subs []mp4.Subsample, data []byte) []mp4.Subsample {
	m.subs, m.from, m.clear = subs, len(subs), 0
	if m.vp != nil {
		data = m.frames(data)
	}
	for len(data) > 0 {
		size, ok := unitLength(data, m.lengths)
		if !ok || len(m.subs)-m.from >= maxSubsamples {
			m.protect(0, len(data)) // no NAL units: nothing of it is known
			break
		}
		m.clear += m.lengths
		unit := data[m.lengths : m.lengths+size]
		m.unit(unit)
		data = data[m.lengths+size:]
	}
	if m.clear > 0 || len(m.subs) == m.from {
		m.add(0)
	}
	return m.subs
}

// frames maps the frames of a VP9 sample: their uncompressed headers stay in the
// clear, and the index of a superframe. Nothing is left to map. VP Codec ISO Media File Format Binding, Common Encryption
func (m *mapper) frames(data []byte) []byte {
	sizes, n := vp9.Frames(data)
	for _, size := range sizes[:n] {
		frame := data[:size]
		head, ok := m.vp.Size(frame)
		if !ok && size > 0 {
			m.opaque++
		}
		m.protect(head, size-head)
		data = data[size:]
	}
	m.clear += len(data)
	return nil
}

// unitLength reads the length of a NAL unit, which lies in data.
func unitLength(data []byte, n int) (size int, ok bool) {
	if len(data) < n {
		return 0, false
	}
	v := uint64(0)
	for _, c := range data[:n] {
		v = v<<8 | uint64(c)
	}
	return int(v), v <= uint64(len(data)-n)
}

func (m *mapper) unit(unit []byte) {
	if len(unit) == 0 {
		return
	}
	if m.hevc {
		switch t := h265.Type(unit); {
		case t == h265.TypeSPS, t == h265.TypePPS:
			m.hvc.Set(unit)
			m.clear += len(unit)
		case clearH265(t):
			m.clear += len(unit)
		default:
			head, ok := m.hvc.Size(unit)
			m.slice(unit, head, ok, 2, h265.IsVCL(t))
		}
		return
	}
	switch t := h264.Type(unit); {
	case t == h264.TypeSPS, t == h264.TypePPS:
		m.avc.Set(unit)
		m.clear += len(unit)
	case clearH264(t, len(unit)):
		m.clear += len(unit)
	default:
		head, ok := m.avc.Size(unit)
		m.slice(unit, head, ok, 1, t <= h264.TypeIDR)
	}
}

func (m *mapper) slice(unit []byte, head int, ok bool, unitHeader int, vcl bool) {
	if !ok {
		head = unitHeader
		if vcl {
			m.opaque++
		}
	}
	head = min(head, len(unit))
	m.protect(head, len(unit)-head)
}

// maxPrefix is how long a prefix NAL unit may be. Some phones put all of a
// picture into one. ITU-T H.264 7.3.1, G.7.3.2.12
const maxPrefix = 12

// clearH264 reports whether NAL units of the type hold no picture.
// ITU-T H.264 table 7-1
func clearH264(t, size int) bool {
	switch t {
	case h264.TypeSEI, h264.TypeAUD, h264.TypeEndSeq, h264.TypeEndStream, h264.TypeFiller, h264.TypeSPSExt, h264.TypeSubsetSPS:
		return true
	case h264.TypePrefix:
		return size <= maxPrefix
	}
	return false
}

// typeRPU is the NAL unit type of Dolby Vision's metadata.
const typeRPU = 62

// clearH265 reports whether NAL units of the type hold no picture.
// ITU-T H.265 table 7-1
func clearH265(t int) bool { return t >= h265.TypeVPS && t <= h265.TypePrefixSEI+1 || t == typeRPU }

// protect adds head bytes in the clear and n protected ones, or, where that is
// less than a block, none. Under cenc they are whole blocks, so what is over at
// their beginning is clear, too. ISO 23001-7 9.5.2.3
func (m *mapper) protect(head, n int) {
	m.clear += head
	if m.whole {
		m.clear += n % blockSize
		n -= n % blockSize
	}
	if n < blockSize {
		m.clear += n
		return
	}
	m.add(n)
}

// maxClear is the most that one Subsample leaves in the clear.
const maxClear = 1<<16 - 1

func (m *mapper) add(protected int) {
	for m.clear > maxClear {
		m.subs = append(m.subs, mp4.Subsample{Clear: maxClear})
		m.clear -= maxClear
	}
	m.subs = append(m.subs, mp4.Subsample{Clear: uint16(m.clear), Protected: uint32(protected)})
	m.clear = 0
}
