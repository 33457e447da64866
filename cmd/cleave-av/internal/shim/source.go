//go:build libav

package shim

/*
#include <stdint.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"io"
	"runtime/cgo"
	"sync"
	"sync/atomic"
	"unsafe"
)

// whenceSize asks the seek callback for the size (AVSEEK_SIZE).
const whenceSize = 0x10000

// source is what libavformat reads through the callbacks.
type source struct {
	handle cgo.Handle
	dead   atomic.Bool // nothing is read any more

	r    io.Reader
	at   io.ReaderAt // not nil: read by position
	seek io.Seeker   // not nil: sought in
	size int64       // -1 unknown
	pos  int64       // with at

	mu  sync.Mutex // guards err
	err error      // of the reader, the first but io.EOF
}

func newSource(r io.Reader, size int64) *source {
	s := &source{r: r, size: size}
	if at, ok := r.(io.ReaderAt); ok && size >= 0 {
		s.at = at
	} else if seek, ok := r.(io.Seeker); ok {
		s.seek = seek
	}
	return s
}

func (s *source) seekable() bool { return s.at != nil || s.seek != nil }

// fail keeps the reader's error and returns what libavformat is to be told.
func (s *source) fail(err error) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	return int(C.cav_external)
}

// why returns the reader's error, if there is one, in place of libavformat's.
func (s *source) why(err error) error {
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	return err
}

// read is the read callback: the number of bytes, or an AVERROR.
func (s *source) read(p []byte) (n int) {
	defer func() {
		if v := recover(); v != nil {
			n = s.fail(fmt.Errorf("%w: %v", errPanic, v))
		}
	}()
	if s.dead.Load() {
		return int(C.cav_eof)
	}
	// An empty read is allowed, but not for ever (io.Reader).
	const maxEmpty = 100
	for range maxEmpty {
		n, err := s.readOnce(p)
		switch {
		case s.dead.Load():
			return int(C.cav_eof)
		case n < 0 || n > len(p):
			return s.fail(fmt.Errorf("shim: the reader returned %d of %d bytes", n, len(p)))
		case n > 0:
			return n // an error with it comes again
		case errors.Is(err, io.EOF):
			return int(C.cav_eof)
		case err != nil:
			return s.fail(err)
		}
	}
	return s.fail(io.ErrNoProgress)
}

func (s *source) readOnce(p []byte) (int, error) {
	if s.at == nil {
		return s.r.Read(p)
	}
	n, err := s.at.ReadAt(p, s.pos)
	if n > 0 && n <= len(p) {
		s.pos += int64(n)
	}
	return n, err
}

// move is the seek callback: the new position or the size, or an AVERROR.
func (s *source) move(offset int64, whence int) (pos int64) {
	defer func() {
		if v := recover(); v != nil {
			pos = int64(s.fail(fmt.Errorf("%w: %v", errPanic, v)))
		}
	}()
	switch {
	case s.dead.Load():
		return int64(C.cav_eof)
	case !s.seekable():
		return int64(C.cav_einval)
	case whence == whenceSize:
		if s.size < 0 {
			return int64(C.cav_einval)
		}
		return s.size
	case s.at != nil:
		return s.moveAt(offset, whence)
	}
	n, err := s.seek.Seek(offset, whence)
	if err != nil {
		return int64(C.cav_einval) // refused, which is no fault of the reader
	}
	return n
}

func (s *source) moveAt(offset int64, whence int) int64 {
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 || whence < io.SeekStart || whence > io.SeekEnd {
		return int64(C.cav_einval)
	}
	s.pos = offset
	return offset
}

func (s *source) close() error {
	if c, ok := s.r.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// sourceOf returns the source of a handle, nil if it is gone: a callback that
// comes too late finds nothing.
func sourceOf(h uintptr) (s *source) {
	defer func() {
		if recover() != nil {
			s = nil
		}
	}()
	s, _ = cgo.Handle(h).Value().(*source)
	return s
}

// onRead and onSeek are the callbacks without their C types.
func onRead(h uintptr, buf unsafe.Pointer, n int) int {
	s := sourceOf(h)
	if s == nil || buf == nil || n <= 0 {
		return int(C.cav_eof)
	}
	return s.read(unsafe.Slice((*byte)(buf), n))
}

func onSeek(h uintptr, offset int64, whence int) int64 {
	s := sourceOf(h)
	if s == nil {
		return int64(C.cav_eof)
	}
	return s.move(offset, whence)
}

//export cleaveRead
func cleaveRead(h C.uintptr_t, buf *C.uint8_t, n C.int) C.int {
	return C.int(onRead(uintptr(h), unsafe.Pointer(buf), int(n)))
}

//export cleaveSeek
func cleaveSeek(h C.uintptr_t, offset C.int64_t, whence C.int) C.int64_t {
	return C.int64_t(onSeek(uintptr(h), int64(offset), int(whence)))
}
