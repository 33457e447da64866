package libav

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cleave-video/cleave/format/libav/wire"
)

// input is what the worker reads, through this process or by a descriptor.
type input struct {
	r    io.Reader
	at   io.ReaderAt
	seek io.Seeker
	size int64 // -1 unknown
	file *os.File
	err  error // of r, the first but io.EOF
}

// newInput finds out how r can be read: a plain file is read by the worker itself.
func newInput(r any, size int64) *input {
	in := &input{size: size}
	in.r, _ = r.(io.Reader)
	if f, ok := r.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			in.file, in.at, in.size = f, f, st.Size()
			return in
		}
		return in // a pipe seeks no better for having the method
	}
	if at, ok := r.(io.ReaderAt); ok && size >= 0 {
		in.at = at
	} else if seek, ok := r.(io.Seeker); ok && in.r != nil {
		in.seek = seek
	}
	return in
}

func (in *input) describe(o *wire.Options) {
	o.Direct, o.At, o.Seekable, o.Size = in.file != nil, in.at != nil, in.at != nil || in.seek != nil, in.size
}

// answer does what the worker asks for: OpRead or OpSeek.
func (in *input) answer(m wire.Message, window []byte) wire.Message {
	if m.Op == wire.OpSeek {
		return in.move(m)
	}
	n, err := in.fill(window[:m.N], m.A)
	switch {
	case n > 0:
		return wire.Message{Op: wire.OpData, N: uint32(n)}
	case errors.Is(err, io.EOF):
		return wire.Message{Op: wire.OpData, B: wire.StatusEOF}
	}
	in.fail(err)
	return wire.Message{Op: wire.OpData, B: wire.StatusErr}
}

func (in *input) fail(err error) {
	if in.err == nil {
		in.err = err
	}
}

// fill reads at least one byte, or returns an error.
func (in *input) fill(p []byte, off int64) (n int, err error) {
	defer caught(&n, &err)
	const maxEmpty = 100
	for range maxEmpty {
		switch {
		case off >= 0 && in.at != nil:
			n, err = in.at.ReadAt(p, off)
		case off < 0 && in.r != nil:
			n, err = in.r.Read(p)
		default:
			return 0, fault("read", "%w", wire.ErrMessage)
		}
		if n < 0 || n > len(p) {
			return 0, fmt.Errorf("libav: the reader returned %d of %d bytes", n, len(p))
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

func (in *input) move(m wire.Message) (out wire.Message) {
	out = wire.Message{Op: wire.OpSeeked, B: wire.StatusErr}
	if in.seek == nil {
		return out
	}
	n, err := in.seekTo(m.A, int(m.N))
	if err == nil {
		out.A, out.B = n, wire.StatusOK
	}
	return out
}

func (in *input) seekTo(off int64, whence int) (n int64, err error) {
	var read int
	defer func() {
		if err != nil && errors.Is(err, errPanic) {
			in.fail(err)
		}
	}()
	defer caught(&read, &err)
	return in.seek.Seek(off, whence)
}

var errPanic = errors.New("libav: the reader panicked")

// caught turns a panic of the reader into its error: the demuxer ends, nothing else.
func caught(n *int, err *error) {
	if v := recover(); v != nil {
		*n, *err = 0, fmt.Errorf("%w: %v", errPanic, v)
	}
}

// close closes what is read.
func (in *input) close() error {
	if c, ok := in.r.(io.Closer); ok {
		return c.Close()
	}
	if c, ok := in.at.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
