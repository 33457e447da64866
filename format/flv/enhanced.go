package flv

import (
	"encoding/binary"

	"github.com/cleave-video/cleave/av"
)

// Packet types of both kinds. E-RTMP "VideoPacketType", "AudioPacketType"
const (
	exSequenceStart = 0
	exCodedFrames   = 1
	exSequenceEnd   = 2
	exCodedFramesX  = 3 // video: composition time 0, left out
	exVideoMetadata = 4
	exMultichannel  = 4 // audio: the order of channels
	exVideoMulti    = 6
	exAudioMulti    = 5
	exModEx         = 7
)

// How the tracks of a multitrack body are laid out. E-RTMP "AvMultitrackType"
const (
	multiOneTrack   = 0
	multiManyTracks = 1
	multiManyCodecs = 2
)

// Codes of the codecs. E-RTMP "VideoFourCc", "AudioFourCc"
const (
	fourAVC  = "avc1"
	fourHEVC = "hvc1"
	fourAV1  = "av01"
	fourVP9  = "vp09"
	fourAAC  = "mp4a"
	fourOpus = "Opus"
	fourAC3  = "ac-3"
	fourEAC3 = "ec-3"
	fourMP3  = ".mp3"
)

// codecOf returns the codec of a FourCC, CodecUnknown for others.
func codecOf(kind av.Kind, four []byte) av.Codec {
	if kind == av.Video {
		switch string(four) {
		case fourAVC:
			return av.H264
		case fourHEVC:
			return av.H265
		case fourAV1:
			return av.AV1
		case fourVP9:
			return av.VP9
		}
		return av.CodecUnknown
	}
	switch string(four) {
	case fourAAC:
		return av.AAC
	case fourOpus:
		return av.Opus
	case fourAC3:
		return av.AC3
	case fourEAC3:
		return av.EAC3
	case fourMP3:
		return av.MP3
	}
	return av.CodecUnknown
}

// enhanced reads a body with an ExVideoTagHeader or ExAudioTagHeader.
func (t *Tags) enhanced(kind av.Kind, timestamp uint32, body []byte) error {
	kindOf, rest := body[0]&0x0f, body[1:]
	for kindOf == exModEx {
		var ok bool
		if kindOf, rest, ok = modEx(rest); !ok {
			return t.short()
		}
	}
	if kind == av.Video && kindOf != exVideoMetadata && body[0]>>4&7 == frameCommand {
		return nil
	}
	if kind == av.Video && kindOf == exVideoMulti || kind == av.Audio && kindOf == exAudioMulti {
		return t.multitrack(kind, timestamp, rest)
	}
	if len(rest) < 4 {
		return t.short()
	}
	return t.coded(kind, 0, kindOf, timestamp, rest[:4], rest[4:])
}

// modEx passes over one modifier of the packet type; the nanoseconds that it may
// hold are finer than the timestamps that are kept.
//
//	size-1(8), if 255: size-1(16)   data(size)   ModEx type(4) packet type(4)
func modEx(b []byte) (kindOf byte, rest []byte, ok bool) {
	if len(b) < 1 {
		return 0, nil, false
	}
	n := int(b[0]) + 1
	b = b[1:]
	if n == 256 {
		if len(b) < 2 {
			return 0, nil, false
		}
		n = int(binary.BigEndian.Uint16(b)) + 1
		b = b[2:]
	}
	if len(b) < n+1 {
		return 0, nil, false
	}
	return b[n] & 0x0f, b[n+1:], true
}

// multitrack reads the bodies of several tracks.
//
//	layout(4) packet type(4)   FourCC(32) unless many codecs
//	for each: FourCC(32) if many codecs   trackId(8)   size(24) unless one track   body
func (t *Tags) multitrack(kind av.Kind, timestamp uint32, b []byte) error {
	if len(b) < 1 {
		return t.short()
	}
	layout, kindOf := b[0]>>4, b[0]&0x0f
	b = b[1:]
	var four []byte
	switch {
	case layout > multiManyCodecs:
		return t.unsupported("a multitrack layout")
	case layout != multiManyCodecs && len(b) < 4:
		return t.short()
	case layout != multiManyCodecs:
		four, b = b[:4], b[4:]
	}
	for n := 0; len(b) > 0; n++ {
		if n == maxTracks {
			t.stats.add(warnManyTracks, 1)
			return nil
		}
		if layout == multiManyCodecs {
			if len(b) < 4 {
				t.stats.add(warnBadMulti, 1)
				return nil
			}
			four, b = b[:4], b[4:]
		}
		id, one, rest, ok := trackBody(layout, b)
		if !ok {
			t.stats.add(warnBadMulti, 1)
			return nil
		}
		b = rest
		if err := t.coded(kind, id, kindOf, timestamp, four, one); err != nil {
			return err
		}
	}
	return nil
}

// trackBody takes one track's part of a multitrack body.
func trackBody(layout byte, b []byte) (id uint8, body, rest []byte, ok bool) {
	if len(b) < 1 {
		return 0, nil, nil, false
	}
	id, b = b[0], b[1:]
	if layout == multiOneTrack {
		return id, b, nil, true
	}
	if len(b) < 3 {
		return 0, nil, nil, false
	}
	n := int(u24(b))
	b = b[3:]
	if n > len(b) {
		return 0, nil, nil, false
	}
	return id, b[:n], b[n:], true
}

// coded reads what stands behind the FourCC of one track.
func (t *Tags) coded(kind av.Kind, id uint8, kindOf byte, timestamp uint32, four, b []byte) error {
	if kindOf == exSequenceEnd || kind == av.Video && kindOf == exVideoMetadata || kind == av.Audio && kindOf == exMultichannel {
		return nil
	}
	c := codecOf(kind, four)
	switch {
	case c == av.CodecUnknown:
		return t.unsupportedCode(four)
	case kindOf == exSequenceStart && kind == av.Video:
		return t.videoConfig(id, c, b)
	case kindOf == exSequenceStart:
		return t.audioConfig(id, c, b)
	case kindOf == exCodedFrames && kind == av.Audio:
		return t.audioFrame(id, c, timestamp, b)
	case kindOf == exCodedFrames && (c == av.H264 || c == av.H265):
		if len(b) < 3 {
			return t.short()
		}
		return t.videoFrame(id, c, timestamp, i24(b), b[3:])
	case kind == av.Video && (kindOf == exCodedFrames || kindOf == exCodedFramesX):
		return t.videoFrame(id, c, timestamp, 0, b)
	}
	return t.unsupportedCode(four)
}
