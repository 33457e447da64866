// Package mp3 reads MPEG-1, MPEG-2 and MPEG-2.5 audio, layers I to III, with or
// without ID3 and APE tags around it. ISO 11172-3, ISO 13818-3
package mp3

import (
	"fmt"
	"io"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/es"
	"github.com/cleave-video/cleave/codec/mp3"
)

// Demuxer reads one MP3 track. Its timebase is one sample; PTS and DTS count
// samples from 0 at the first frame of audio. A leading Xing, Info or VBRI frame
// is no audio and left out. The encoder's delay that LAME notes in it is not
// taken off: ffprobe shows it as a start_time of 25 ms at 44.1 kHz, here it stays
// part of the audio. Free format is not supported. See es.Audio for the rest.
type Demuxer struct{ es.Audio }

var (
	_ av.Demuxer  = (*Demuxer)(nil)
	_ av.Progress = (*Demuxer)(nil)
	_ av.Warner   = (*Demuxer)(nil)
)

// NewDemuxer returns a Demuxer of r. Close closes r if it is an io.Closer.
func NewDemuxer(r io.Reader) *Demuxer { return &Demuxer{*es.NewAudio(r, syntax{})} }

// Sniff returns from 0 to 100 how sure it is that head, the first bytes of an
// input, up to 4 KiB, is MPEG audio. A tag that fills head makes 30.
func Sniff(head []byte) int {
	if len(head) > 0 && es.SkipTags(head) == nil {
		return 30
	}
	return es.Sniff(head, syntax{})
}

type syntax struct{}

func (syntax) Name() string { return "mp3" }
func (syntax) HeadLen() int { return 4 }

// Masks of what may not change within a track: version and layer of byte 1, the
// sampling frequency of byte 2.
const (
	maskVersion = 0x1e
	maskRate    = 0x0c
)

func (syntax) Parse(b []byte) (es.Frame, error) {
	h, err := mp3.ParseHeader(b)
	if err != nil {
		return es.Frame{}, err
	}
	if h.FrameLen < 8 {
		return es.Frame{}, fmt.Errorf("mp3: header.bitrate_index: %w: a frame of %d bytes", av.ErrInvalid, h.FrameLen)
	}
	sig := uint32(b[1]&maskVersion)<<16 | uint32(b[2]&maskRate)<<8 | uint32(h.Channels)
	return es.Frame{Size: h.FrameLen, Samples: h.Samples, Rate: h.SampleRate, Sig: sig}, nil
}

func (syntax) Config(frame []byte) (av.Codec, []byte) {
	return av.MP3, append([]byte(nil), frame[:4]...)
}

// Drop finds the frame that describes the file: "Xing" or "Info" behind the side
// information of layer III (ISO 11172-3 2.4.1.7), "VBRI" 32 bytes behind the header.
func (syntax) Drop(frame []byte, first bool) (string, bool) {
	h, err := mp3.ParseHeader(frame)
	if err != nil || !first || h.Layer != 3 {
		return "", err != nil
	}
	side := 32
	switch {
	case h.Version == 1 && h.Channels == 1, h.Version != 1 && h.Channels == 2:
		side = 17
	case h.Version != 1:
		side = 9
	}
	return "", is(frame, 4+side, "Xing") || is(frame, 4+side, "Info") ||
		is(frame, 6+side, "Xing") || is(frame, 6+side, "Info") || is(frame, 4+32, "VBRI")
}

func is(b []byte, at int, word string) bool {
	return len(b) >= at+len(word) && string(b[at:at+len(word)]) == word
}
