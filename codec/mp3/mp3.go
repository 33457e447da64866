// Package mp3 reads frame headers of MPEG audio, layers I to III.
// ISO 11172-3 2.4.1.3, ISO 13818-3
package mp3

import (
	"fmt"

	"github.com/cleave-video/cleave/av"
)

// Header is a frame's.
//
//	sync(11) version(2) layer(2) protection(1) bitrate(4) rate(2) padding(1) private(1)
//	mode(2) extension(2) copyright(1) original(1) emphasis(2)
type Header struct {
	Version    int // 1, 2, or 25 for MPEG-2.5
	Layer      int // 1, 2 or 3
	FrameLen   int // bytes, with the header
	SampleRate int
	Channels   int
	Samples    int // per frame
	Bitrate    int // bits a second
}

// bitrates in kbit/s by version (1, 2) and layer. ISO 11172-3 table 2.4.2.3
var bitrates = [2][3][15]int{
	{
		{0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448},
		{0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384},
		{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320},
	},
	{
		{0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256},
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160},
	},
}

var sampleRates = [3]int{44100, 48000, 32000}

// ParseHeader reads the header at the start of b, which needs 4 bytes. Free-format
// frames are not supported: nothing tells where they end.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if len(b) < 4 {
		return h, fmt.Errorf("mp3: header: %w: %d bytes", av.ErrTruncated, len(b))
	}
	if b[0] != 0xff || b[1]&0xe0 != 0xe0 {
		return h, fmt.Errorf("mp3: header.syncword: %w: %x", av.ErrInvalid, b[:2])
	}
	version, layer := b[1]>>3&3, int(4-b[1]>>1&3)
	rate, index := int(b[2]>>2&3), int(b[2]>>4)
	if version == 1 || layer == 4 || rate == 3 || index == 15 {
		return h, fmt.Errorf("mp3: header: %w: %x", av.ErrInvalid, b[:4])
	}
	if index == 0 {
		return h, fmt.Errorf("mp3: header.bitrate_index: %w: free format", av.ErrUnsupported)
	}
	h.Layer, h.SampleRate = layer, sampleRates[rate]
	lsf := 1
	switch version {
	case 3:
		h.Version, lsf = 1, 0
	case 2:
		h.Version = 2
		h.SampleRate /= 2
	default:
		h.Version = 25
		h.SampleRate /= 4
	}
	h.Bitrate = bitrates[lsf][layer-1][index] * 1000
	if h.Channels = 2; b[3]>>6 == 3 {
		h.Channels = 1
	}
	padding := int(b[2] >> 1 & 1)
	switch {
	case layer == 1:
		h.Samples = 384
		h.FrameLen = (12*h.Bitrate/h.SampleRate + padding) * 4
	case layer == 3 && lsf == 1:
		h.Samples = 576
		h.FrameLen = 72*h.Bitrate/h.SampleRate + padding
	default:
		h.Samples = 1152
		h.FrameLen = 144*h.Bitrate/h.SampleRate + padding
	}
	return h, nil
}
