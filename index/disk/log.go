package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cleave-video/cleave/index"
)

// A log begins with
//
//	 0                   8                 16                 24
//	| "CLVLOG" 0 version | number of first  | first not dropped | time of the entry before |
//	32                  36                 40                 48  52
//	| epoch of it        | 1 if there is one | seq of it        | 0 | CRC of 0-52
//
// and goes on with batches, each synced before the next is written:
//
//	| length, 1-5 | CRC of length and payload, 4 | payload |
//
// The payload is encoded entries, or 0x80 0x01 and the number of the first entry
// that is not dropped, as uvarint.
const (
	logMagic  = "CLVLOG\x00\x01"
	logHeader = 56
	maxBatch  = 1 << 30

	recordMark = 0x80 // no entry begins with it
	recordDrop = 1
)

func logName(first uint64) string { return fmt.Sprintf("log-%016x", first) }

func parseLogName(name string) (uint64, bool) {
	var first uint64
	n, err := fmt.Sscanf(name, "log-%016x", &first)
	return first, n == 1 && err == nil && name == logName(first)
}

func appendLogHeader(b []byte, first, kept uint64, before index.Before) []byte {
	le := binary.LittleEndian
	h := append([]byte(nil), logMagic...)
	h = le.AppendUint64(h, first)
	h = le.AppendUint64(h, kept)
	h = le.AppendUint64(h, uint64(before.Time))
	h = le.AppendUint32(h, before.Epoch)
	some := uint32(0)
	if before.Some {
		some = 1
	}
	h = le.AppendUint32(h, some)
	h = le.AppendUint64(h, uint64(before.Seq))
	h = le.AppendUint32(h, 0)
	return append(b, sealHeader(h)...)
}

// parseLogHeader is the inverse of appendLogHeader.
func parseLogHeader(b []byte) (first, kept uint64, before index.Before, ok bool) {
	if len(b) < logHeader || string(b[:8]) != logMagic || !headerOK(b[:logHeader]) {
		return 0, 0, before, false
	}
	le := binary.LittleEndian
	before = index.Before{Some: le.Uint32(b[36:]) == 1, Epoch: le.Uint32(b[32:]), Seq: int64(le.Uint64(b[40:])), Time: int64(le.Uint64(b[24:]))}
	return le.Uint64(b[8:]), le.Uint64(b[16:]), before, true
}

func appendBatch(b, payload []byte) []byte {
	var n [binary.MaxVarintLen64]byte
	length := n[:binary.PutUvarint(n[:], uint64(len(payload)))]
	b = append(b, length...)
	b = binary.LittleEndian.AppendUint32(b, checksum(length, payload))
	return append(b, payload...)
}

// parseBatch returns the payload that b begins with and the length of the batch.
func parseBatch(b []byte) (payload []byte, n int, ok bool) {
	length, k := binary.Uvarint(b)
	if k <= 0 || length == 0 || length > maxBatch || uint64(len(b)-k) < 4+length {
		return nil, 0, false
	}
	n = k + 4 + int(length)
	payload = b[k+4 : n]
	return payload, n, binary.LittleEndian.Uint32(b[k:]) == checksum(b[:k], payload)
}

// goesOn reports whether a right batch follows in b, which begins with a wrong one:
// then the wrong one was synced once and is damaged. Without one it is what a crash
// left of a batch that nobody was promised. The search for it is bounded.
func goesOn(b []byte) bool {
	if _, n, _ := parseBatch(b); n > 0 {
		if _, _, ok := parseBatch(b[n:]); ok {
			return true
		}
	}
	const window, longest = 16 << 10, 4 << 10
	for i := 1; i < min(len(b), window); i++ {
		length, _ := binary.Uvarint(b[i:])
		if length < 8 || length > longest {
			continue
		}
		if _, _, ok := parseBatch(b[i:]); ok {
			return true
		}
	}
	return false
}

// replayLog takes what a log has into the stream. s.mu is held.
func (s *stream) replayLog(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	first, kept, before, ok := parseLogHeader(b)
	if !ok {
		return &index.CorruptError{Path: path, Why: "header"}
	}
	s.base, s.kept, s.beforeRun, s.run = first, kept, before, index.NewRun(before)
	var dec index.Decoder
	off := int64(logHeader)
	for off < int64(len(b)) {
		payload, n, ok := parseBatch(b[off:])
		if ok {
			if err := s.replayBatch(&dec, payload); err != nil {
				return &index.CorruptError{Path: path, Offset: off, Why: err.Error()}
			}
			off += int64(n)
			continue
		}
		if goesOn(b[off:]) {
			return &index.CorruptError{Path: path, Offset: off, Why: "checksum of batch"}
		}
		break // torn
	}
	s.size, s.torn = off, int64(len(b))-off
	return nil
}

func (s *stream) replayBatch(dec *index.Decoder, b []byte) error {
	if b[0] == recordMark {
		if len(b) < 2 || b[1] != recordDrop {
			return errors.New("unknown record")
		}
		kept, n := binary.Uvarint(b[2:])
		if n != len(b)-2 || kept > s.base+uint64(s.run.Len()) {
			return errors.New("watermark")
		}
		s.kept = max(s.kept, kept)
		return nil
	}
	for len(b) > 0 {
		var e index.Entry
		if s.run.Len()%index.PerBlock == 0 {
			dec.Reset()
		}
		var err error
		if b, err = dec.Next(b, &e); err != nil {
			return err
		}
		if err := s.run.Append(&e); err != nil {
			return err
		}
	}
	return nil
}

// newLog writes a log of what is in memory under the name that says its first
// entry, over another one if need be, and goes on with it. s.mu is held.
func (s *stream) newLog() error {
	b := appendLogHeader(nil, s.base, s.kept, s.beforeRun)
	t := s.run.Table()
	for i := 0; i*index.PerBlock < t.Len(); i++ {
		block, err := t.Block(i, new([]byte))
		if err != nil {
			return err
		}
		b = appendBatch(b, block)
	}
	path := filepath.Join(s.dir, logName(s.base))
	if err := s.d.writeFile(path, b); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if s.log != nil {
		s.log.Close()
	}
	s.log, s.size, s.broken = f, int64(len(b)), false
	return nil
}

// append writes a batch behind the last one and brings it to the disk.
func (s *stream) append(batch []byte) error {
	if err := s.d.at(beforeWrite, s.log.Name()); err != nil {
		return err
	}
	if _, err := s.log.WriteAt(batch, s.size); err != nil {
		return err
	}
	if err := s.d.at(afterWrite, s.log.Name()); err != nil {
		return err
	}
	return s.d.sync(s.log)
}

// makeDir makes the stream's folder.
func (s *stream) makeDir() error {
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		return err
	}
	return s.d.syncDir(s.d.root)
}
