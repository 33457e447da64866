package seal

import (
	"crypto/cipher"
	"crypto/rand"
	"io"
)

// Segment encrypts a whole segment by AES-128, CBC, padded as PKCS7 says. What is
// written to it goes on to w, encrypted; Close writes the end of it, but does not
// close w. RFC 8216bis 4.4.4.4
type Segment struct {
	IV   [16]byte // of this segment alone
	Size int64    // bytes that have gone to w

	w    io.Writer
	mode cipher.BlockMode
	buf  []byte
	err  error
}

// segmentBuffer is how much is encrypted and written at once.
const segmentBuffer = 256 << 10

// SegmentSize is how large a segment of size bytes is when it is encrypted.
func SegmentSize(size int) int { return size/blockSize*blockSize + blockSize }

// Segment begins a segment with a new random IV, for the blocks of CBC must not
// be foreseen. buf is memory to use, of a Segment that is closed, or nil.
func (p *Period) Segment(w io.Writer, buf []byte) *Segment {
	s := &Segment{w: w, buf: buf[:0]}
	if cap(s.buf) < segmentBuffer {
		s.buf = make([]byte, 0, segmentBuffer)
	}
	_, _ = rand.Read(s.IV[:]) // never fails
	s.mode = cipher.NewCBCEncrypter(p.block, s.IV[:])
	return s
}

// Write implements io.Writer.
func (s *Segment) Write(b []byte) (n int, err error) {
	for len(b) > 0 && s.err == nil {
		k := copy(s.buf[len(s.buf):segmentBuffer], b)
		s.buf = s.buf[:len(s.buf)+k]
		b = b[k:]
		n += k
		if len(s.buf) == segmentBuffer {
			s.flush()
		}
	}
	return n, s.err
}

// flush encrypts and writes the buffer, which holds whole blocks.
func (s *Segment) flush() {
	if s.err != nil {
		return
	}
	s.mode.CryptBlocks(s.buf, s.buf)
	n, err := s.w.Write(s.buf)
	s.Size += int64(n)
	s.err = err
	s.buf = s.buf[:0]
}

// Close pads and writes the last blocks, and returns the memory to use again.
func (s *Segment) Close() ([]byte, error) {
	pad := blockSize - len(s.buf)%blockSize
	for range pad {
		s.buf = append(s.buf, byte(pad))
	}
	s.flush()
	return s.buf, s.err
}
