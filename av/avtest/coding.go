package avtest

import "encoding/binary"

const aacSamples = 1024

var aacRates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// config is an AudioSpecificConfig of AAC-LC. ISO 14496-3 1.6.2.1
func (a Audio) config() []byte {
	var w writer
	w.u(2, 5)
	index := -1
	for i, r := range aacRates {
		if r == a.SampleRate {
			index = i
		}
	}
	if index >= 0 {
		w.u(index, 4)
	} else {
		w.u(15, 4)
		w.u(a.SampleRate, 24)
	}
	w.u(a.Channels, 4)
	w.u(0, 3)
	return w.b
}

// Bits of frame_num and pic_order_cnt_lsb.
const (
	frameNumBits = 8
	pocBits      = 16
)

// config is an AVCDecoderConfigurationRecord. ISO 14496-15 5.3.3.1
func (v Video) config() []byte {
	sps, pps := v.SPS(), v.PPS()
	b := []byte{1, sps[1], sps[2], sps[3], 0xff, 0xe1}
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(sps))), sps...)
	b = append(b, 1)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(pps))), pps...)
	return append(b, 0xfd, 0xf8, 0xf8, 0) // 4:2:0, 8 bits, no extension
}

// SPS returns the sequence parameter set, of the High profile. ITU-T H.264 7.3.2.1
func (v Video) SPS() []byte {
	v = v.defaults()
	var w writer
	w.u(100, 8)
	w.u(0, 8)
	w.u(40, 8)
	w.ue(0)
	w.ue(1) // chroma_format_idc
	w.ue(0)
	w.ue(0)
	w.u(0, 2)
	w.ue(frameNumBits - 4)
	w.ue(0) // pic_order_cnt_type
	w.ue(pocBits - 4)
	w.ue(2) // max_num_ref_frames
	w.u(0, 1)
	w.ue(v.Width/16 - 1)
	w.ue(v.Height/16 - 1)
	w.u(0b1101, 4) // frames only, direct_8x8, no cropping, VUI
	w.u(0, 4)      // no aspect ratio, overscan, signal type, chroma location
	w.u(1, 1)
	w.u(int(v.Timebase.Num)*int(v.FrameDur), 32)
	w.u(2*int(v.Timebase.Den), 32)
	w.u(1, 1)
	w.u(0, 3) // no HRD, no pic_struct
	w.u(1, 1) // bitstream_restriction_flag
	w.u(1, 1)
	for range 4 {
		w.ue(10)
	}
	w.ue(min(v.B, 1))
	w.ue(2)
	return w.nal(0x67)
}

// PPS returns the picture parameter set. ITU-T H.264 7.3.2.2
func (v Video) PPS() []byte {
	var w writer
	w.ue(0)
	w.ue(0)
	w.u(0, 2)
	w.ue(0)
	w.ue(0)
	w.ue(0)
	w.u(0, 3)
	w.ue(0)
	w.ue(0)
	w.ue(0)
	w.u(0, 3)
	return w.nal(0x68)
}

// slice is what a picture's only slice says.
type slice struct {
	kind           byte
	ref, idr, open bool
	frameNum       int
	idrID          int
	poc            int
}

// recoveryPoint is an SEI NAL unit behind its length. ITU-T H.264 D.1.8
var recoveryPoint = [...]byte{0, 0, 0, 5, 6, 6, 1, 0xc4, 0x80}

// write fills data with an access unit. w is reused.
func (s *slice) write(data []byte, n int, w *writer) {
	if s.open {
		data = data[copy(data, recoveryPoint[:]):]
	}
	binary.BigEndian.PutUint32(data, uint32(len(data)-4))
	unit := data[4:]
	fill(unit, n)
	head := byte(0x01)
	switch {
	case s.idr:
		head = 0x65
	case s.ref:
		head = 0x41
	}
	w.b, w.used = w.b[:0], 0
	w.ue(0)
	w.ue(sliceType(s.kind))
	w.ue(0)
	w.u(s.frameNum&(1<<frameNumBits-1), frameNumBits)
	if s.idr {
		w.ue(s.idrID & 1)
	}
	w.u(s.poc&(1<<pocBits-1), pocBits)
	unit[0] = head
	escape(unit[1:], w.b)
}

// sliceType is that of pictures of one type. ITU-T H.264 table 7-6
func sliceType(kind byte) int {
	switch kind {
	case 'P':
		return 5
	case 'B':
		return 6
	}
	return 7
}

// escape copies b with emulation prevention and returns its length.
// ITU-T H.264 7.4.1
func escape(dst, b []byte) int {
	zeros, n := 0, 0
	for _, c := range b {
		if zeros == 2 && c <= 3 {
			dst[n] = 3
			n++
			zeros = 0
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst[n] = c
		n++
	}
	return n
}

// writer writes bits; what is left of the last byte is zero.
type writer struct {
	b    []byte
	used int // bits of the last byte
}

func (w *writer) u(v, n int) {
	for n--; n >= 0; n-- {
		if w.used%8 == 0 {
			w.b = append(w.b, 0)
			w.used = 0
		}
		if v>>n&1 == 1 {
			w.b[len(w.b)-1] |= 0x80 >> w.used
		}
		w.used++
	}
}

// ue writes an unsigned Exp-Golomb code. ITU-T H.264 9.1
func (w *writer) ue(v int) {
	n := 0
	for (v+1)>>(n+1) > 0 {
		n++
	}
	w.u(0, n)
	w.u(v+1, n+1)
}

// nal closes a NAL unit.
func (w *writer) nal(head byte) []byte {
	w.u(1, 1)
	out := make([]byte, 1+2*len(w.b))
	out[0] = head
	return out[:1+escape(out[1:], w.b)]
}
