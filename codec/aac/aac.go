// Package aac reads AudioSpecificConfig and ADTS. ISO 14496-3
package aac

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/bits"
)

// rates are the sampling frequencies by index. ISO 14496-3 table 1.18
var rates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// Config is what is used of an AudioSpecificConfig.
type Config struct {
	ObjectType    int // of the core: 2 is LC
	Extension     int // 5 SBR or 29 PS if signalled explicitly, else 0
	SampleRate    int // of the core, which ticks count
	OutputRate    int // with SBR: twice the core's, usually
	Channels      int // 0 if unknown
	ChannelConfig int
	FrameSamples  int // at SampleRate: 1024 or 960
}

// maxConfig bounds a record; real ones have 2 to 50 bytes.
const maxConfig = 1 << 10

// ParseConfig reads an AudioSpecificConfig. ISO 14496-3 1.6.2.1
func ParseConfig(asc []byte) (Config, error) {
	if len(asc) < 2 || len(asc) > maxConfig {
		return Config{}, fmt.Errorf("aac: AudioSpecificConfig: %w: %d bytes", av.ErrInvalid, len(asc))
	}
	r := bits.New(asc)
	c, ok := parseHead(&r)
	if !ok {
		return c, fmt.Errorf("aac: AudioSpecificConfig.samplingFrequency: %w", av.ErrInvalid)
	}
	if c.ChannelConfig == 0 && c.ObjectType <= 4 {
		if r.Flag() { // dependsOnCoreCoder
			r.Skip(14)
		}
		r.Skip(1)
		c.Channels = program(&r, nil)
		return c, nil
	}
	var full mpeg4audio.AudioSpecificConfig
	if err := full.Unmarshal(asc); err == nil && full.ChannelConfig > 0 && int(full.ChannelConfig) < len(channels) {
		c.Channels = channels[full.ChannelConfig]
	}
	return c, nil
}

// channels is by channelConfiguration. ISO 14496-3 table 1.19
var channels = [...]int{0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8}

// parseHead reads the part that all object types share.
func parseHead(r *bits.Reader) (c Config, ok bool) {
	c.ObjectType = objectType(r)
	c.SampleRate = sampleRate(r)
	c.ChannelConfig = int(r.U(4))
	c.OutputRate = c.SampleRate
	if c.ObjectType == 5 || c.ObjectType == 29 {
		c.Extension = c.ObjectType
		c.OutputRate = sampleRate(r)
		c.ObjectType = objectType(r)
	}
	c.FrameSamples = 1024
	if r.Flag() {
		c.FrameSamples = 960
	}
	if c.Channels = c.ChannelConfig; c.ChannelConfig == 7 {
		c.Channels = 8
	}
	return c, r.Err() == nil && c.SampleRate > 0 && c.OutputRate > 0 && c.ObjectType > 0
}

func objectType(r *bits.Reader) int {
	if t := r.U(5); t != 31 {
		return int(t)
	}
	return 32 + int(r.U(6))
}

func sampleRate(r *bits.Reader) int {
	i := r.U(4)
	switch {
	case i == 15:
		return int(r.U(24))
	case i < uint64(len(rates)):
		return rates[i]
	}
	return 0
}

// String returns the RFC 6381 name: "mp4a.40.2".
func (c Config) String() string {
	if c.Extension != 0 {
		return fmt.Sprintf("mp4a.40.%d", c.Extension)
	}
	return fmt.Sprintf("mp4a.40.%d", c.ObjectType)
}

// ADTS is the header of a frame.
//
//	syncword(12) ID(1) layer(2) protection_absent(1) profile(2) rate(4) private(1)
//	channels(3) original(1) home(1) copyright(2) frame_length(13) fullness(11) blocks(2)
//
// ISO 14496-3 1.A.2.2
type ADTS struct {
	ObjectType      int
	SampleRateIndex int
	ChannelConfig   int
	HeaderLen       int // 7, or 9 with a CRC
	FrameLen        int // with the header
	Blocks          int // raw data blocks, 1 to 4
}

// ParseADTS reads the header at the start of b, which needs 7 bytes.
func ParseADTS(b []byte) (ADTS, error) {
	if len(b) < 7 {
		return ADTS{}, fmt.Errorf("aac: adts: %w: %d bytes", av.ErrTruncated, len(b))
	}
	if b[0] != 0xff || b[1]&0xf6 != 0xf0 {
		return ADTS{}, fmt.Errorf("aac: adts.syncword: %w: %x", av.ErrInvalid, b[:2])
	}
	h := ADTS{
		ObjectType: int(b[2]>>6) + 1, SampleRateIndex: int(b[2] >> 2 & 15), ChannelConfig: int(b[2]&1)<<2 | int(b[3]>>6),
		HeaderLen: 7, FrameLen: int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5]>>5), Blocks: int(b[6]&3) + 1,
	}
	if b[1]&1 == 0 {
		h.HeaderLen = 9
	}
	if h.SampleRateIndex >= len(rates) {
		return h, fmt.Errorf("aac: adts.sampling_frequency_index: %w: %d", av.ErrInvalid, h.SampleRateIndex)
	}
	if h.FrameLen < h.HeaderLen {
		return h, fmt.Errorf("aac: adts.aac_frame_length: %w: %d", av.ErrInvalid, h.FrameLen)
	}
	return h, nil
}

// SampleRate returns the samples a second.
func (h ADTS) SampleRate() int { return rates[h.SampleRateIndex] }

// Config returns the AudioSpecificConfig that says the same; see FrameConfig for
// frames whose header has no channels.
func (h ADTS) Config() []byte {
	return []byte{byte(h.ObjectType<<3 | h.SampleRateIndex>>1), byte(h.SampleRateIndex<<7 | h.ChannelConfig<<3)}
}

// AppendADTS appends the header for a payload of that many bytes. It returns an
// error that wraps av.ErrUnsupported if ADTS cannot say what asc says.
func AppendADTS(dst []byte, asc []byte, payload int) ([]byte, error) {
	r := bits.New(asc)
	c, ok := parseHead(&r)
	if !ok {
		return dst, fmt.Errorf("aac: AudioSpecificConfig: %w", av.ErrInvalid)
	}
	index := -1
	for i, r := range rates {
		if r == c.SampleRate {
			index = i
		}
	}
	n := payload + 7
	if c.ObjectType > 4 || index < 0 || c.ChannelConfig > 7 || n > 0x1fff {
		return dst, fmt.Errorf("aac: adts: %w: object type %d, %d Hz, %d channels, %d bytes", av.ErrUnsupported, c.ObjectType, c.SampleRate, c.Channels, payload)
	}
	return append(dst, 0xff, 0xf1, byte(c.ObjectType-1)<<6|byte(index)<<2|byte(c.ChannelConfig)>>2,
		byte(c.ChannelConfig)<<6|byte(n>>11), byte(n>>3), byte(n<<5)|0x1f, 0xfc), nil
}
