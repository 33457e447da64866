package mp4

import (
	"io"

	"github.com/cleave-video/cleave/av"
)

// NewStream returns a demuxer of what r brings, as long as that can be read front to
// back: a fragmented file, or one whose moov stands before the media and whose
// tracks are interleaved. It keeps at most 24 MiB; a fragment may have 12.
func NewStream(r io.Reader) *Demuxer { return New(newWindow(r, windowSize), -1) }

// windowSize bounds a fragment, and what of a stream is kept in memory.
const windowSize = 12 << 20

// window makes the last part of a stream readable by position. A fragmented MP4 is
// read so: within a fragment in any order, from fragment to fragment forward.
type window struct {
	r    io.Reader
	max  int
	buf  []byte // the stream from base on
	base int64
	err  error // of r, sticky
}

func newWindow(r io.Reader, size int) *window { return &window{r: r, max: size} }

// readAhead is how much is read at a time.
const readAhead = 64 << 10

// ReadAt implements io.ReaderAt; it reads on in the stream as far as needed.
func (w *window) ReadAt(b []byte, off int64) (int, error) {
	if off-w.end() > int64(w.max) || len(b) > w.max {
		return 0, av.Errorf("mp4", off, "window", "%w: only fragmented MP4, or one whose moov stands before the media, can be read while it comes", av.ErrUnsupported)
	}
	for w.end() < off+int64(len(b)) && w.err == nil {
		w.fill()
	}
	if off < w.base {
		return 0, av.Errorf("mp4", off, "window", "%w: %d bytes back, at most %d", av.ErrTooLarge, w.end()-off, w.max)
	}
	n := 0
	if off < w.end() {
		n = copy(b, w.buf[off-w.base:])
	}
	if n < len(b) {
		return n, w.err
	}
	return n, nil
}

func (w *window) end() int64 { return w.base + int64(len(w.buf)) }

// fill reads once. Memory grows with what was received, to twice the window: then
// the older half is dropped.
func (w *window) fill() {
	if len(w.buf)+readAhead > cap(w.buf) {
		keep := w.buf
		if len(keep) > w.max {
			keep = keep[len(keep)-w.max:]
		}
		grown := w.buf[:0]
		if want := min(max(2*len(keep), 4*readAhead), 2*w.max+readAhead); want > cap(w.buf) {
			grown = make([]byte, 0, want)
		}
		w.base += int64(len(w.buf) - len(keep))
		w.buf = append(grown, keep...)
	}
	n, err := w.r.Read(w.buf[len(w.buf):min(len(w.buf)+readAhead, cap(w.buf))])
	w.buf = w.buf[:len(w.buf)+max(n, 0)]
	w.err = err
}
