// Package ts reads and writes MPEG-2 transport streams (ISO/IEC 13818-1).
//
// The Demuxer takes one program out of a stream of 188, 192 or 204-byte packets
// and gives its access units; the Muxer writes chunks of packets as segments
// that each start with PAT and PMT.
package ts

// A transport packet (ISO 13818-1 2.4.3.2):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+-+-+-+-------------------------+---+---+-------+
//	|   sync 0x47   |E|U|P|           PID           |scr|A|D|  CC   |
//	+---------------+-+-+-+-------------------------+---+---+-------+
//
// E transport_error_indicator, U payload_unit_start_indicator, P
// transport_priority, scr transport_scrambling_control, A an adaptation field
// follows, D payload follows it.
const (
	packetSize = 188
	headerSize = 4
	syncByte   = 0x47

	flagError   = 0x80 // byte 1
	flagStart   = 0x40 // byte 1
	maskScramb  = 0xC0 // byte 3
	flagAdapt   = 0x20 // byte 3
	flagPayload = 0x10 // byte 3
	maskCC      = 0x0F // byte 3

	adaptDiscont = 0x80 // first byte of the adaptation field's flags
	adaptRandom  = 0x40
	adaptPCR     = 0x10

	pidPAT  = 0x0000
	pidNull = 0x1FFF
	numPIDs = 0x2000
)

// wrapBits is the width of PTS, DTS and PCR base.
const (
	wrapBits = 33
	timeMask = 1<<wrapBits - 1
)

// header is what a transport packet says before its payload.
type header struct {
	pid     uint16
	start   bool // payload_unit_start_indicator
	discont bool // discontinuity_indicator
	cc      uint8
	payload []byte // nil if the packet has none
}

// verdict says what parseHeader found.
type verdict uint8

const (
	packetOK verdict = iota
	packetError
	packetScrambled
	packetBadAdaptation
)

// parseHeader splits p, which is one whole packet with its sync byte in place.
// The pid is valid whatever the verdict.
func parseHeader(p []byte) (header, verdict) {
	_ = p[packetSize-1]
	h := header{
		pid:   uint16(p[1]&0x1F)<<8 | uint16(p[2]),
		start: p[1]&flagStart != 0,
		cc:    p[3] & maskCC,
	}
	if p[1]&flagError != 0 {
		return h, packetError
	}
	off := headerSize
	if p[3]&flagAdapt != 0 {
		n := int(p[4])
		off += 1 + n
		if off > packetSize {
			return h, packetBadAdaptation
		}
		h.discont = n > 0 && p[5]&adaptDiscont != 0
	}
	if p[3]&flagPayload == 0 {
		return h, packetOK
	}
	if p[3]&maskScramb != 0 {
		return h, packetScrambled
	}
	h.payload = p[off:packetSize]
	return h, packetOK
}

// since returns a-b on the 33-bit clock, in [-2^32, 2^32).
func since(a, b int64) int64 {
	return (a - b) << (64 - wrapBits) >> (64 - wrapBits)
}
