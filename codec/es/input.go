// Package es reads elementary streams: coded media without a container. Input
// reads bytes; Audio finds the frames of audio whose frames say how long they are.
package es

import (
	"io"
	"io/fs"
	"sync/atomic"
)

const (
	readSize   = 64 << 10 // the first buffer
	minRead    = 4 << 10  // space offered to a reader
	maxNoReads = 100      // empty reads in a row
)

// Input reads an io.Reader ahead. The zero value is not usable. Not safe for
// concurrent use except Close and Progress.
type Input struct {
	r        io.Reader
	buf      []byte
	pos, end int
	base     int64 // input offset of buf[0]
	err      error // sticky
	done     atomic.Int64
	closed   atomic.Bool
}

// NewInput returns an Input that reads r. Close closes r if it is an io.Closer.
func NewInput(r io.Reader) *Input { return &Input{r: r} }

// Bytes returns what was read and not skipped, valid until the next Fill.
func (in *Input) Bytes() []byte { return in.buf[in.pos:in.end] }

// Offset is the place in the input of the first of Bytes.
func (in *Input) Offset() int64 { return in.base + int64(in.pos) }

// Skip drops the first n of Bytes.
func (in *Input) Skip(n int) {
	in.pos += n
	in.done.Store(in.Offset())
}

// Discard drops n bytes, read already or not. It returns the reader's error if
// they are not there.
func (in *Input) Discard(n int64) error {
	for {
		have := int64(in.end - in.pos)
		if n <= have {
			in.Skip(int(n))
			return nil
		}
		in.Skip(int(have))
		n -= have
		if err := in.Fill(); err != nil {
			return err
		}
	}
}

// Fill reads once and makes Bytes longer. The buffer grows as long as nothing is
// skipped: the caller bounds that. It returns an error only if no byte came:
// fs.ErrClosed after Close, else the reader's.
func (in *Input) Fill() error {
	if in.err == nil && in.closed.Load() {
		in.err = fs.ErrClosed
	}
	if in.err != nil {
		return in.err
	}
	in.room()
	for range maxNoReads {
		n, err := in.r.Read(in.buf[in.end:])
		if n < 0 || n > len(in.buf)-in.end {
			n, err = 0, io.ErrNoProgress
		}
		if in.closed.Load() {
			n, err = 0, fs.ErrClosed
		}
		in.end += n
		in.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	in.err = io.ErrNoProgress
	return in.err
}

// room makes space behind end: moving what is left costs less than reading it
// did, as long as it is the smaller half.
func (in *Input) room() {
	if len(in.buf)-in.end >= minRead && in.pos < in.end {
		return
	}
	left := in.end - in.pos
	to := in.buf
	if left > len(in.buf)/2 || len(in.buf) == 0 {
		to = make([]byte, max(readSize, 2*len(in.buf)))
	}
	copy(to, in.buf[in.pos:in.end])
	in.base += int64(in.pos)
	in.buf, in.pos, in.end = to, 0, left
}

// Close makes Fill fail and closes the reader. It is idempotent.
func (in *Input) Close() error {
	if in.closed.Swap(true) {
		return nil
	}
	if c, ok := in.r.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// Closed reports whether Close was called.
func (in *Input) Closed() bool { return in.closed.Load() }

// Progress returns the bytes consumed; the total is unknown. Safe for concurrent
// use.
func (in *Input) Progress() (done, total int64) { return in.done.Load(), 0 }
