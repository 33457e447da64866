package wire

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"io"
	"slices"
)

// Chunk is video that is to be encoded anew:
//
//	length(32) of JSON | JSON | record of the codec | units | payload
//	unit = flags(32) | size(32) of its payload | PTS(64)
//
// on standard input, in network byte order. The answer is Encoded, on standard output.
type Chunk struct {
	ChunkHead
	Config []byte
	Units  []Unit
}

// ChunkHead is what is said of it.
type ChunkHead struct {
	Codec   string   `json:"codec"` // libavcodec's name
	Config  int      `json:"config"`
	Units   int      `json:"units"`
	Height  int      `json:"height"`  // of the pictures that come out, even
	Bitrate int64    `json:"bitrate"` // that is not exceeded
	Rate    [2]int32 `json:"rate"`    // pictures a second
	Depth   int      `json:"depth"`   // of reordering
}

// Unit is a packet.
type Unit struct {
	Key   bool // decoding can begin at it
	Shown bool // it is to come out; else it is only what others refer to
	Size  int
	PTS   int64
	Data  []byte // of what was read
}

const (
	unitSize  = 16
	unitKey   = 1
	unitShown = 2
)

// Bounds of a chunk.
const (
	MaxUnits = 1 << 16
	// MaxChunk is the bytes of the payload of all packets.
	MaxChunk   = 256 << 20
	maxHeight  = 4320
	maxBitrate = 1 << 30
	maxDepth   = 16
)

// valid reports whether what is asked for is within the bounds.
func (h *ChunkHead) valid() bool {
	return h.Config >= 0 && h.Config <= maxConfig && h.Units > 0 && h.Units <= MaxUnits && h.Height >= 2 && h.Height <= maxHeight && h.Height%2 == 0 &&
		h.Bitrate > 0 && h.Bitrate <= maxBitrate && h.Rate[0] > 0 && h.Rate[1] > 0 && h.Depth >= 0 && h.Depth <= maxDepth
}

// Append appends what stands before the payload. The error is ErrMessage if it is beyond
// the bounds.
func (c *Chunk) Append(b []byte) ([]byte, error) {
	h := c.ChunkHead
	h.Config, h.Units = len(c.Config), len(c.Units)
	if !h.valid() {
		return nil, ErrMessage
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b = append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	b = append(b, c.Config...)
	total := 0
	for i := range c.Units {
		u := &c.Units[i]
		flags := uint32(0)
		if u.Key {
			flags |= unitKey
		}
		if u.Shown {
			flags |= unitShown
		}
		if total += u.Size; u.Size < 0 || total > MaxChunk {
			return nil, ErrMessage
		}
		b = binary.BigEndian.AppendUint32(b, flags)
		b = binary.BigEndian.AppendUint32(b, uint32(u.Size))
		b = binary.BigEndian.AppendUint64(b, uint64(u.PTS))
	}
	return b, nil
}

// Read reads all of it. The error is ErrMessage if sizes are beyond the bounds.
func (c *Chunk) Read(r io.Reader) error {
	var n [4]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(n[:])
	if size > maxHead {
		return ErrMessage
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &c.ChunkHead); err != nil {
		return err
	}
	if !c.valid() {
		return ErrMessage
	}
	c.Config = make([]byte, c.ChunkHead.Config)
	if _, err := io.ReadFull(r, c.Config); err != nil {
		return err
	}
	table := make([]byte, c.ChunkHead.Units*unitSize)
	if _, err := io.ReadFull(r, table); err != nil {
		return err
	}
	return c.readUnits(r, table)
}

// readUnits reads the payload that table describes.
func (c *Chunk) readUnits(r io.Reader, table []byte) error {
	c.Units = make([]Unit, c.ChunkHead.Units)
	total, shown := 0, 0
	for i := range c.Units {
		b, u := table[i*unitSize:], &c.Units[i]
		flags := binary.BigEndian.Uint32(b)
		u.Key, u.Shown = flags&unitKey != 0, flags&unitShown != 0
		u.Size, u.PTS = int(binary.BigEndian.Uint32(b[4:])), int64(binary.BigEndian.Uint64(b[8:]))
		if total += u.Size; total > MaxChunk {
			return ErrMessage
		}
		if u.Shown {
			shown++
		}
	}
	if shown == 0 {
		return ErrMessage
	}
	payload := make([]byte, total)
	if _, err := io.ReadFull(r, payload); err != nil {
		return err
	}
	for i := range c.Units {
		u := &c.Units[i]
		u.Data, payload = payload[:u.Size:u.Size], payload[u.Size:]
	}
	return nil
}

// Shown returns the units that are to come out, in the order in which they are shown:
// their ranks.
func (c *Chunk) Shown() []Unit {
	out := make([]Unit, 0, len(c.Units))
	for i := range c.Units {
		if c.Units[i].Shown {
			out = append(out, c.Units[i])
		}
	}
	slices.SortStableFunc(out, func(a, b Unit) int { return cmp.Compare(a.PTS, b.PTS) })
	return out
}

// Encoded is what became of a chunk:
//
//	size(32) of parameter sets | size(32) of packets | repeated(32) | parameter sets | packets
//	packet = rank(32) | key(32) | size(32) | access unit
//
// in network byte order. Parameter sets and access units are of H.264, in Annex B.
type Encoded struct {
	Config   []byte
	Packets  []byte
	Repeated int // pictures that were not decoded, and are the one before
}

// Write writes it.
func (e *Encoded) Write(w io.Writer) error {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(e.Config)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Packets)))
	b = binary.BigEndian.AppendUint32(b, uint32(e.Repeated))
	for _, b := range [...][]byte{b, e.Config, e.Packets} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// Parse reads what was written. It does not copy. The error is ErrMessage if b is
// anything else.
func (e *Encoded) Parse(b []byte) error {
	const head = 12
	if len(b) < head {
		return ErrMessage
	}
	config, packets := uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))
	e.Repeated = int(binary.BigEndian.Uint32(b[8:]))
	if b = b[head:]; uint64(len(b)) != config+packets {
		return ErrMessage
	}
	e.Config, e.Packets = b[:config:config], b[config:]
	return nil
}

// EncodedPacket is one of Encoded.Packets.
type EncodedPacket struct {
	Rank int // of the picture among those shown
	Key  bool
	Data []byte
}

// Next takes the first packet off Packets. The error is io.EOF at their end, or
// ErrMessage.
func (e *Encoded) Next() (p EncodedPacket, err error) {
	const head = 12
	b := e.Packets
	if len(b) == 0 {
		return p, io.EOF
	}
	if len(b) < head {
		return p, ErrMessage
	}
	p.Rank, p.Key = int(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint32(b[4:])&1 != 0
	size := uint64(binary.BigEndian.Uint32(b[8:]))
	if b = b[head:]; size > uint64(len(b)) {
		return p, ErrMessage
	}
	p.Data, e.Packets = b[:size:size], b[size:]
	return p, nil
}
