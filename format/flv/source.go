package flv

import (
	"io"

	"github.com/cleave-video/cleave/mem"
)

const (
	readSize   = 256 << 10 // one read, and the buffer as long as no tag is larger
	maxNoReads = 100       // empty reads in a row
)

// source is a read buffer that can hold one tag of the largest size.
type source struct {
	r        io.Reader
	buf      []byte
	pos, end int   // unread bytes
	base     int64 // input offset of buf[0]
	err      error // of the reader, sticky
	// big is buf once a tag did not fit: address space for two of the largest,
	// of which the kernel backs only what was received.
	big *mem.Block
}

// offset is the place in the input of the first unread byte.
func (s *source) offset() int64 { return s.base + int64(s.pos) }

// bytes returns what is read ahead, valid until the next need.
func (s *source) bytes() []byte { return s.buf[s.pos:s.end:s.end] }

func (s *source) skip(n int) { s.pos += n }

// need reads until n bytes are there. It returns the reader's error if they are
// not; what is there stays readable. limit bounds n.
func (s *source) need(n, limit int) error {
	for empty := 0; s.end-s.pos < n; {
		if s.err != nil {
			return s.err
		}
		if err := s.room(n, limit); err != nil {
			s.err = err
			return err
		}
		m, err := s.r.Read(s.buf[s.end:min(s.end+readSize, len(s.buf))])
		if m < 0 || m > len(s.buf)-s.end {
			m, err = 0, io.ErrNoProgress
		}
		if empty++; m > 0 {
			empty = 0
		}
		if empty == maxNoReads && err == nil {
			err = io.ErrNoProgress
		}
		s.end += m
		s.err = err
	}
	return nil
}

// room makes space for n bytes from pos.
func (s *source) room(n, limit int) error {
	if s.pos == s.end {
		s.base += int64(s.pos)
		s.pos, s.end = 0, 0
	}
	if s.pos+n <= len(s.buf) && s.end < len(s.buf) {
		return nil
	}
	to := s.buf
	switch {
	case s.buf == nil:
		to = make([]byte, readSize)
	case n > len(s.buf):
		size := 2*limit + readSize
		b, err := mem.NewPool(int64(size) + 1<<20).TryNewBlock(size)
		if err != nil {
			return err
		}
		s.big, to = b, b.Bytes()
	}
	left := copy(to, s.buf[s.pos:s.end])
	s.base += int64(s.pos)
	s.buf, s.pos, s.end = to, 0, left
	return nil
}
