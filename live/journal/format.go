package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"

	"github.com/cleave-video/cleave/index"
)

// The file of a chunk begins with
//
//	 0                   8       12                20
//	| "CLVPAR" 0 version | epoch | number of chunk | CRC of 0-20
//
// and goes on with records, which are only written:
//
//	| kind, 1 | length, 1-5 | CRC of kind, length and payload, 4 | payload |
//
// docs/format/parts.md has what their payloads are.
const (
	magic      = "CLVPAR\x00\x01"
	headerSize = 24
	maxRecord  = 256 << 20
	maxName    = 512
)

// kind says what a record is.
type kind uint8

const (
	initRecord        kind = 1 // of an initialization section: length of its name, name, bytes
	partRecord        kind = 2 // section of the object, bytes
	descriptionRecord kind = 3 // what describes the chunk if it has the parts so far
	endRecord         kind = 4 // and the chunk has ended so
)

// checksum goes on with crc.
func checksum(crc uint32, b []byte) uint32 {
	return crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), b)
}

// appendHeader begins a file.
func appendHeader(b []byte, id ID) []byte {
	at := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint32(b, id.Epoch)
	b = binary.LittleEndian.AppendUint64(b, uint64(id.Seq))
	return binary.LittleEndian.AppendUint32(b, checksum(0, b[at:]))
}

// appendRecordHead appends what stands before a payload, which may be in two pieces.
func appendRecordHead(b []byte, k kind, head, body []byte) []byte {
	at := len(b)
	b = append(b, byte(k))
	b = binary.AppendUvarint(b, uint64(len(head)+len(body)))
	crc := checksum(0, b[at:])
	crc = checksum(checksum(crc, head), body)
	return binary.LittleEndian.AppendUint32(b, crc)
}

// errTorn says that a file ends within a record.
var errTorn = errors.New("torn")

// parseRecord returns the record that b begins with and its length.
func parseRecord(b []byte) (k kind, payload []byte, n int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, errTorn
	}
	length, w := binary.Uvarint(b[1:])
	head := 1 + w
	if w <= 0 || length > maxRecord || uint64(len(b)-head) < 4+length {
		return 0, nil, 0, errTorn
	}
	payload = b[head+4 : head+4+int(length)]
	if crc := checksum(checksum(0, b[:head]), payload); crc != binary.LittleEndian.Uint32(b[head:]) {
		return 0, nil, 0, errTorn
	}
	return kind(b[0]), payload, head + 4 + int(length), nil
}

// Chunk is what a file has of a chunk.
type Chunk struct {
	ID
	Stream string
	// Entry describes the chunk; its object is Body and the description, which is not
	// part of it. Valid if Some.
	Entry index.Entry
	Some  bool
	Ended bool // nothing of it is missing
	Body  [][]byte
	Inits []Init
}

// Parse reads a file up to where it is torn. The chunk shares b. The error matches
// *index.CorruptError; what was torn is none.
func Parse(b []byte) (*Chunk, error) {
	if len(b) < headerSize || string(b[:len(magic)]) != magic || checksum(0, b[:headerSize-4]) != binary.LittleEndian.Uint32(b[headerSize-4:]) {
		return nil, &index.CorruptError{Why: "header"}
	}
	seq := binary.LittleEndian.Uint64(b[12:])
	if seq > math.MaxInt64 {
		return nil, &index.CorruptError{Offset: 12, Why: "number"}
	}
	p := &parser{c: &Chunk{ID: ID{binary.LittleEndian.Uint32(b[8:]), int64(seq)}}}
	for off := headerSize; off < len(b); {
		k, payload, n, err := parseRecord(b[off:])
		if err != nil {
			break
		}
		if err := p.record(k, payload); err != nil {
			return nil, &index.CorruptError{Offset: int64(off), Why: err.Error()}
		}
		off += n
	}
	if err := p.finish(); err != nil {
		return nil, &index.CorruptError{Why: err.Error()}
	}
	return p.c, nil
}

// parser collects what records say.
type parser struct {
	c        *Chunk
	sections [][][]byte // the parts of each
}

func (p *parser) record(k kind, payload []byte) error {
	switch k {
	case initRecord:
		n, w := binary.Uvarint(payload)
		if w <= 0 || n > maxName || n > uint64(len(payload)-w) {
			return errors.New("name of an initialization section")
		}
		rest := payload[w:]
		p.c.Inits = append(p.c.Inits, Init{string(rest[:n]), rest[n:]})
	case partRecord:
		n, w := binary.Uvarint(payload)
		if w <= 0 || n >= index.MaxTracks {
			return errors.New("section of a part")
		}
		for uint64(len(p.sections)) <= n {
			p.sections = append(p.sections, nil)
		}
		p.sections[n] = append(p.sections[n], payload[w:])
	case descriptionRecord, endRecord:
		stream, e, size, err := index.ParseDescription(payload)
		if err != nil || size != len(payload) {
			return fmt.Errorf("description of %d bytes: %w", size, err)
		}
		p.c.Stream, p.c.Entry, p.c.Some, p.c.Ended = stream, e, true, k == endRecord
	default:
		return fmt.Errorf("record of kind %d", k)
	}
	return nil
}

// finish puts the parts in order that the description knows of.
func (p *parser) finish() error {
	e := &p.c.Entry
	if !p.c.Some {
		return nil
	}
	if e.Epoch != p.c.Epoch || e.Seq != p.c.Seq {
		return fmt.Errorf("it describes %d of epoch %d", e.Seq, e.Epoch)
	}
	at := int64(0)
	for i := range e.Tracks {
		t := &e.Tracks[i]
		if t.Offset != at {
			return fmt.Errorf("section %d is at %d, the one before ends at %d", i, t.Offset, at)
		}
		left := t.Size
		for k := 0; left > 0; k++ {
			if i >= len(p.sections) || k >= len(p.sections[i]) || int64(len(p.sections[i][k])) > left {
				return fmt.Errorf("section %d: %d bytes are missing", i, left)
			}
			p.c.Body = append(p.c.Body, p.sections[i][k])
			left -= int64(len(p.sections[i][k]))
		}
		at += t.Size
	}
	return nil
}
