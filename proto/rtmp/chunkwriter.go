package rtmp

import (
	"encoding/binary"
	"io"
)

// chunkWriter writes messages. Each begins with a whole header.
type chunkWriter struct {
	w         io.Writer
	buf       []byte
	chunkSize int
}

// append adds a message whose body is a and b, one behind the other, to what
// flush sends. id is 2 to 63.
func (w *chunkWriter) append(id byte, kind byte, stream, timestamp uint32, a, b []byte) {
	n := len(a) + len(b)
	ts := min(timestamp, extendedMark)
	w.buf = append(w.buf, id, byte(ts>>16), byte(ts>>8), byte(ts), byte(n>>16), byte(n>>8), byte(n), kind)
	w.buf = binary.LittleEndian.AppendUint32(w.buf, stream)
	if ts == extendedMark {
		w.buf = binary.BigEndian.AppendUint32(w.buf, timestamp)
	}
	room := w.chunkSize
	for _, p := range [2][]byte{a, b} {
		for len(p) > 0 {
			if room == 0 {
				w.buf = append(w.buf, 3<<6|id)
				if ts == extendedMark {
					w.buf = binary.BigEndian.AppendUint32(w.buf, timestamp)
				}
				room = w.chunkSize
			}
			k := min(room, len(p))
			w.buf = append(w.buf, p[:k]...)
			p, room = p[k:], room-k
		}
	}
}

// take returns what was added, and forgets it.
func (w *chunkWriter) take() []byte {
	b := w.buf
	w.buf = nil
	return b
}

// flush sends what was added.
func (w *chunkWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.w.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}
