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

// body reads a request's body with a deadline for each read. Between reads nothing
// is waited for: who publishes a file is slowed, not cut off.
type body struct {
	r       io.Reader
	control *http.ResponseController
	idle    time.Duration
	n       atomic.Int64
	closed  atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	began := time.Now()
	err := b.control.SetReadDeadline(began.Add(b.idle))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	if b.closed.Load() {
		return 0, fs.ErrClosed
	}
	n, err := b.r.Read(p)
	b.n.Add(int64(n))
	// Any fault of a read ends the request's context, and that closes b: only
	// a deadline before its time is interrupt's.
	if errors.Is(err, os.ErrDeadlineExceeded) && time.Since(began) < b.idle {
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
