// Package vp9 reads heads of VP9 frames. VP9 Bitstream & Decoding Process
// Specification; VP Codec ISO Media File Format Binding
package vp9

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/bits"
)

// Frame is what the uncompressed header of a frame says.
type Frame struct {
	Profile      uint8
	ShowExisting bool
	Key          bool
	Show         bool
	Intra        bool
}

// Look reads the head of a frame, or of the first frame of a superframe. VP9 6.2
func Look(b []byte) (f Frame, ok bool) {
	r := bits.New(b[:min(len(b), 8)])
	if r.U(2) != 2 {
		return f, false
	}
	f.Profile = uint8(r.U(1) | r.U(1)<<1)
	if f.Profile == 3 {
		r.Skip(1)
	}
	if f.ShowExisting = r.Flag(); f.ShowExisting {
		return f, r.Err() == nil
	}
	f.Key = !r.Flag()
	f.Show = r.Flag()
	r.Skip(1) // error_resilient_mode
	if !f.Key && !f.Show {
		f.Intra = r.Flag()
	}
	return f, r.Err() == nil
}

// Size returns the picture size of a key frame.
func Size(frame []byte) (width, height int, err error) {
	var h vp9.Header
	if err := h.Unmarshal(frame[:min(len(frame), 64)]); err != nil {
		return 0, 0, fmt.Errorf("vp9: frame header: %w: %w", av.ErrInvalid, err)
	}
	return h.Width(), h.Height(), nil
}

// Config returns the VPCodecConfigurationRecord for a key frame, with the lowest
// level that its size allows.
func Config(frame []byte) ([]byte, error) {
	var h vp9.Header
	if err := h.Unmarshal(frame[:min(len(frame), 64)]); err != nil {
		return nil, fmt.Errorf("vp9: frame header: %w: %w", av.ErrInvalid, err)
	}
	if h.NonKeyFrame || h.ColorConfig == nil {
		return nil, fmt.Errorf("vp9: frame header: %w: not a key frame", av.ErrInvalid)
	}
	c := h.ColorConfig
	full := byte(0)
	if c.ColorRange {
		full = 1
	}
	return []byte{
		h.Profile, level(h.Width() * h.Height()), c.BitDepth<<4 | h.ChromaSubsampling()<<1 | full,
		2, 2, 2, 0, 0,
	}, nil
}

// level returns ten times the lowest level whose picture size suffices.
func level(pixels int) byte {
	for _, l := range []struct {
		pixels int
		level  byte
	}{{36864, 10}, {73728, 11}, {122880, 20}, {245760, 21}, {552960, 30}, {983040, 31}, {2228224, 40}, {8912896, 50}} {
		if pixels <= l.pixels {
			return l.level
		}
	}
	return 60
}

// String returns the codecs parameter of a record: "vp09.00.41.08".
func String(config []byte) string {
	if len(config) < 6 {
		return ""
	}
	sub, full := config[2]>>1&7, config[2]&1
	s := fmt.Sprintf("vp09.%02d.%02d.%02d", config[0], config[1], config[2]>>4)
	p, t, m := config[3], config[4], config[5]
	if sub == 1 && full == 0 && (p == 1 || p == 2) && (t == 1 || t == 2) && (m == 1 || m == 2) {
		return s
	}
	return fmt.Sprintf("%s.%02d.%02d.%02d.%02d.%02d", s, sub, p, t, m, full)
}
