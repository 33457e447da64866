package ts

import "encoding/binary"

// A PES packet (ISO 13818-1 2.4.3.6):
//
//	00 00 01 | stream_id | PES_packet_length (2)
//	10 | scrambling (2) | priority | alignment | copyright | original
//	PTS_DTS_flags (2) | ESCR | ES_rate | trick | copy_info | CRC | extension
//	PES_header_data_length | PTS (5) | DTS (5) | ... | payload
const (
	pesFixed     = 6       // up to and with PES_packet_length
	maxPESHeader = 9 + 255 // with the longest PES_header_data

	sidPrivate1 = 0xBD
	sidPadding  = 0xBE
	sidAudio    = 0xC0
	sidVideo    = 0xE0
)

// pesHeader is what the demuxer needs of a PES header.
type pesHeader struct {
	id             uint8
	length         int // PES_packet_length - what follows it in the header, or -1: until the next start
	pts, dts       int64
	hasPTS, hasDTS bool
	scrambled      bool
}

// parsePES reads the header at the start of b. n is its length; n > len(b) says
// how many bytes are needed, n == 0 that this is no PES packet.
func parsePES(b []byte) (h pesHeader, n int) {
	if len(b) < pesFixed {
		return h, pesFixed
	}
	if b[0] != 0 || b[1] != 0 || b[2] != 1 {
		return h, 0
	}
	h.id = b[3]
	h.length = int(binary.BigEndian.Uint16(b[4:]))
	if !hasOptionalHeader(h.id) {
		return h, pesFixed
	}
	if len(b) < 9 {
		return h, 9
	}
	n = 9 + int(b[8])
	if b[6]&0xC0 != 0x80 {
		return h, 0
	}
	if len(b) < n {
		return h, n
	}
	h.scrambled = b[6]&0x30 != 0
	switch {
	case h.length == 0:
		h.length = -1
	case h.length >= n-pesFixed:
		h.length -= n - pesFixed
	default:
		return h, 0
	}
	if b[7]&0x80 != 0 && n >= 14 {
		h.pts, h.hasPTS = parseTime(b[9:])
	}
	if b[7]&0xC0 == 0xC0 && n >= 19 && h.hasPTS {
		h.dts, h.hasDTS = parseTime(b[14:])
	}
	return h, n
}

// hasOptionalHeader tells the stream_ids whose payload follows the length
// directly (ISO 13818-1 table 2-21).
func hasOptionalHeader(id uint8) bool {
	switch id {
	case 0xBC, sidPadding, 0xBF, 0xF0, 0xF1, 0xF2, 0xF8, 0xFF:
		return false
	}
	return true
}

// parseTime reads a 33-bit time; its three marker bits must be set.
func parseTime(b []byte) (int64, bool) {
	if b[0]&1 == 0 || b[2]&1 == 0 || b[4]&1 == 0 {
		return 0, false
	}
	return int64(b[0]&0x0E)<<29 | int64(b[1])<<22 | int64(b[2]&0xFE)<<14 | int64(b[3])<<7 | int64(b[4])>>1, true
}

// appendTime writes a 33-bit time behind the 4-bit mark.
func appendTime(dst []byte, mark uint8, t int64) []byte {
	return append(dst,
		mark<<4|byte(t>>29)&0x0E|1,
		byte(t>>22),
		byte(t>>14)|1,
		byte(t>>7),
		byte(t<<1)|1)
}
