package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cleave-video/cleave/store"
)

// A chunk's object ends with a box in which it describes itself (ISO/IEC 14496-12
// 11.1, docs/format/chunk.md):
//
//	 0      4        8                    24        25     28
//	| size | "uuid" | DescriptionUUID, 16 | version | 0, 3 | payload | CRC32C | size |
//
// The size stands at the end, too, so that the box is found from there.
const (
	boxHeader   = 28
	boxTrailer  = 8
	boxVersion  = 1
	maxDescribe = 4 << 20 // a box is not larger; 65,536 key frames fit
)

// DescriptionUUID is the extended type of the box.
var DescriptionUUID = [16]byte{0x1b, 0xe6, 0x2d, 0x6b, 0x30, 0x17, 0x42, 0x7d, 0xa2, 0xbc, 0x52, 0xe6, 0x6c, 0xb9, 0x2f, 0xc7}

// ErrNoDescription is returned for an object that does not end with a description.
var ErrNoDescription = errors.New("index: object does not describe itself")

// AppendDescription appends the box that ends the object of e, which must be valid.
// What the box cannot say, as it is part of it, is left out: the object's key, its
// size and its digest.
func AppendDescription(dst []byte, stream string, e *Entry) []byte {
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0, 'u', 'u', 'i', 'd')
	dst = append(dst, DescriptionUUID[:]...)
	dst = append(dst, boxVersion, 0, 0, 0)
	dst = appendText(dst, stream)
	n := *e
	n.Object, n.Digest = "", [32]byte{}
	n.Size = e.Size - e.rest()
	var enc Encoder
	dst = enc.Append(dst, &n)
	size := uint32(len(dst) - at + boxTrailer)
	binary.BigEndian.PutUint32(dst[at:], size)
	dst = binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[at:], crc32.MakeTable(crc32.Castagnoli)))
	return binary.BigEndian.AppendUint32(dst, size)
}

// ParseDescription reads the box that b ends with. The entry lacks key and digest,
// and its size is that of the object up to the box. Errors: ErrNoDescription,
// *CorruptError.
func ParseDescription(b []byte) (stream string, e Entry, size int, err error) {
	if size, err = descriptionSize(b); err != nil {
		return "", Entry{}, 0, err
	}
	if size > len(b) {
		return "", Entry{}, 0, fmt.Errorf("%w: box of %d bytes in %d", ErrNoDescription, size, len(b))
	}
	box := b[len(b)-size:]
	bad := func(at int, why string) (string, Entry, int, error) {
		return "", Entry{}, 0, &CorruptError{Offset: int64(len(b) - size + at), Why: "description: " + why}
	}
	if binary.BigEndian.Uint32(box) != uint32(size) || string(box[4:8]) != "uuid" || [16]byte(box[8:24]) != DescriptionUUID {
		return "", Entry{}, 0, ErrNoDescription
	}
	end := size - boxTrailer
	if crc32.Checksum(box[:end], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(box[end:]) {
		return bad(end, "checksum")
	}
	if box[24] != boxVersion {
		return bad(24, fmt.Sprintf("version %d", box[24]))
	}
	r := reader{b: box[boxHeader:end]}
	stream = r.text()
	if r.err != nil || CheckStream(stream) != nil {
		return bad(boxHeader, fmt.Sprintf("stream %q", stream))
	}
	var dec Decoder
	rest, err := dec.Next(r.b, &e)
	if err != nil {
		return bad(end-len(r.b), err.Error())
	}
	if len(rest) > 0 {
		return bad(end-len(rest), "bytes behind the entry")
	}
	if e.Object != "" || e.Digest != [32]byte{} {
		return bad(boxHeader, "key or digest")
	}
	return stream, e, size, nil
}

// descriptionSize returns the size of the box that b ends with, if it is one.
func descriptionSize(b []byte) (int, error) {
	if len(b) < boxHeader+boxTrailer {
		return 0, fmt.Errorf("%w: %d bytes", ErrNoDescription, len(b))
	}
	size := binary.BigEndian.Uint32(b[len(b)-4:])
	if size < boxHeader+boxTrailer || size > maxDescribe {
		return 0, ErrNoDescription
	}
	return int(size), nil
}

// firstRead is how much of the end of an object is read at first: most boxes fit.
const firstRead = 4 << 10

// ReadDescription reads the description of an object of that key. The digest is
// missing. Errors: ErrNoDescription, *CorruptError, those of the object.
func ReadDescription(o store.Object, key string) (stream string, e Entry, err error) {
	b, err := readEnd(o, firstRead)
	if err != nil {
		return "", Entry{}, err
	}
	size, err := descriptionSize(b)
	if err != nil {
		return "", Entry{}, err
	}
	if size > len(b) {
		if b, err = readEnd(o, size); err != nil {
			return "", Entry{}, err
		}
	}
	stream, e, size, err = ParseDescription(b)
	if err != nil {
		var damage *CorruptError
		if errors.As(err, &damage) {
			damage.Path, damage.Offset = key, damage.Offset+o.Size()-int64(len(b))
		}
		return "", Entry{}, err
	}
	if e.Size != o.Size()-int64(size) {
		return "", Entry{}, &CorruptError{Path: key, Offset: o.Size() - int64(size), Why: fmt.Sprintf("description: of an object of %d bytes up to it", e.Size)}
	}
	e.Object, e.Size = key, o.Size()
	return stream, e, nil
}

func readEnd(o store.Object, n int) ([]byte, error) {
	b := make([]byte, min(int64(n), o.Size()))
	if k, err := o.ReadAt(b, o.Size()-int64(len(b))); k < len(b) {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}
