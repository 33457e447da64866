// Package adts reads AAC in ADTS frames, with or without ID3 tags around it.
// ISO 14496-3 1.A.2
package adts

import (
	"fmt"
	"io"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/aac"
	"github.com/cleave-video/cleave/codec/es"
)

// Demuxer reads one AAC track. Its timebase is one sample, PTS and DTS count
// samples from 0: 1024 for each raw data block. The headers and their checksums
// are left out of the packets. See es.Audio for the rest.
type Demuxer struct{ es.Audio }

var (
	_ av.Demuxer  = (*Demuxer)(nil)
	_ av.Progress = (*Demuxer)(nil)
	_ av.Warner   = (*Demuxer)(nil)
)

// NewDemuxer returns a Demuxer of r. Close closes r if it is an io.Closer.
func NewDemuxer(r io.Reader) *Demuxer { return &Demuxer{*es.NewAudio(r, syntax{})} }

// Sniff returns from 0 to 100 how sure it is that head, the first bytes of an
// input, up to 4 KiB, is ADTS.
func Sniff(head []byte) int { return es.Sniff(head, syntax{}) }

type syntax struct{}

func (syntax) Name() string { return "adts" }
func (syntax) HeadLen() int { return 7 }

// Masks of what may not change within a track: byte 1 without
// protection_absent, profile and rate of byte 2, channel_configuration.
const (
	maskID       = 0xfe
	maskProfile  = 0xfd
	maskChannels = 0xc0
)

func (syntax) Parse(b []byte) (es.Frame, error) {
	h, err := aac.ParseADTS(b)
	if err != nil {
		return es.Frame{}, err
	}
	if h.FrameLen == h.HeaderLen {
		return es.Frame{}, fmt.Errorf("adts: aac_frame_length: %w: no payload", av.ErrInvalid)
	}
	sig := uint32(b[1]&maskID)<<16 | uint32(b[2]&maskProfile)<<8 | uint32(b[3]&maskChannels)
	return es.Frame{Size: h.FrameLen, Header: h.HeaderLen, Samples: 1024 * h.Blocks, Rate: h.SampleRate(), Sig: sig}, nil
}

func (syntax) Config(frame []byte) (av.Codec, []byte) {
	c, err := aac.FrameConfig(frame)
	if err != nil { // the channels may still be told in frames to come
		h, _ := aac.ParseADTS(frame)
		c = h.Config()
	}
	return av.AAC, c
}

// Drop refuses what cannot be stripped: with a checksum, each of several raw data
// blocks has one behind it (ISO 14496-3 1.A.2.2).
func (syntax) Drop(frame []byte, _ bool) (string, bool) {
	h, err := aac.ParseADTS(frame)
	return "frames of several raw data blocks with checksums dropped", err != nil || h.Blocks > 1 && h.HeaderLen > 7
}
