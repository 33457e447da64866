package vault

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/cleave-video/cleave/seal"
)

// A file of keys; docs/format/keys.md draws it.
//
//	 0                   8                   16        20        24
//	+-------------------+-------------------+---------+---------+
//	| "CLVKEY" 00 01    | number of first   | 0       | CRC     |
//	+-------------------+-------------------+---------+---------+
//	| ID, 16            | key, 16           | IV, 16            | CRC |  of each key
//	+-------------------+-------------------+-------------------+-----+
const (
	magic      = "CLVKEY\x00\x01"
	headerSize = 24
	recordSize = 52
)

// CorruptError says that a file of keys is not what was written.
type CorruptError struct {
	Path   string // "" if only the bytes are known
	Offset int64
	Why    string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("vault: %s at %d: %s", e.Path, e.Offset, e.Why)
}

func checksum(b ...[]byte) uint32 {
	crc := uint32(0)
	for _, x := range b {
		crc = crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), x)
	}
	return crc
}

func appendHeader(b []byte, first uint64) []byte {
	at := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, first)
	b = append(b, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint32(b, checksum(b[at:]))
}

// appendRecord appends the key of that number.
func appendRecord(b []byte, k *seal.Key, number uint64) []byte {
	at := len(b)
	b = append(b, k.ID[:]...)
	b = append(b, k.Key[:]...)
	b = append(b, k.IV[:]...)
	return binary.LittleEndian.AppendUint32(b, recordSum(b[at:], number))
}

// recordSum is of a record at its place.
func recordSum(b []byte, number uint64) uint32 {
	var at [8]byte
	binary.LittleEndian.PutUint64(at[:], number)
	return checksum(at[:], b)
}

// parse reads a file: the number of its first key, its keys, and how many bytes of b
// these take. What follows is the rest of a record that was not written to its end. The
// error is a *CorruptError.
func parse(b []byte) (first uint64, keys []seal.Key, size int, err error) {
	switch {
	case len(b) < headerSize:
		return 0, nil, 0, &CorruptError{Offset: int64(len(b)), Why: "the header is cut short"}
	case string(b[:len(magic)]) != magic:
		return 0, nil, 0, &CorruptError{Why: "not a file of keys, or of another version"}
	case binary.LittleEndian.Uint32(b[headerSize-4:]) != checksum(b[:headerSize-4]):
		return 0, nil, 0, &CorruptError{Offset: headerSize - 4, Why: "checksum of the header"}
	}
	first, size = binary.LittleEndian.Uint64(b[len(magic):]), headerSize
	right := func(at int) bool {
		return at+recordSize <= len(b) &&
			binary.LittleEndian.Uint32(b[at+recordSize-4:]) == recordSum(b[at:at+recordSize-4], first+uint64((at-headerSize)/recordSize))
	}
	for ; right(size); size += recordSize {
		var k seal.Key
		copy(k.ID[:], b[size:])
		copy(k.Key[:], b[size+16:])
		copy(k.IV[:], b[size+32:])
		keys = append(keys, k)
	}
	for at := size + recordSize; at+recordSize <= len(b); at += recordSize {
		if right(at) { // what was promised lies behind what is damaged
			return 0, nil, 0, &CorruptError{Offset: int64(size), Why: "checksum of a key"}
		}
	}
	return first, keys, size, nil
}
