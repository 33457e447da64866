// Package opus reads Opus packets and configurations. RFC 6716, RFC 7845,
// "Encapsulation of Opus in ISO Base Media File Format"
package opus

import (
	"encoding/binary"
	"fmt"

	"github.com/cleave-video/cleave/av"
)

// Config is an OpusSpecificBox ("dOps").
type Config struct {
	Channels      int
	PreSkip       uint16 // at 48 kHz
	InputRate     uint32
	Gain          int16
	MappingFamily uint8
	Streams       uint8 // with a mapping family other than 0
	Coupled       uint8
	Mapping       []byte
}

// ParseConfig reads the payload of dOps (big-endian, version 0).
func ParseConfig(b []byte) (Config, error) { return parse(b, binary.BigEndian, 0) }

// ParseHead reads an "OpusHead" identification header, with or without its magic
// (little-endian, version 1). RFC 7845 5.1
func ParseHead(b []byte) (Config, error) {
	if len(b) > 8 && string(b[:8]) == "OpusHead" {
		b = b[8:]
	}
	return parse(b, binary.LittleEndian, 1)
}

func parse(b []byte, order binary.ByteOrder, version byte) (Config, error) {
	var c Config
	if len(b) < 11 {
		return c, fmt.Errorf("opus: config: %w: %d bytes", av.ErrTruncated, len(b))
	}
	if b[0]&0xf0 != 0 || b[0] < version {
		return c, fmt.Errorf("opus: config.Version: %w: %d", av.ErrUnsupported, b[0])
	}
	c.Channels, c.PreSkip = int(b[1]), order.Uint16(b[2:])
	c.InputRate, c.Gain, c.MappingFamily = order.Uint32(b[4:]), int16(order.Uint16(b[8:])), b[10]
	if c.Channels == 0 || c.MappingFamily == 0 && c.Channels > 2 {
		return c, fmt.Errorf("opus: config.OutputChannelCount: %w: %d in family %d", av.ErrInvalid, c.Channels, c.MappingFamily)
	}
	if c.MappingFamily != 0 {
		if len(b) < 13+c.Channels {
			return c, fmt.Errorf("opus: config.ChannelMapping: %w", av.ErrTruncated)
		}
		c.Streams, c.Coupled, c.Mapping = b[11], b[12], b[13:13+c.Channels:13+c.Channels]
	}
	return c, nil
}

// Append appends the payload of dOps.
func (c Config) Append(dst []byte) []byte {
	dst = append(dst, 0, byte(c.Channels))
	dst = binary.BigEndian.AppendUint16(dst, c.PreSkip)
	dst = binary.BigEndian.AppendUint32(dst, c.InputRate)
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.Gain))
	dst = append(dst, c.MappingFamily)
	if c.MappingFamily != 0 {
		dst = append(append(dst, c.Streams, c.Coupled), c.Mapping...)
	}
	return dst
}

// mappings are the channel orders of family 1 by channel count. RFC 7845 5.1.1.2
var mappings = [...]struct {
	streams, coupled uint8
	order            []byte
}{
	{},
	{1, 0, []byte{0}},
	{1, 1, []byte{0, 1}},
	{2, 1, []byte{0, 2, 1}},
	{2, 2, []byte{0, 1, 2, 3}},
	{3, 2, []byte{0, 4, 1, 2, 3}},
	{4, 2, []byte{0, 4, 1, 2, 3, 5}},
	{4, 3, []byte{0, 4, 1, 2, 3, 5, 6}},
	{5, 3, []byte{0, 6, 1, 2, 3, 4, 5, 7}},
}

// ParseTSDescriptor reads the ES descriptors of a PMT for Opus: the extension
// descriptor 0x7f with tag 0x80 holds channel_config_code. ETSI TS 103 491
func ParseTSDescriptor(d []byte) (Config, error) {
	for len(d) >= 2 {
		n := int(d[1])
		if n > len(d)-2 {
			return Config{}, fmt.Errorf("opus: descriptor: %w", av.ErrTruncated)
		}
		body := d[2 : 2+n]
		if d[0] == 0x7f && n >= 2 && body[0] == 0x80 {
			return ofCode(int(body[1]))
		}
		d = d[2+n:]
	}
	return Config{}, fmt.Errorf("opus: descriptor: %w: no channel_config_code", av.ErrInvalid)
}

// preSkip is what encoders use, 6.5 ms look-ahead; TS does not tell.
const preSkip = 312

func ofCode(code int) (Config, error) {
	c := Config{Channels: code, InputRate: 48000, PreSkip: preSkip}
	switch {
	case code == 0: // dual mono
		return Config{Channels: 2, InputRate: 48000, PreSkip: preSkip, MappingFamily: 255, Streams: 2, Mapping: []byte{0, 1}}, nil
	case code <= 2:
		return c, nil
	case code <= 8:
		m := mappings[code]
		c.MappingFamily, c.Streams, c.Coupled, c.Mapping = 1, m.streams, m.coupled, m.order
		return c, nil
	}
	return c, fmt.Errorf("opus: descriptor.channel_config_code: %w: %d", av.ErrUnsupported, code)
}

// frameSamples is the length of a frame at 48 kHz by configuration. RFC 6716 3.1
var frameSamples = [32]int{
	480, 960, 1920, 2880, 480, 960, 1920, 2880, 480, 960, 1920, 2880,
	480, 960, 480, 960,
	120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960, 120, 240, 480, 960,
}

// Samples returns the length of a packet at 48 kHz, at most 5760. RFC 6716 3.1
func Samples(packet []byte) (int, error) {
	if len(packet) == 0 {
		return 0, fmt.Errorf("opus: packet: %w", av.ErrTruncated)
	}
	frames := 1
	switch packet[0] & 3 {
	case 1, 2:
		frames = 2
	case 3:
		if len(packet) < 2 {
			return 0, fmt.Errorf("opus: packet: %w: no frame count", av.ErrTruncated)
		}
		frames = int(packet[1] & 0x3f)
	}
	n := frames * frameSamples[packet[0]>>3]
	if n > 5760 || n == 0 {
		return 0, fmt.Errorf("opus: packet: %w: %d frames", av.ErrInvalid, frames)
	}
	return n, nil
}
