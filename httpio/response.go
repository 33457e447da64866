// Package httpio writes HTTP responses whose body is made of pieces that others
// share and whose end is not known: it owns the framing, decides when what is given
// leaves, writes a batch by one call where the connection allows it, and lets no client
// hold anything for long.
package httpio

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/internal/nowait"
	"github.com/cleave-video/cleave/internal/tcpinfo"
)

// Options are how an answer is written. Only Route must be set.
type Options struct {
	Route *Route
	// Keep leaves the framing to net/http, also on HTTP/1.1, so that the connection serves
	// more requests: for bodies that end soon.
	Keep bool
	// Frames declares trailers of frames sent and skipped, which SetFrames tells.
	Frames bool
	// Timed gives each chunk of HTTP/1.1, unless Keep, an extension "given": when the
	// oldest byte in it was given, in microseconds of Unix time.
	Timed bool
}

// Response is the body of one answer. It belongs to one goroutine.
type Response struct {
	route    *Route
	w        http.ResponseWriter // nil: conn is ours
	r        *http.Request       // nil: conn is ours
	control  *http.ResponseController
	conn     net.Conn // HTTP/1: ours; nil: w is used
	plain    bool     // conn is TCP, which writes several buffers by one call
	chunked  bool     // conn is to be sent chunks
	timed    bool
	below    *Coalesced    // under the TLS of the connection; nil: there is none
	nowait   *nowait.Conn  // nil: TryWrite leaves everything that does not wait for more
	way      *tcpinfo.Conn // to the client; nil: not known
	late     net.Buffers   // given to TryWrite while the timer wrote; of who calls it, and Write
	trailers trailers
	timer    *time.Timer // of batches; made with the first
	aborted  atomic.Bool

	mu      sync.Mutex // guards what follows: the timer writes, too
	state   State
	err     error // of a write by the timer
	batch   []byte
	due     time.Time // when the batch leaves
	since   time.Time // when its oldest byte was given
	plan    plan
	watch   watch
	speed   progress
	bufs    net.Buffers
	spare   net.Buffers // the same array, which WriteTo does not consume
	rest    net.Buffers // what TryWrite has left, with its framing
	size    []byte
	joined  []byte
	counted int64 // bytes of batch, as the route knows them
}

// Start answers r with status 200 and the headers in w, and returns the body to be
// written. On HTTP/1 the connection is taken over, unless o.Keep: each Write, or batch, is
// one chunk (RFC 9112 7.1), on 1.0 it is sent as it is until the connection ends. A client
// that asks for it (Want-Content-Digest, RFC 9530 4) gets the digest of what was sent as a
// trailer. The caller must Close the Response, before its handler returns unless it is
// Detached.
func Start(w http.ResponseWriter, r *http.Request, o Options) (*Response, error) {
	p := &Response{route: o.Route, w: w, r: r, control: http.NewResponseController(w)}
	p.watch.looked = time.Now()
	if r.ProtoAtLeast(1, 1) {
		p.trailers = trailers{digest: wanted(r), frames: o.Frames}
		p.trailers.declare(w.Header())
	}
	if c := connOf(r.Context()); c != nil {
		p.way, p.below = tcpinfo.New(c), coalesced(c)
	}
	var err error
	if r.ProtoMajor != 1 || o.Keep {
		w.WriteHeader(http.StatusOK)
		if err = p.setDeadline(time.Now(), 0); err == nil {
			err = p.through(nil)
		}
		_ = p.control.SetWriteDeadline(time.Time{})
	} else {
		p.chunked, p.timed = r.ProtoAtLeast(1, 1), o.Timed
		err = p.takeOver()
	}
	if err != nil {
		return nil, err
	}
	p.route.states[Open].Add(1)
	return p, nil
}

// takeOver sends the headers on the connection, which is ours then.
func (p *Response) takeOver() error {
	h := p.w.Header()
	h.Set("Connection", "close")
	if p.chunked {
		h.Set("Transfer-Encoding", "chunked")
	}
	if h.Get("Date") == "" {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	conn, rw, err := p.control.Hijack()
	if err != nil {
		return err
	}
	p.conn, p.w, p.r, p.control = conn, nil, nil, nil // net/http's memory goes with the handler
	_, p.plain = conn.(*net.TCPConn)
	p.nowait, p.way, p.below = nowait.New(conn), tcpinfo.New(conn), coalesced(conn)
	_ = conn.SetDeadline(time.Now().Add(p.route.deadline)) // what fails there fails at the write, too
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
	if err == nil && p.below != nil {
		err = p.below.Hold()
	}
	if err != nil {
		conn.Close()
	}
	return err
}

// Detached reports whether the connection is the Response's own: then the handler
// may return before Close, which lets go of what net/http keeps for a request.
func (p *Response) Detached() bool { return p.conn != nil }

// SetFrames tells the trailers how many frames were sent, and how many were left out.
func (p *Response) SetFrames(sent, skipped int64) {
	p.trailers.sent, p.trailers.skipped = sent, skipped
}

// move follows an event, and counts. p.mu is held.
func (p *Response) move(e event) error {
	s, err := p.state.next(e)
	if s != p.state {
		p.route.states[p.state].Add(-1)
		p.route.states[s].Add(1)
		p.state = s
	}
	return err
}

// ready returns why nothing can be written. p.mu is held.
func (p *Response) ready() error {
	switch {
	case p.state == Closed:
		return ErrClosed
	case p.err == nil && p.aborted.Load():
		return os.ErrDeadlineExceeded
	}
	return p.err
}

// Write sends bufs, one behind the other, behind what TryWrite has left, or keeps a copy
// of them if they are to wait for more. Empty ones are left out, and if there is nothing,
// nothing is sent: an empty chunk would be the last (RFC 9112 7.1).
func (p *Response) Write(bufs [][]byte) error {
	if len(p.late) > 0 {
		p.late = append(p.late, bufs...)
		bufs = p.late
		defer func() {
			clear(p.late)
			p.late = p.late[:0]
		}()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.ready(); err != nil {
		return err
	}
	n := size(bufs)
	if n > 0 {
		p.look(n)
		p.give(bufs)
	}
	switch {
	case n == 0 && len(p.rest) == 0:
		return nil
	case len(p.rest) == 0 && p.fits(n):
		p.hold(bufs)
		return nil
	}
	return p.flush(bufs, p.cause())
}

// TryWrite is Write that does not wait. False: a part of bufs, or all, was left, and
// the pieces, but not the slice, stay valid until the next call, of Write, has
// returned. It may be called by another goroutine than Write, but not at the same
// time.
func (p *Response) TryWrite(bufs [][]byte) (whole bool, err error) {
	if !p.mu.TryLock() { // the timer writes
		p.late = append(p.late, bufs...)
		return false, nil
	}
	defer p.mu.Unlock()
	if err := p.ready(); err != nil {
		return false, err
	}
	n := size(bufs)
	if n == 0 {
		return true, nil
	}
	p.look(n)
	if p.fits(n) {
		p.give(bufs)
		p.hold(bufs)
		return true, nil
	}
	if p.nowait == nil {
		p.late = append(p.late, bufs...)
		return false, nil
	}
	p.give(bufs)
	return p.try(bufs)
}

// try writes what is there, with bufs behind it, as far as the connection takes it at
// once. p.mu is held.
func (p *Response) try(bufs [][]byte) (whole bool, err error) {
	cause, total := p.cause(), len(p.batch)+size(bufs)
	p.bufs = p.spare[:0]
	p.frame(bufs)
	p.spare = p.bufs
	n, err := p.nowait.Write(p.bufs)
	if p.rest = nowait.Rest(p.rest, p.bufs, n); len(p.rest) > 0 {
		p.size, p.batch = nil, nil // they may be there
	}
	clear(p.spare)
	p.bufs, p.batch = nil, p.batch[:0]
	p.account()
	p.route.writes[cause].Add(1)
	p.route.bytes.Add(int64(total))
	if p.err = err; len(p.rest) > 0 || err != nil {
		return false, err
	}
	return true, p.move(left)
}

// give counts bytes that are to be sent. p.mu is held, and the response not closed.
func (p *Response) give(bufs [][]byte) {
	_ = p.move(give)
	p.trailers.add(bufs)
	if p.timed && len(p.batch) == 0 {
		p.since = time.Now()
	}
}

// cause is why what is there leaves. p.mu is held.
func (p *Response) cause() Cause {
	if len(p.batch) > 0 {
		return BySize
	}
	return AtOnce
}

// frame appends the batch and bufs to p.bufs as one chunk.
func (p *Response) frame(bufs [][]byte) {
	n := len(p.batch) + size(bufs)
	if n == 0 {
		return
	}
	if p.chunked {
		p.size = strconv.AppendUint(p.size[:0], uint64(n), 16)
		if p.timed {
			p.size = strconv.AppendInt(append(p.size, ";given="...), p.since.UnixMicro(), 10)
		}
		p.size = append(p.size, crlf...)
		p.bufs = append(p.bufs, p.size)
	}
	if len(p.batch) > 0 {
		p.bufs = append(p.bufs, p.batch)
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

var crlf = []byte("\r\n")

func size(bufs [][]byte) int {
	n := 0
	for _, b := range bufs {
		n += len(b)
	}
	return n
}

// flush sends what is there, and bufs behind it, and waits until that is done. p.mu is
// held.
func (p *Response) flush(bufs [][]byte, cause Cause) error {
	total := len(p.batch) + size(bufs)
	n := total + size(p.rest)
	began := time.Now()
	err := p.setDeadline(began, n)
	if err == nil && p.conn != nil {
		p.bufs = append(p.spare[:0], p.rest...)
		p.frame(bufs)
		p.spare = p.bufs
		err = p.send()
	} else if err == nil {
		if err = p.through(bufs); err == nil {
			_ = p.control.SetWriteDeadline(time.Time{}) // on HTTP/2 it ends a stream that is quiet, too
		}
	}
	clear(p.rest)
	p.rest, p.batch = p.rest[:0], p.batch[:0]
	p.account()
	if p.err = err; err != nil {
		return err
	}
	p.speed.took(n, time.Since(began))
	p.route.writes[cause].Add(1)
	p.route.bytes.Add(int64(total))
	return p.move(left)
}

// setDeadline bounds the next write, of n bytes.
func (p *Response) setDeadline(now time.Time, n int) error {
	if err := p.until(now.Add(p.speed.deadline(n, p.route.deadline))); err != nil {
		return err
	}
	if p.aborted.Load() { // before it: Abort's own deadline was replaced
		return os.ErrDeadlineExceeded
	}
	return nil
}

// until sets the deadline for writing.
func (p *Response) until(at time.Time) error {
	if p.conn != nil {
		return p.conn.SetWriteDeadline(at)
	}
	if err := p.control.SetWriteDeadline(at); !errors.Is(err, http.ErrNotSupported) { // a writer of a test
		return err
	}
	return nil
}

// send writes p.bufs on the connection.
func (p *Response) send() error {
	var err error
	if p.plain {
		err = p.vector()
	} else { // a TLS record each would be what a call each gets
		_, err = p.conn.Write(p.join(p.bufs))
		if err == nil && p.below != nil {
			err = p.below.Flush()
		}
	}
	clear(p.spare) // pieces are not to be kept by a client that waits
	p.bufs = nil
	return err
}

// vector writes p.bufs by calls that take several. A client that takes some of it before
// the deadline is given another, as long as all of it comes at slowest bytes a second:
// TLS cannot go on behind a deadline.
func (p *Response) vector() error {
	began, total := time.Now(), size(p.bufs)
	for {
		n, err := p.bufs.WriteTo(p.conn)
		now := time.Now()
		if n == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || now.Sub(began) > p.route.deadline+time.Duration(total)*time.Second/slowest {
			return err
		}
		p.speed.took(int(n), now.Sub(began))
		if err := p.setDeadline(now, size(p.bufs)); err != nil {
			return err
		}
	}
}

// join copies bufs into one piece, valid until the next call.
func (p *Response) join(bufs [][]byte) []byte {
	out := p.joined[:0]
	for _, b := range bufs {
		out = append(out, b...)
	}
	if p.joined = out; cap(out) > maxBatch {
		p.joined = nil // a client that waits is not to keep so much
	}
	return out
}

// through writes the batch and bufs through the server's own framing: by one call, which
// makes one chunk of HTTP/1.1, unless that took a large copy.
func (p *Response) through(bufs [][]byte) error {
	pieces := bufs
	if len(p.batch) > 0 || len(bufs) > 1 {
		p.bufs = append(p.spare[:0], p.batch)
		pieces = append(p.bufs, bufs...)
		p.spare, p.bufs = pieces, nil
		defer func() { clear(p.spare) }()
		if size(pieces) <= maxBatch {
			pieces = [][]byte{p.join(pieces)}
		}
	}
	for _, b := range pieces {
		if len(b) == 0 {
			continue
		}
		if _, err := p.w.Write(b); err != nil {
			return err
		}
	}
	err := p.control.Flush()
	if errors.Is(err, http.ErrNotSupported) { // a writer of a test
		err = nil
	}
	if err == nil && p.below != nil {
		err = p.below.Flush()
	}
	return err
}

// Close ends the response. Only if whole the body is ended properly, with its trailers;
// otherwise the connection is cut, so that the client sees that something is missing.
// Idempotent.
func (p *Response) Close(whole bool) error {
	if !whole {
		p.Abort()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == Closed {
		return nil
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	err := p.err
	if whole && err == nil && len(p.batch)+len(p.rest) > 0 {
		err = p.flush(nil, AtEnd)
	}
	whole = whole && err == nil
	p.batch = nil
	p.account()
	_ = p.move(end)
	if whole {
		p.route.ended[1].Add(1)
	} else {
		p.route.ended[0].Add(1)
	}
	if p.conn != nil {
		return errors.Join(err, p.hangUp(whole))
	}
	if !whole {
		abort(p.r)
	}
	p.trailers.set(p.w.Header())
	return nil
}

// Abort has a write fail that is under way, and those to come. It may be called by any
// goroutine, before Close has returned.
func (p *Response) Abort() {
	p.aborted.Store(true)
	_ = p.until(time.Now())
}

// hangUp ends the connection; whole: behind the last chunk.
func (p *Response) hangUp(whole bool) error {
	if !whole {
		reset(p.conn)
		_ = p.conn.Close() // lets go of what lies above
		return nil
	}
	var err error
	if p.chunked {
		h := http.Header{}
		p.trailers.set(h)
		var last bytes.Buffer
		last.WriteString("0\r\n")
		_ = h.Write(&last) // to memory
		last.WriteString("\r\n")
		_ = p.conn.SetWriteDeadline(time.Now().Add(p.route.deadline))
		_, err = p.conn.Write(last.Bytes())
	}
	if p.below != nil && err == nil {
		err = p.below.Flush() // Close does not wait
	}
	return errors.Join(err, p.conn.Close())
}
