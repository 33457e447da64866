package mem

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"slices"
	"sort"
	"sync/atomic"
)

// Reader reads pieces of memory as if they lay one behind the other. What it can write
// itself it does not copy.
//
// Read, Seek, WriteTo and CopyTo move one position and belong to one goroutine; ReadAt
// and Close may be called from any, at any time. The memory is let go of when Close was
// called and no call is under way any more: whoever still reads then sees what was
// there, and whoever comes later fs.ErrClosed.
type Reader struct {
	list    [][]byte
	at      []int64 // where each begins
	size    int64
	off     int64
	refs    atomic.Int64 // calls under way, and 1 until Close
	closed  atomic.Bool
	release func()
}

var (
	_ io.ReadSeekCloser = (*Reader)(nil)
	_ io.ReaderAt       = (*Reader)(nil)
	_ io.WriterTo       = (*Reader)(nil)
)

// NewReader returns a Reader of pieces, which are not changed, nor is the list. release,
// if not nil, is called once, by the last to read, when nothing of them is used any more.
func NewReader(pieces [][]byte, release func()) *Reader {
	r := &Reader{release: release}
	for _, b := range pieces {
		if len(b) > 0 {
			r.list, r.at = append(r.list, b), append(r.at, r.size)
			r.size += int64(len(b))
		}
	}
	r.refs.Store(1)
	return r
}

// NewBlockReader returns a Reader of blocks, whose references it takes over.
func NewBlockReader(blocks []*Block) *Reader {
	pieces := make([][]byte, len(blocks))
	for i, k := range blocks {
		pieces[i] = k.Bytes()
	}
	return NewReader(pieces, func() {
		for _, k := range blocks {
			k.Release()
		}
	})
}

// Size returns how many bytes there are.
func (r *Reader) Size() int64 { return r.size }

// pin keeps the memory until unpin.
func (r *Reader) pin() error {
	for !r.closed.Load() {
		n := r.refs.Load()
		if n <= 0 {
			break
		}
		if r.refs.CompareAndSwap(n, n+1) {
			return nil
		}
	}
	return fs.ErrClosed
}

func (r *Reader) unpin() {
	if r.refs.Add(-1) == 0 && r.release != nil {
		r.release()
	}
}

// Close lets go of the memory as soon as nobody reads it. It does not wait. Idempotent.
func (r *Reader) Close() error {
	if !r.closed.Swap(true) {
		r.unpin()
	}
	return nil
}

// piece returns the number of the one that off, less than size, is in.
func (r *Reader) piece(off int64) int {
	return sort.Search(len(r.at), func(i int) bool { return r.at[i] > off }) - 1
}

// copyAt copies what there is from off on.
func (r *Reader) copyAt(b []byte, off int64) (n int) {
	if off >= r.size {
		return 0
	}
	i := r.piece(off)
	for skip := off - r.at[i]; n < len(b) && i < len(r.list); i, skip = i+1, 0 {
		n += copy(b[n:], r.list[i][skip:])
	}
	return n
}

// Read implements io.Reader. It fills b if there is as much, and never returns bytes
// together with an error.
func (r *Reader) Read(b []byte) (int, error) {
	if err := r.pin(); err != nil {
		return 0, err
	}
	defer r.unpin()
	if len(b) == 0 {
		return 0, nil
	}
	n := r.copyAt(b, r.off)
	if n == 0 {
		return 0, io.EOF
	}
	r.off += int64(n)
	return n, nil
}

var (
	errOffset = errors.New("mem: a negative offset")
	errWhence = errors.New("mem: whence is none")
)

// ReadAt implements io.ReaderAt.
func (r *Reader) ReadAt(b []byte, off int64) (int, error) {
	if err := r.pin(); err != nil {
		return 0, err
	}
	defer r.unpin()
	if off < 0 {
		return 0, errOffset
	}
	n := r.copyAt(b, off)
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Seek implements io.Seeker. Behind the end there is nothing to read.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	if r.closed.Load() {
		return 0, fs.ErrClosed
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += r.size
	default:
		return 0, errWhence
	}
	if offset < 0 {
		return 0, errOffset
	}
	r.off = offset
	return offset, nil
}

// WriteTo implements io.WriterTo.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	return r.CopyTo(w, max(r.size-r.off, 0))
}

// CopyTo writes n bytes, or as many as there are, from where Read would read. w gets
// the pieces themselves; if it is a TCP connection, by as few calls as can be.
func (r *Reader) CopyTo(w io.Writer, n int64) (written int64, err error) {
	if err := r.pin(); err != nil {
		return 0, err
	}
	defer r.unpin()
	bufs := r.section(n)
	if tcp, ok := w.(*net.TCPConn); ok {
		written, err = bufs.WriteTo(tcp)
		r.off += written
		return written, err
	}
	for _, b := range bufs {
		k, err := w.Write(b)
		if k < 0 || k > len(b) {
			panic("mem: a Writer that says it wrote what it did not get")
		}
		written += int64(k)
		r.off += int64(k)
		if err == nil && k < len(b) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// section returns the pieces of n bytes, at most, from the position on.
func (r *Reader) section(n int64) net.Buffers {
	n = min(n, r.size-r.off)
	if n <= 0 {
		return nil
	}
	first, last := r.piece(r.off), r.piece(r.off+n-1)
	bufs := slices.Clone(r.list[first : last+1])
	end := len(bufs) - 1
	bufs[end] = bufs[end][:r.off+n-r.at[last]]
	bufs[0] = bufs[0][r.off-r.at[first]:]
	return bufs
}
