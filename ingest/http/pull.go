package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/httpio"
)

// Pulled is a stream that another server sends: MPEG-TS, FLV or fragmented MP4, as
// its first bytes say.
type Pulled struct {
	av.Demuxer
	in     *response
	format container
}

var (
	_ av.Demuxer  = (*Pulled)(nil)
	_ av.Progress = (*Pulled)(nil)
	_ av.Warner   = (*Pulled)(nil)
)

// Pull requests a stream by c, which decides what may be connected to. It returns
// once the stream has begun. ctx ends the stream too; its cause is ReadPacket's
// error then. idle is how long nothing may come: os.ErrDeadlineExceeded; 0:
// DefaultIdleTimeout.
func Pull(ctx context.Context, c *http.Client, u *url.URL, idle time.Duration) (*Pulled, error) {
	if idle <= 0 {
		idle = DefaultIdleTimeout
	}
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("http: %w", err)
	}
	res, err := c.Do(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		res.Body.Close()
		cancel(nil)
		return nil, fmt.Errorf("http: %w", &httpio.StatusError{URL: u.Redacted(), Code: res.StatusCode})
	}
	in := &response{ctx: ctx, cancel: cancel, r: res.Body, idle: idle}
	in.watch = time.AfterFunc(idle, func() { cancel(fmt.Errorf("http: nothing came for %v: %w", idle, os.ErrDeadlineExceeded)) })
	br := bufio.NewReaderSize(in, 4096)
	format, err := guess(br)
	if err != nil {
		in.Close()
		return nil, err
	}
	return &Pulled{Demuxer: format.open(br, DefaultMaxUnit), in: in, format: format}, nil
}

// WrapBits is the width of the timestamps; 0 where they do not wrap.
func (p *Pulled) WrapBits() int { return wrapBits(p.format.suffix) }

// Progress implements av.Progress; the total is unknown.
func (p *Pulled) Progress() (done, total int64) { return p.in.n.Load(), 0 }

// Warnings implements av.Warner.
func (p *Pulled) Warnings() []string {
	if w, ok := p.Demuxer.(av.Warner); ok {
		return w.Warnings()
	}
	return nil
}

// Close implements av.Demuxer.
func (p *Pulled) Close() error { return errors.Join(p.in.Close(), p.Demuxer.Close()) }

// response reads a body while something comes.
type response struct {
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	r      io.ReadCloser
	idle   time.Duration
	watch  *time.Timer // ends the request; runs while a read waits
	n      atomic.Int64
	once   sync.Once
	err    error
}

func (r *response) Read(b []byte) (int, error) {
	r.watch.Reset(r.idle)
	n, err := r.r.Read(b)
	r.watch.Stop()
	r.n.Add(int64(n))
	if err != nil && r.ctx.Err() != nil {
		err = context.Cause(r.ctx)
	}
	return n, err
}

// Close ends the request.
func (r *response) Close() error {
	r.once.Do(func() {
		r.cancel(fs.ErrClosed)
		r.watch.Stop()
		r.err = r.r.Close()
	})
	return r.err
}
