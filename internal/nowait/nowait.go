// Package nowait writes to TCP connections what they take at once.
package nowait

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn writes to a connection without waiting, whatever its deadlines. It belongs
// to whom writes to the connection: two writes at a time get mixed.
type Conn struct {
	raw  syscall.RawConn
	call func(fd uintptr) // made once, so that a write allocates nothing
	bufs [][]byte
	n    int
	err  error
}

// New returns a Conn for c; nil if c is not TCP, or closed.
func New(c net.Conn) *Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	w := &Conn{raw: raw}
	w.call = w.write
	return w
}

// maxPieces is how many pieces one call of the kernel is given.
const maxPieces = 8

// Write sends what the connection takes now of bufs, one behind the other, and
// returns how many bytes that were; fewer than there are is no error. bufs is only
// read, and not kept.
func (w *Conn) Write(bufs [][]byte) (n int, err error) {
	for len(bufs) > 0 {
		part := bufs[:min(len(bufs), maxPieces)]
		bufs = bufs[len(part):]
		w.bufs, w.n, w.err = part, 0, nil
		err := w.raw.Control(w.call)
		w.bufs = nil
		n += w.n
		if err == nil {
			err = w.err
		}
		if err != nil || w.n < size(part) {
			return n, err
		}
	}
	return n, nil
}

// write is called with the connection's file descriptor, which does not block.
func (w *Conn) write(fd uintptr) {
	for {
		if len(w.bufs) == 1 {
			w.n, w.err = unix.Write(int(fd), w.bufs[0])
		} else {
			w.n, w.err = unix.Writev(int(fd), w.bufs)
		}
		w.n = max(0, w.n)
		switch w.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			w.err = nil
		}
		return
	}
}

// Rest appends to dst the pieces of bufs behind their first n bytes.
func Rest(dst, bufs [][]byte, n int) [][]byte {
	for _, b := range bufs {
		if n >= len(b) {
			n -= len(b)
			continue
		}
		dst = append(dst, b[n:])
		n = 0
	}
	return dst
}

func size(bufs [][]byte) int {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	return n
}
