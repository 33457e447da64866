// Package flv reads Flash Video, with the Enhanced RTMP codecs (HEVC, AV1, VP9,
// Opus, AC-3, E-AC-3) and several tracks of a kind. Demuxer reads a file; Tags
// reads the bodies of tags alone, which are RTMP's audio, video and data messages
// too.
//
// Adobe Flash Video File Format 10.1 annex E ("FLV"); Enhanced RTMP v2 ("E-RTMP").
package flv

import "encoding/binary"

// A file and a tag. FLV E.2, E.4.1
//
//	"FLV" version(8) 00000 audio(1) 0 video(1) header_size(32) previous_tag_size(32) = 0
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	| 0 |F|   type  |                 data size                     |
//	|             timestamp (low 24 bits)           |  high 8 bits  |
//	|                 stream id = 0                 | data ...
//	|                previous_tag_size = 11 + data size             |
const (
	headerLen    = 9
	tagHeaderLen = 11
	prevLen      = 4 // previous_tag_size

	maskReserved = 0xc0
	maskFilter   = 0x20 // the body is encrypted
	maskType     = 0x1f

	flagAudio = 0x04
	flagVideo = 0x01
)

// The types of tags that are read, which are also RTMP's message types.
const (
	TypeAudio  = 8
	TypeVideo  = 9
	TypeScript = 18
)

// tagHeader is what stands before a body.
type tagHeader struct {
	kind      byte
	filter    bool
	size      int
	timestamp uint32 // ms
	stream    uint32
	reserved  bool // a bit that has no meaning is set
}

// parseTagHeader reads the first 11 bytes of b.
func parseTagHeader(b []byte) tagHeader {
	_ = b[tagHeaderLen-1]
	return tagHeader{
		kind:      b[0] & maskType,
		filter:    b[0]&maskFilter != 0,
		reserved:  b[0]&maskReserved != 0,
		size:      int(u24(b[1:])),
		timestamp: u24(b[4:]) | uint32(b[7])<<24,
		stream:    u24(b[8:]),
	}
}

// plausible reports whether h may begin a tag where one is expected.
func (h tagHeader) plausible() bool {
	return !h.reserved && (h.kind == TypeAudio || h.kind == TypeVideo || h.kind == TypeScript)
}

// strict is plausible for places where none is expected.
func (h tagHeader) strict() bool { return h.plausible() && h.stream == 0 && h.size > 0 }

func u24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// i24 reads a signed 24-bit number.
func i24(b []byte) int64 { return int64(int32(u24(b)<<8) >> 8) }

// Sniff returns from 0 to 100 how sure it is that head, the first bytes of an
// input, up to 4 KiB, is FLV.
func Sniff(head []byte) int {
	if len(head) < headerLen || string(head[:3]) != "FLV" {
		return 0
	}
	size := int64(binary.BigEndian.Uint32(head[5:]))
	switch {
	case size < headerLen:
		return 0
	case head[3] != 1 || head[4]&^(flagAudio|flagVideo) != 0:
		return 60
	case size != headerLen:
		return 80
	case len(head) < headerLen+prevLen+tagHeaderLen:
		return 90
	case parseTagHeader(head[headerLen+prevLen:]).plausible():
		return 100
	}
	return 70
}
