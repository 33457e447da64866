// Package codec answers, for every codec, what a track's configuration says and
// what a packet's bitstream says. The packages below it read one codec each.
package codec

import (
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/aac"
	"github.com/cleave-video/cleave/codec/ac3"
	"github.com/cleave-video/cleave/codec/av1"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/codec/mp3"
	"github.com/cleave-video/cleave/codec/opus"
	"github.com/cleave-video/cleave/codec/vp9"
)

// Info is what a track's configuration declares. Fields that the codec or the
// kind of track has not are zero.
type Info struct {
	String        string // RFC 6381: "avc1.64001f", "mp4a.40.2"; of Private what its container says
	Width, Height int    // after cropping; 0 if only the frames say (VP9 in some containers)
	SAR           av.Rational
	FrameRate     av.Rational // as the bitstream declares; Den 0 unknown
	SampleRate    int
	Channels      int
	FrameSamples  int // of an audio frame, at SampleRate; 0 unknown
	NALLength     int // 1, 2 or 4
	Reorder       int // most pictures that precede one in decode order and follow it in output; -1 unknown
}

// Describe reads t.Config. The error wraps av.ErrInvalid, av.ErrTruncated or
// av.ErrTooLarge. Of a Private track it is what the container's own words tell, and
// there is no error.
func Describe(t *av.Track) (Info, error) {
	info := Info{Reorder: -1}
	var err error
	switch t.Codec {
	case av.H264:
		err = describeH264(t.Config, &info)
	case av.H265:
		err = describeH265(t.Config, &info)
	case av.AV1:
		err = describeAV1(t.Config, &info)
	case av.VP9:
		if len(t.Config) < 8 {
			return info, fmt.Errorf("codec: vpcC: %w: %d bytes", av.ErrTruncated, len(t.Config))
		}
		info.String, info.Reorder = vp9.String(t.Config), 0
		info.Width, info.Height = t.Width, t.Height
	case av.AAC:
		var c aac.Config
		if c, err = aac.ParseConfig(t.Config); err == nil {
			info.String, info.SampleRate, info.Channels, info.FrameSamples = c.String(), c.SampleRate, c.Channels, c.FrameSamples
		}
	case av.Opus:
		var c opus.Config
		if c, err = opus.ParseConfig(t.Config); err == nil {
			info.String, info.SampleRate, info.Channels, info.FrameSamples = "opus", 48000, c.Channels, 960
		}
	case av.AC3:
		info.String, info.FrameSamples = "ac-3", 1536
		info.SampleRate, info.Channels, err = ac3.ParseConfig(t.Config, false)
	case av.EAC3:
		info.String, info.FrameSamples = "ec-3", 1536
		info.SampleRate, info.Channels, err = ac3.ParseConfig(t.Config, true)
	case av.Private:
		describePrivate(t, &info)
	case av.MP3:
		var h mp3.Header
		if h, err = mp3.ParseHeader(t.Config); err == nil {
			info.String, info.SampleRate, info.Channels, info.FrameSamples = "mp4a.6b", h.SampleRate, h.Channels, h.Samples
		}
	}
	return info, err
}

func describeH264(config []byte, info *Info) error {
	c, err := h264.ParseConfig(config)
	if err != nil {
		return err
	}
	info.String, info.NALLength = c.String(), c.NALLength
	if len(c.SPS) == 0 {
		return nil // avc3: the samples hold them
	}
	s, err := h264.ParseSPS(c.SPS[0])
	if err != nil {
		return err
	}
	info.Width, info.Height, info.SAR, info.FrameRate, info.Reorder = s.Width, s.Height, s.SAR, s.FrameRate, s.Reorder
	if s.Reorder < 0 && (s.Profile == 66 || s.POCType == 2) {
		info.Reorder = 0 // no B pictures in the baseline profile, no reordering with type 2
	}
	return nil
}

func describeH265(config []byte, info *Info) error {
	c, err := h265.ParseConfig(config)
	if err != nil {
		return err
	}
	info.String, info.NALLength = c.String(), c.NALLength
	if len(c.SPS) == 0 {
		return nil
	}
	s, err := h265.ParseSPS(c.SPS[0])
	if err != nil {
		return err
	}
	info.Width, info.Height, info.SAR, info.FrameRate, info.Reorder = s.Width, s.Height, s.SAR, s.FrameRate, s.Reorder
	return nil
}

func describeAV1(config []byte, info *Info) error {
	if len(config) < 4 {
		return fmt.Errorf("codec: av1C: %w: %d bytes", av.ErrTruncated, len(config))
	}
	info.String, info.Reorder = av1.String(config), 0
	if len(config) == 4 {
		return nil
	}
	s, err := av1.ParseSequence(config[4:])
	if err != nil {
		return err
	}
	info.Width, info.Height, info.FrameRate = s.Width, s.Height, s.FrameRate
	return nil
}
