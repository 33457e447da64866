// Package wire is what cleave and its libavformat worker say to each other.
//
// The worker is a process of its own. It inherits a socket (sequenced packets) on
// which every message has 24 bytes, and a memory file in which lies whatever is
// larger:
//
//	slot 0 | slot 1 | window
//	slot   = MaxPackets descriptors of DescSize bytes, then payload
//	window = what the parent read for the worker
//
// The parent asks, the worker answers; in between the worker may ask for bytes of
// the input. Slots are asked for in turn, each again once the parent has done with it,
// so that the worker need not wait. The parent trusts nothing that the worker wrote:
// it copies, then looks.
package wire

import (
	"encoding/binary"
	"errors"
	"math"
)

// Version is that of this protocol. Parent and worker must agree.
const Version = 2

// The descriptors of files that the worker inherits.
const (
	SocketFD = 3
	MemoryFD = 4
	InputFD  = 5 // only if Options.Direct
)

// Bounds of a batch: whichever is reached first ends it. A batch of many large
// packets would leave the processor's cache; one of few small ones costs two processes
// more to wake up than to read.
const (
	MaxPackets = 512
	BatchBytes = 256 << 10
	MaxUnit    = 16 << 20 // bytes of one packet
)

// The layout of the memory file.
const (
	DescSize    = 64
	DescsSize   = MaxPackets * DescSize
	PayloadSize = MaxUnit + BatchBytes
	SlotSize    = DescsSize + PayloadSize
	Slots       = 3
	WindowOff   = Slots * SlotSize
	WindowSize  = 64 << 10
	MemorySize  = WindowOff + WindowSize
)

// Op says what a message is about.
type Op uint32

// What the parent says.
const (
	OpOpen   Op = 1 + iota // N bytes of JSON in slot 0: Options
	OpNext                 // fill slot N
	OpData                 // answer to OpRead: N bytes in the window, or B says why not
	OpSeeked               // answer to OpSeek: position A, or B says why not
)

// What the worker says.
const (
	OpHello  Op = 101 + iota // N: Version; then it waits for OpOpen
	OpRead                   // up to N bytes at A, or of what follows if A is -1
	OpSeek                   // to A, from N as in io.Seeker
	OpTick                   // it lives; A: bytes read of the input so far
	OpOpened                 // N bytes of JSON in slot 0: Opened
	OpBatch                  // N packets in slot A
	OpEnd                    // the input has ended
	OpFail                   // N bytes of text in slot A; B: AVERROR
)

// Status of an answer, in B.
const (
	StatusOK  = 0
	StatusEOF = 1
	StatusErr = 2 // the parent keeps the error
)

// MessageSize is the length of every message.
const MessageSize = 24

// Message is one on the socket.
//
//	op(4) n(4) a(8) b(8), little-endian
type Message struct {
	Op   Op
	N    uint32
	A, B int64
}

// Append appends the message.
func (m Message) Append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Op))
	b = binary.LittleEndian.AppendUint32(b, m.N)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.A))
	return binary.LittleEndian.AppendUint64(b, uint64(m.B))
}

// ErrMessage is returned for what is no message.
var ErrMessage = errors.New("wire: not a message")

// Parse reads a message, which must be all of b.
func Parse(b []byte) (Message, error) {
	if len(b) != MessageSize {
		return Message{}, ErrMessage
	}
	return Message{
		Op: Op(binary.LittleEndian.Uint32(b)), N: binary.LittleEndian.Uint32(b[4:]),
		A: int64(binary.LittleEndian.Uint64(b[8:])), B: int64(binary.LittleEndian.Uint64(b[16:])),
	}, nil
}

// NoTime is a time that the container does not tell (AV_NOPTS_VALUE).
const NoTime = math.MinInt64

// The flags of a Desc.
const (
	FlagKey     = 1 << iota // as libavformat believes
	FlagCorrupt             // damaged
	FlagDiscard             // not to be shown
	FlagConfig              // the payload is followed by new extradata
)

// Desc describes one packet of a batch. The shim's struct cav_packet is the same.
//
//	stream(4) flags(4) pts(8) dts(8) duration(8) position(8)
//	offset(4) size(4) extradata size(4) reserved(12), little-endian
type Desc struct {
	Stream        int
	Flags         uint32
	PTS, DTS, Dur int64
	Pos           int64 // in the input, -1 unknown
	Off, Size     int   // of the payload, in the slot's payload area
	Extra         int   // bytes of new extradata behind the payload
}

// ParseDesc reads a descriptor from DescSize bytes. What it says is checked
// against payload, the bytes of the payload area that are in use.
func ParseDesc(b []byte, payload int) (Desc, bool) {
	b = b[:DescSize]
	le := binary.LittleEndian
	d := Desc{
		Stream: int(int32(le.Uint32(b))), Flags: le.Uint32(b[4:]),
		PTS: int64(le.Uint64(b[8:])), DTS: int64(le.Uint64(b[16:])), Dur: int64(le.Uint64(b[24:])), Pos: int64(le.Uint64(b[32:])),
		Off: int(le.Uint32(b[40:])), Size: int(le.Uint32(b[44:])), Extra: int(le.Uint32(b[48:])),
	}
	ok := d.Stream >= 0 && d.Size >= 0 && d.Extra >= 0 && d.Off >= 0 &&
		int64(d.Off)+int64(d.Size)+int64(d.Extra) <= int64(payload)
	return d, ok
}

// Options are what the worker opens an input with.
type Options struct {
	Format   string `json:"format,omitempty"` // libavformat's name; "" lets the content choose
	Direct   bool   `json:"direct,omitempty"` // read InputFD, do not ask
	At       bool   `json:"at,omitempty"`     // the input is read by position, Size is known
	Seekable bool   `json:"seekable,omitempty"`
	Size     int64  `json:"size"` // -1 unknown

	ProbeSize       int64 `json:"probesize,omitempty"`       // bytes; 0 is libavformat's default
	AnalyzeDuration int64 `json:"analyzeduration,omitempty"` // microseconds; 0 is libavformat's default
}

// Opened is what the worker found.
type Opened struct {
	Format   string   `json:"format"`
	Version  string   `json:"version"`  // of libavformat
	Duration int64    `json:"duration"` // microseconds; -1 if the container does not declare it
	Streams  []Stream `json:"streams"`
	Widened  int64    `json:"widened,omitempty"` // probesize it took to know all streams
}

// Stream is one of the input's.
type Stream struct {
	Kind       string `json:"kind"`  // "video", "audio", "subtitle", "data", "attachment", "unknown"
	Codec      string `json:"codec"` // libavcodec's name, "none" if unknown
	Tag        string `json:"tag,omitempty"`
	ID         int64  `json:"id"`
	Num        int64  `json:"num"` // timebase
	Den        int64  `json:"den"`
	WrapBits   int    `json:"wrap_bits"`
	Extradata  []byte `json:"extradata,omitempty"`
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`
	SampleRate int    `json:"sample_rate,omitempty"`
	Channels   int    `json:"channels,omitempty"`
	Bits       int    `json:"bits,omitempty"` // of a sample of uncompressed sound
	FrameBytes int    `json:"frame_bytes,omitempty"`
	RateNum    int64  `json:"rate_num,omitempty"` // frames a second, as far as libavformat knows
	RateDen    int64  `json:"rate_den,omitempty"`
	Language   string `json:"language,omitempty"`
	Picture    bool   `json:"picture,omitempty"` // a still such as a cover, not a video
	Delay      int64  `json:"delay,omitempty"`
}
