// Package h264 reads what the rest of the program must know of H.264 streams:
// configuration records, parameter sets and the heads of slices. ITU-T H.264
package h264

import (
	"fmt"

	"github.com/cleave-video/cleave/av"
)

// NAL unit types. ITU-T H.264 table 7-1
const (
	TypeSlice      = 1
	TypePartitionA = 2
	TypeIDR        = 5
	TypeSEI        = 6
	TypeSPS        = 7
	TypePPS        = 8
	TypeAUD        = 9
	TypeEndSeq     = 10
	TypeEndStream  = 11
	TypeFiller     = 12
	TypeSPSExt     = 13
	TypePrefix     = 14
	TypeSubsetSPS  = 15
	TypeAuxSlice   = 19
)

// Type returns the type of a NAL unit that is not empty.
func Type(unit []byte) int { return int(unit[0] & 0x1f) }

// Bounds on parameter sets: those of real streams are under 200 bytes.
const (
	MaxSet = 4 << 10 // bytes of one
	MaxSPS = 32
	MaxPPS = 255
)

// Config is an AVCDecoderConfigurationRecord.
//
//	version profile compat level | 111111 lengthSizeMinusOne | 111 numOfSPS
//	{ length(16) SPS } | numOfPPS { length(16) PPS } | high profiles: extension
//
// ISO 14496-15 5.3.3.1.2
type Config struct {
	Profile, Compat, Level uint8
	NALLength              int
	SPS, PPS               [][]byte
	Ext                    []byte // what follows the PPS, unread
}

// ParseConfig reads a record; the parameter sets are slices of b. The error wraps
// av.ErrTruncated or av.ErrInvalid and names the field.
func ParseConfig(b []byte) (Config, error) {
	var c Config
	if len(b) < 7 {
		return c, fmt.Errorf("h264: avcC: %w: %d bytes", av.ErrTruncated, len(b))
	}
	if b[0] != 1 {
		return c, fmt.Errorf("h264: avcC.configurationVersion: %w: %d", av.ErrInvalid, b[0])
	}
	c.Profile, c.Compat, c.Level = b[1], b[2], b[3]
	c.NALLength = int(b[4]&3) + 1
	if c.NALLength == 3 {
		return c, fmt.Errorf("h264: avcC.lengthSizeMinusOne: %w: 2", av.ErrInvalid)
	}
	var err error
	rest := b[6:]
	if c.SPS, rest, err = sets(rest, int(b[5]&31), "sequenceParameterSetLength"); err != nil {
		return c, err
	}
	if len(rest) == 0 {
		return c, fmt.Errorf("h264: avcC.numOfPictureParameterSets: %w", av.ErrTruncated)
	}
	if c.PPS, rest, err = sets(rest[1:], int(rest[0]), "pictureParameterSetLength"); err != nil {
		return c, err
	}
	c.Ext = rest
	return c, nil
}

func sets(b []byte, n int, field string) (list [][]byte, rest []byte, err error) {
	for i := range n {
		if len(b) < 2 {
			return nil, nil, fmt.Errorf("h264: avcC.%s[%d]: %w", field, i, av.ErrTruncated)
		}
		size := int(b[0])<<8 | int(b[1])
		if size > len(b)-2 {
			return nil, nil, fmt.Errorf("h264: avcC.%s[%d]: %w: %d bytes, %d left", field, i, av.ErrTruncated, size, len(b)-2)
		}
		if size > MaxSet {
			return nil, nil, fmt.Errorf("h264: avcC.%s[%d]: %w: %d bytes", field, i, av.ErrTooLarge, size)
		}
		list = append(list, b[2:2+size:2+size])
		b = b[2+size:]
	}
	return list, b, nil
}

// NewConfig makes the record for parameter sets, with lengths of four bytes. The
// first SPS gives profile and level.
func NewConfig(sps, pps [][]byte) (Config, error) {
	if len(sps) == 0 || len(sps[0]) < 4 || len(pps) == 0 || len(sps) > 31 || len(pps) > MaxPPS {
		return Config{}, fmt.Errorf("h264: %w: %d SPS and %d PPS", av.ErrInvalid, len(sps), len(pps))
	}
	c := Config{Profile: sps[0][1], Compat: sps[0][2], Level: sps[0][3], NALLength: 4, SPS: sps, PPS: pps}
	if c.high() {
		s, err := ParseSPS(sps[0])
		if err != nil {
			return c, err
		}
		c.Ext = []byte{0xfc | s.ChromaFormat, 0xf8 | s.BitDepthLuma - 8, 0xf8 | s.BitDepthChroma - 8, 0}
	}
	return c, nil
}

// high reports whether the record ends with chroma format and bit depths.
func (c *Config) high() bool {
	switch c.Profile {
	case 100, 110, 122, 144, 244, 44:
		return true
	}
	return false
}

// Append appends the record.
func (c *Config) Append(dst []byte) []byte {
	dst = append(dst, 1, c.Profile, c.Compat, c.Level, 0xfc|byte(c.NALLength-1), 0xe0|byte(len(c.SPS)))
	for _, s := range c.SPS {
		dst = append(append(dst, byte(len(s)>>8), byte(len(s))), s...)
	}
	dst = append(dst, byte(len(c.PPS)))
	for _, s := range c.PPS {
		dst = append(append(dst, byte(len(s)>>8), byte(len(s))), s...)
	}
	return append(dst, c.Ext...)
}

// String returns the RFC 6381 name, "avc1.64001f". ISO 14496-15 E.3
func (c *Config) String() string {
	return fmt.Sprintf("avc1.%02x%02x%02x", c.Profile, c.Compat, c.Level)
}
