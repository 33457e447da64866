package file

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/av"
)

// osFile reads a file into several buffers by one call.
type osFile struct{ *os.File }

var _ av.VectorReaderAt = (*osFile)(nil)

// ReadVAt implements av.VectorReaderAt by preadv(2).
func (f *osFile) ReadVAt(bufs [][]byte, off int64) (int, error) {
	total := 0
	for len(bufs) > 0 {
		n, err := unix.Preadv(int(f.Fd()), bufs[:min(len(bufs), 1024)], off+int64(total))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return total, fmt.Errorf("file: preadv at %d: %w", off+int64(total), err)
		}
		if n == 0 {
			return total, io.ErrUnexpectedEOF
		}
		total += n
		bufs = consume(bufs, n)
	}
	return total, nil
}

// consume returns what of bufs lies behind its first n bytes.
func consume(bufs [][]byte, n int) [][]byte {
	for n > 0 && n >= len(bufs[0]) {
		n -= len(bufs[0])
		bufs = bufs[1:]
	}
	if n > 0 {
		bufs[0] = bufs[0][n:]
	}
	return bufs
}

// fifo is a named pipe that was opened without waiting for a writer: its first read
// does, and Close ends that.
type fifo struct {
	*os.File
	begun bool
}

func (f *fifo) Read(b []byte) (int, error) {
	if !f.begun {
		c, err := f.SyscallConn()
		if err != nil {
			return 0, err
		}
		// Without a writer a read would say that the end is reached; poll says nothing
		// before there is something, or the first writer has gone.
		err = c.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil {
			return 0, err
		}
		f.begun = true
	}
	return f.File.Read(b)
}

// standardInput returns standard input, and where that is a pipe one whose Close ends
// a read that waits. The pipe is opened anew for it: who shares it might not bear a
// descriptor that does not block.
func standardInput() *os.File {
	if st, err := os.Stdin.Stat(); err != nil || st.Mode()&os.ModeNamedPipe == 0 {
		return os.Stdin
	}
	f, err := os.OpenFile("/dev/stdin", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil { // another user's
		return os.Stdin
	}
	return f
}

// interruptible reads until ctx is done: who closes r then need not be understood.
type interruptible struct {
	ctx context.Context // of the input
	r   io.Reader
}

func (r *interruptible) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	if err != nil && err != io.EOF && r.ctx.Err() != nil {
		err = r.ctx.Err()
	}
	return n, err
}

// spool makes a stream readable by position: what was read lies in a temporary
// file without a name, which the system removes with the process.
type spool struct {
	r   io.Reader
	f   *os.File
	n   int64 // bytes read of r
	err error // of r
	buf []byte
}

func newSpool(r io.Reader) (*spool, error) {
	f, err := os.CreateTemp("", "cleave-*")
	if err != nil {
		return nil, fmt.Errorf("file: this format needs a temporary file to be read from a stream: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &spool{r: r, f: f, buf: make([]byte, 256<<10)}, nil
}

// ReadAt implements io.ReaderAt; it reads on in the stream as far as needed.
func (s *spool) ReadAt(b []byte, off int64) (int, error) {
	for s.n < off+int64(len(b)) && s.err == nil {
		n, err := s.r.Read(s.buf)
		if n > 0 {
			if _, werr := s.f.WriteAt(s.buf[:n], s.n); werr != nil {
				s.err = fmt.Errorf("file: spool: %w", werr)
				break
			}
			s.n += int64(n)
		}
		s.err = err
	}
	n, err := s.f.ReadAt(b, off)
	if n < len(b) && s.err != nil {
		err = s.err
	}
	return n, err
}

// Close removes the temporary file.
func (s *spool) Close() error { return s.f.Close() }
