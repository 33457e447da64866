//go:build libav

package main

import (
	"errors"
	"io"
	"syscall"

	"github.com/cleave-video/cleave/format/libav/wire"
)

// errReader stands for the error that the parent keeps.
var errReader = errors.New("the reader failed")

// tickBytes is how much is read between two signs of life.
const tickBytes = 4 << 20

// reader returns what libavformat reads: from the start.
func (w *worker) reader() io.Reader {
	switch o := w.options; {
	case o.Direct:
		return direct{w}
	case o.At && o.Seekable:
		return byPosition{w}
	case o.Seekable:
		return seeking{w}
	}
	return asking{w}
}

// count counts what was read, and tells the parent now and then.
func (w *worker) count(n int) error {
	w.read += int64(n)
	if w.read-w.told < tickBytes {
		return nil
	}
	w.told = w.read
	return w.send(wire.Message{Op: wire.OpTick, A: w.read})
}

// direct reads the descriptor that the parent gave. Its offset is the parent's: it
// is read by position only.
type direct struct{ w *worker }

func (d direct) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func (d direct) ReadAt(p []byte, off int64) (int, error) {
	for {
		n, err := syscall.Pread(wire.InputFD, p, off)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			return n, d.w.count(n)
		}
	}
}

// ask asks the parent for bytes at off, or for those that follow if off is -1.
func (w *worker) ask(p []byte, off int64) (int, error) {
	want := min(len(p), wire.WindowSize)
	if err := w.send(wire.Message{Op: wire.OpRead, N: uint32(want), A: off}); err != nil {
		return 0, err
	}
	m, err := w.answer()
	switch {
	case err != nil:
		return 0, err
	case m.Op != wire.OpData || int(m.N) > want:
		return 0, wire.ErrMessage
	case m.B == wire.StatusEOF:
		return 0, io.EOF
	case m.B != wire.StatusOK:
		return 0, errReader
	}
	n := copy(p, w.mem[wire.WindowOff:wire.WindowOff+int(m.N)])
	w.read += int64(n)
	return n, nil
}

// asking reads what the parent reads, front to back.
type asking struct{ w *worker }

func (a asking) Read(p []byte) (int, error) { return a.w.ask(p, -1) }

// byPosition reads what the parent reads by position.
type byPosition struct{ w *worker }

func (b byPosition) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

func (b byPosition) ReadAt(p []byte, off int64) (int, error) { return b.w.ask(p, off) }

// seeking reads and seeks as the parent does.
type seeking struct{ w *worker }

func (s seeking) Read(p []byte) (int, error) { return s.w.ask(p, -1) }

func (s seeking) Seek(offset int64, whence int) (int64, error) {
	w := s.w
	if err := w.send(wire.Message{Op: wire.OpSeek, N: uint32(whence), A: offset}); err != nil {
		return 0, err
	}
	m, err := w.answer()
	switch {
	case err != nil:
		return 0, err
	case m.Op != wire.OpSeeked:
		return 0, wire.ErrMessage
	case m.B != wire.StatusOK:
		return 0, errReader
	}
	return m.A, nil
}
