package flv

import (
	"encoding/binary"
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec/opus"
)

// The flags that a legacy audio body carries for AAC: 44 kHz, 16 bits, stereo,
// whatever the truth is. FLV E.4.2.1
const soundFlags = 0x0f

// fourOf returns the FourCC of a codec that Enhanced RTMP carries.
func fourOf(c av.Codec) string {
	switch c {
	case av.H264:
		return fourAVC
	case av.H265:
		return fourHEVC
	case av.AV1:
		return fourAV1
	case av.VP9:
		return fourVP9
	case av.AAC:
		return fourAAC
	case av.Opus:
		return fourOpus
	case av.AC3:
		return fourAC3
	case av.EAC3:
		return fourEAC3
	case av.MP3:
		return fourMP3
	}
	return ""
}

// TagType returns the type of the tags and the RTMP messages that carry t's
// packets, 0 if nothing does.
func TagType(t *av.Track) byte {
	switch {
	case fourOf(t.Codec) == "":
		return 0
	case t.Kind == av.Video:
		return TypeVideo
	case t.Kind == av.Audio:
		return TypeAudio
	}
	return 0
}

// AppendSequenceStart appends the body that announces t: its sequence header, in
// the legacy form for H.264 and AAC, else in that of Enhanced RTMP. Nothing is
// appended for codecs that have none. The error wraps av.ErrUnsupported.
func AppendSequenceStart(dst []byte, t *av.Track) ([]byte, error) {
	if TagType(t) == 0 {
		return dst, fmt.Errorf("flv: %w: %v track of %v", av.ErrUnsupported, t.Kind, t.Codec)
	}
	switch t.Codec {
	case av.H264:
		return append(append(dst, 1<<4|codecAVC, avcHeader, 0, 0, 0), t.Config...), nil
	case av.AAC:
		return append(append(dst, soundAAC<<4|soundFlags, aacHeader), t.Config...), nil
	case av.H265, av.AV1, av.VP9:
		dst = append(dst, maskExVideo|1<<4|exSequenceStart)
		return append(append(dst, fourOf(t.Codec)...), t.Config...), nil
	case av.Opus:
		return appendOpus(append(append(dst, soundEx<<4|exSequenceStart), fourOpus...), t.Config)
	}
	return dst, nil
}

// appendOpus appends the identification header of a configuration. RFC 7845 5.1
func appendOpus(dst, config []byte) ([]byte, error) {
	c, err := opus.ParseConfig(config)
	if err != nil {
		return dst, err
	}
	dst = append(append(dst, "OpusHead"...), 1, byte(c.Channels))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(c.PreSkip))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(c.InputRate))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(c.Gain))
	dst = append(dst, byte(c.MappingFamily))
	if c.MappingFamily != 0 {
		dst = append(append(dst, byte(c.Streams), byte(c.Coupled)), c.Mapping...)
	}
	return dst, nil
}

// AppendFrameHead appends what stands in front of p's data in the body that
// carries it. composition is PTS - DTS in milliseconds; what does not fit into 24
// bits is cut off.
func AppendFrameHead(dst []byte, t *av.Track, flags av.Flags, composition int64) []byte {
	kind := byte(2) // inter frame
	if flags.Has(av.Key) {
		kind = 1
	} else if flags.Has(av.Disposable) {
		kind = 3
	}
	composition = min(max(composition, -1<<23), 1<<23-1)
	c := [3]byte{byte(composition >> 16), byte(composition >> 8), byte(composition)}
	switch t.Codec {
	case av.H264:
		return append(dst, kind<<4|codecAVC, avcNALUs, c[0], c[1], c[2])
	case av.AAC:
		return append(dst, soundAAC<<4|soundFlags, aacRaw)
	case av.MP3:
		return append(dst, soundMP3<<4|soundFlags)
	case av.H265:
		if composition == 0 {
			return append(append(dst, maskExVideo|kind<<4|exCodedFramesX), fourHEVC...)
		}
		return append(append(append(dst, maskExVideo|kind<<4|exCodedFrames), fourHEVC...), c[:]...)
	case av.AV1, av.VP9:
		return append(append(dst, maskExVideo|kind<<4|exCodedFrames), fourOf(t.Codec)...)
	}
	return append(append(dst, soundEx<<4|exCodedFrames), fourOf(t.Codec)...)
}

// AppendHeader appends the header of a file with these kinds of track, and its
// first previous_tag_size. FLV E.2
func AppendHeader(dst []byte, video, audio bool) []byte {
	flags := byte(0)
	if video {
		flags |= flagVideo
	}
	if audio {
		flags |= flagAudio
	}
	return append(dst, 'F', 'L', 'V', 1, flags, 0, 0, 0, headerLen, 0, 0, 0, 0)
}

// AppendTag appends a whole tag whose body is head and data, one behind the other,
// and its previous_tag_size. The body has less than 16 MiB. FLV E.4.1
func AppendTag(dst []byte, kind byte, timestamp uint32, head, data []byte) []byte {
	n := uint32(len(head) + len(data))
	dst = append(dst, kind, byte(n>>16), byte(n>>8), byte(n),
		byte(timestamp>>16), byte(timestamp>>8), byte(timestamp), byte(timestamp>>24), 0, 0, 0)
	dst = append(append(dst, head...), data...)
	return binary.BigEndian.AppendUint32(dst, tagHeaderLen+n)
}
