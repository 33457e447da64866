package srt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/datarhei/gosrt"
)

const (
	// payload is what a data packet carries: seven packets of MPEG-TS.
	payload = 7 * 188
	// A stream that begins with a whole GOP is sent at most so fast, after a burst that
	// buffers of the receiver's system take: packets that they lost would be sent again.
	paceBytes = 100e6 / 8 // a second
	paceBurst = 256 << 10
)

// ErrSlow says that the library's queue to a caller is full.
var ErrSlow = errors.New("srt: the caller takes no more")

// Reader is a caller that reads a stream. It belongs to the goroutine of Config.Read and
// is not to be used once that has returned.
type Reader struct {
	s    *Server
	req  srt.ConnRequest
	name string
	conn srt.Conn // nil until Start
	sent int64

	buf   []byte  // begun payload
	spare float64 // bytes that may be sent at once
	since time.Time
}

// Name is the name that the stream id says; it is not checked.
func (r *Reader) Name() string { return r.name }

// RemoteAddr is the caller's address.
func (r *Reader) RemoteAddr() net.Addr { return r.req.RemoteAddr() }

// Start lets the caller in, calls send, and closes the connection when that returns. The
// context that send gets ends with ctx, and with io.EOF as its cause when the caller goes,
// or is not heard of for two seconds. It returns send's error.
func (r *Reader) Start(ctx context.Context, send func(ctx context.Context) error) error {
	conn, err := r.req.Accept()
	if err != nil {
		return fmt.Errorf("srt: %w", err)
	}
	r.conn = conn
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	defer group.Wait()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	group.Go(func() {
		// What the caller says is thrown away.
		_, _ = io.Copy(io.Discard, conn)
		cancel(io.EOF)
	})
	r.spare, r.since = paceBurst, time.Now()
	return send(ctx)
}

// Write sends bufs, whole packets of MPEG-TS, one behind the other. It takes as long as
// paceBytes allow; SRT's live mode has no other back-pressure: what the network cannot
// carry in time is lost. The error is io.EOF when the caller is gone, ErrSlow, or the
// cause of ctx, with which Start has called.
func (r *Reader) Write(ctx context.Context, bufs [][]byte) error {
	for _, b := range bufs {
		for len(b) > 0 {
			n := min(len(b), payload-len(r.buf))
			r.buf = append(r.buf, b[:n]...)
			b = b[n:]
			if len(r.buf) == payload {
				if err := r.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	return r.flush(ctx)
}

// flush sends the begun payload.
func (r *Reader) flush(ctx context.Context) error {
	if len(r.buf) == 0 {
		return nil
	}
	if err := r.pace(ctx, len(r.buf)); err != nil {
		return err
	}
	_, err := r.conn.Write(r.buf)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, io.EOF):
		return ErrSlow
	case err != nil:
		return fmt.Errorf("srt: %w", err)
	}
	r.sent += int64(len(r.buf))
	r.buf = r.buf[:0]
	return nil
}

// pace waits until n bytes may be sent.
func (r *Reader) pace(ctx context.Context, n int) error {
	if r.spare -= float64(n); r.spare >= 0 {
		return nil
	}
	now := time.Now()
	r.spare = min(r.spare+now.Sub(r.since).Seconds()*paceBytes, paceBurst)
	r.since = now
	if r.spare >= 0 {
		return nil
	}
	timer := time.NewTimer(time.Duration(-r.spare/paceBytes*float64(time.Second)) + paceRest)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// paceRest is added to a wait, so that there are not many short ones.
const paceRest = 5 * time.Millisecond
