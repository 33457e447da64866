package http

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/format/flv"
)

// leastBytes must come within the idle timeout: a byte now and then is no stream.
const leastBytes = 1 << 10

// body reads a request's body with a deadline for each read. Between reads nothing
// is waited for: who publishes a file is slowed, not cut off.
type body struct {
	r       io.Reader
	control interface{ SetReadDeadline(time.Time) error }
	idle    time.Duration // for leastBytes
	start   time.Duration // up to the first tracks
	n       atomic.Int64
	closed  atomic.Bool

	// Of the reader.
	begun  bool          // the tracks are known
	waited time.Duration // for the bytes that came since leastBytes were there
	came   int
	before time.Duration // waited before begun
}

// patience is how long the next read may take.
func (b *body) patience() time.Duration {
	p := b.idle - b.waited
	if !b.begun {
		p = min(p, b.start-b.before)
	}
	return p
}

// count notes what a read brought, and how long that took.
func (b *body) count(n int, took time.Duration) {
	b.n.Add(int64(n))
	b.before += took
	b.waited += took
	if b.came += n; b.came >= leastBytes {
		b.waited, b.came = 0, 0
	}
}

func (b *body) Read(p []byte) (int, error) {
	began, patience := time.Now(), b.patience()
	err := b.control.SetReadDeadline(began.Add(patience))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	if b.closed.Load() {
		return 0, fs.ErrClosed
	}
	n, err := b.r.Read(p)
	took := time.Since(began)
	b.count(n, took)
	// Any fault of a read ends the request's context, and that closes b: only
	// a deadline before its time is interrupt's.
	if errors.Is(err, os.ErrDeadlineExceeded) && took < patience {
		err = fs.ErrClosed
	}
	return n, err
}

// interrupt ends a read that waits.
func (b *body) interrupt() error {
	err := b.control.SetReadDeadline(time.Unix(1, 0))
	if errors.Is(err, http.ErrNotSupported) {
		return nil
	}
	return err
}

// wrapBits is the width of a container's timestamps.
func wrapBits(suffix string) int {
	switch suffix {
	case ".ts":
		return 33
	case ".flv":
		return flv.WrapBits
	}
	return 0
}
