// Package httpio writes HTTP responses whose body is made of pieces that others
// share and whose end is not known: it owns the framing, writes a batch by one
// call where the connection allows it, and lets no client hold anything for long.
package httpio

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/cleave-video/cleave/internal/nowait"
)

// DefaultDeadline is how long a write may take before the client is given up.
const DefaultDeadline = 10 * time.Second

// ErrClosed is returned by Write after Close.
var ErrClosed = errors.New("httpio: response is closed")

// Response is the body of one answer. It belongs to one goroutine.
type Response struct {
	deadline time.Duration
	conn     net.Conn // HTTP/1: ours; nil: what follows is used
	w        http.ResponseWriter
	control  *http.ResponseController
	chunked  bool
	plain    bool // conn is TCP, which writes several buffers by one call
	bufs     net.Buffers
	spare    net.Buffers // the same array, which WriteTo does not consume
	size     []byte
	joined   []byte
	nowait   *nowait.Conn // nil: TryWrite leaves everything
	rest     net.Buffers  // what it has left, with its framing
	closed   bool
}

// Open answers r with status 200 and the headers in w, and returns the body to be
// written. On HTTP/1 the connection is taken over: each Write is one chunk (RFC
// 9112 7.1), on 1.0 it is sent as it is until the connection ends. On HTTP/2 each
// Write is flushed. A write that takes longer than deadline fails; 0 is
// DefaultDeadline. The caller must Close the Response, before its handler returns
// unless it is Detached.
func Open(w http.ResponseWriter, r *http.Request, deadline time.Duration) (*Response, error) {
	if deadline <= 0 {
		deadline = DefaultDeadline
	}
	p := &Response{deadline: deadline, w: w, control: http.NewResponseController(w)}
	if r.ProtoMajor != 1 {
		w.WriteHeader(http.StatusOK)
		return p, p.control.Flush()
	}
	p.chunked = r.ProtoAtLeast(1, 1)
	h := w.Header()
	h.Set("Connection", "close")
	if p.chunked {
		h.Set("Transfer-Encoding", "chunked")
	}
	if h.Get("Date") == "" {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	conn, rw, err := p.control.Hijack()
	if err != nil {
		return nil, err
	}
	p.conn, p.w, p.control = conn, nil, nil // net/http's memory goes with the handler
	_, p.plain = conn.(*net.TCPConn)
	p.nowait = nowait.New(conn)
	_ = conn.SetDeadline(time.Now().Add(deadline)) // what fails there fails at the write, too
	_, err = rw.WriteString("HTTP/1.1 200 OK\r\n")
	if err == nil {
		err = h.Write(rw)
	}
	if err == nil {
		_, err = rw.WriteString("\r\n")
	}
	if err == nil {
		err = rw.Flush()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

// Detached reports whether the connection is the Response's own: then the handler
// may return before Close, which lets go of what net/http keeps for a request.
func (p *Response) Detached() bool { return p.conn != nil }

// Write sends bufs, one behind the other, as one chunk, behind what TryWrite has
// left. They are only read. Empty ones are left out, and if there is nothing,
// nothing is sent: an empty chunk would be the last (RFC 9112 7.1).
func (p *Response) Write(bufs [][]byte) error {
	if p.closed {
		return ErrClosed
	}
	if p.conn == nil {
		err := p.flush(p.rest)
		clear(p.rest)
		p.rest = p.rest[:0]
		if err == nil && size(bufs) > 0 {
			err = p.flush(bufs)
		}
		return err
	}
	p.bufs = append(p.spare[:0], p.rest...)
	clear(p.rest)
	p.rest = p.rest[:0]
	p.frame(bufs)
	p.spare = p.bufs
	if len(p.bufs) == 0 {
		return nil
	}
	return p.send()
}

// TryWrite is Write that does not wait. False: a part of bufs, or all, was left, and
// the pieces, but not the slice, stay valid until the next call, of Write, has
// returned. It may be called by another goroutine than Write, but not at the same
// time.
func (p *Response) TryWrite(bufs [][]byte) (whole bool, err error) {
	if p.closed {
		return false, ErrClosed
	}
	if p.conn == nil {
		p.rest = append(p.rest, bufs...)
		return false, nil
	}
	p.bufs = p.spare[:0]
	p.frame(bufs)
	p.spare = p.bufs
	n := 0
	if p.nowait != nil {
		n, err = p.nowait.Write(p.bufs)
	}
	if p.rest = nowait.Rest(p.rest, p.bufs, n); len(p.rest) > 0 {
		p.size = nil // it may be there
	}
	clear(p.spare)
	p.bufs = nil
	return len(p.rest) == 0, err
}

// frame appends bufs to p.bufs as one chunk.
func (p *Response) frame(bufs [][]byte) {
	n := size(bufs)
	if n == 0 {
		return
	}
	if p.chunked {
		p.size = append(strconv.AppendUint(p.size[:0], uint64(n), 16), '\r', '\n')
		p.bufs = append(p.bufs, p.size)
	}
	for _, b := range bufs {
		if len(b) > 0 {
			p.bufs = append(p.bufs, b)
		}
	}
	if p.chunked {
		p.bufs = append(p.bufs, crlf)
	}
}

func size(bufs [][]byte) int {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

var crlf = []byte("\r\n")

// send writes p.bufs on the connection.
func (p *Response) send() error {
	if err := p.conn.SetWriteDeadline(time.Now().Add(p.deadline)); err != nil {
		return err
	}
	var err error
	if p.plain {
		_, err = p.bufs.WriteTo(p.conn)
	} else { // a TLS record each would be what a call each gets
		p.joined = p.joined[:0]
		for _, b := range p.bufs {
			p.joined = append(p.joined, b...)
		}
		_, err = p.conn.Write(p.joined)
	}
	clear(p.spare) // pieces are not to be kept by a client that waits
	p.bufs = nil
	return err
}

// flush writes bufs through the server's own framing.
func (p *Response) flush(bufs [][]byte) error {
	if len(bufs) == 0 {
		return nil
	}
	if err := p.control.SetWriteDeadline(time.Now().Add(p.deadline)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	for _, b := range bufs {
		if _, err := p.w.Write(b); err != nil {
			return err
		}
	}
	return p.control.Flush()
}

// Close ends the response. Only if whole the body is ended properly; otherwise the
// connection is cut, so that the client sees that something is missing. Idempotent.
func (p *Response) Close(whole bool) error {
	if p.closed {
		return nil
	}
	p.closed = true
	if p.conn == nil {
		if !whole {
			panic(http.ErrAbortHandler) // resets the stream of HTTP/2; net/http knows it
		}
		return nil
	}
	var err error
	if whole && p.chunked {
		_ = p.conn.SetWriteDeadline(time.Now().Add(p.deadline))
		_, err = io.WriteString(p.conn, "0\r\n\r\n")
	}
	if tcp, ok := p.conn.(*net.TCPConn); ok && !whole {
		_ = tcp.SetLinger(0) // a reset, so that HTTP/1.0 sees it, too
	}
	return errors.Join(err, p.conn.Close())
}
