package srt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/datarhei/gosrt"

	"github.com/cleave-video/cleave/internal/pace"
)

// payload is what a data packet carries: seven packets of MPEG-TS.
const payload = 7 * 188

// ErrSlow says that the library's queue to a caller is full.
var ErrSlow = errors.New("srt: the caller takes no more")

// Reader is a caller that reads a stream. It belongs to the goroutine of Config.Read and
// is not to be used once that has returned.
type Reader struct {
	req  srt.ConnRequest
	name string
	conn srt.Conn // nil until Start
	sent int64

	buf  []byte // begun payload
	pace pace.Pacer
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
	return send(ctx)
}

// Write sends bufs, whole packets of MPEG-TS, one behind the other. It takes as long as
// pace.Rate allows: packets that a receiver's system loses would be sent again. SRT's
// live mode has no other back-pressure: what the network cannot carry in time is lost. The error is io.EOF when the caller is gone, ErrSlow, or the
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
	if err := r.pace.Wait(ctx, len(r.buf)); err != nil {
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
