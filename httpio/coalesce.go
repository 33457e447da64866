package httpio

import (
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/internal/nowait"
)

const (
	// linger is how long what was written waits for more at most.
	linger = 2 * time.Millisecond
	// recordSpace is the longest record of TLS with its header, and some more.
	recordSpace = 17 << 10
)

// Coalescing has connections that lie below TLS write several records by one system
// call: crypto/tls makes one for each record, of 1.4 kB in the beginning, so that the
// first bytes can be decrypted with the first packet, and of 16 KiB at most. It is safe
// for concurrent use.
type Coalescing struct {
	Size int // bytes that wait at most; 0: 64 KiB. Not to be changed once there are connections

	pool    sync.Pool // of *[]byte, so that a connection that is quiet keeps none
	records atomic.Int64
	writes  atomic.Int64
	bytes   atomic.Int64
}

// CoalescingStats is what a Coalescing has counted.
type CoalescingStats struct{ Records, Writes, Bytes int64 } // given by TLS; and written to sockets

// Stats returns what was counted.
func (c *Coalescing) Stats() CoalescingStats {
	return CoalescingStats{c.records.Load(), c.writes.Load(), c.bytes.Load()}
}

// Listener returns l with connections that coalesce. TLS is to lie above it.
func (c *Coalescing) Listener(l net.Listener) net.Listener { return &coalescingListener{l, c} }

type coalescingListener struct {
	net.Listener
	c *Coalescing
}

// Accept implements net.Listener.
func (l *coalescingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.c.Conn(conn), nil
}

// Conn returns conn as one that coalesces.
func (c *Coalescing) Conn(conn net.Conn) *Coalesced {
	return &Coalesced{Conn: conn, c: c, nowait: nowait.New(conn)}
}

// Coalesced is a connection whose writes wait for each other, until there are 64 KiB;
// for 2 ms; until Flush; or until the other side is to be heard: who reads, and who moves
// the deadline for reading, as net/http does behind an answer, has said what there was to
// say. The first write behind a pause leaves at once, unless Hold was called. While a
// write to the socket waits, those who write wait, too. What fails is told to the next
// call.
type Coalesced struct {
	net.Conn
	c      *Coalescing
	nowait *nowait.Conn // nil: not TCP
	timer  *time.Timer  // made with the first write that waits; guarded by mu

	mu   sync.Mutex // guards what follows, and is held while the socket is written to
	buf  *[]byte    // nil: nothing waits
	due  time.Time  // when it leaves
	last time.Time  // when something left
	held bool
	err  error
}

// NetConn returns the connection below.
func (c *Coalesced) NetConn() net.Conn { return c.Conn }

// Hold has also the first write behind a pause wait: for who calls Flush.
func (c *Coalesced) Hold() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
	return c.flush()
}

// Write implements net.Conn.
func (c *Coalesced) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.c.records.Add(1)
	now := time.Now()
	if c.buf == nil && (len(b) >= c.most() || !c.held && now.Sub(c.last) >= linger) {
		return c.write(b)
	}
	c.keep(b, now)
	if len(*c.buf) < c.most() {
		return len(b), nil
	}
	if err := c.flush(); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *Coalesced) most() int {
	if c.c.Size > 0 {
		return c.c.Size
	}
	return maxBatch
}

// keep has b wait. mu is held.
func (c *Coalesced) keep(b []byte, now time.Time) {
	if c.buf == nil {
		c.buf, _ = c.c.pool.Get().(*[]byte)
		if c.buf == nil {
			fresh := make([]byte, 0, c.most()+recordSpace)
			c.buf = &fresh
		}
		c.due = now.Add(linger)
		if c.timer == nil {
			c.timer = time.AfterFunc(linger, c.expire)
		} else {
			c.timer.Reset(linger)
		}
	}
	*c.buf = append(*c.buf, b...)
}

// write writes to the socket. mu is held.
func (c *Coalesced) write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.wrote(n, err)
	return n, err
}

// wrote counts a write to the socket. mu is held.
func (c *Coalesced) wrote(n int, err error) {
	c.err = err
	c.last = time.Now()
	c.c.writes.Add(1)
	c.c.bytes.Add(int64(n))
}

// Flush writes what waits.
func (c *Coalesced) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flush()
}

// flush writes what waits. mu is held.
func (c *Coalesced) flush() error {
	if c.buf == nil || c.err != nil {
		return c.err
	}
	_, _ = c.write(*c.buf) // it is in c.err
	c.release()
	return c.err
}

// release gives the memory back. mu is held.
func (c *Coalesced) release() {
	c.timer.Stop()
	*c.buf = (*c.buf)[:0]
	c.c.pool.Put(c.buf)
	c.buf = nil
}

// offer writes of what waits what the socket takes at once, unless somebody writes. The
// timer sees to the rest.
func (c *Coalesced) offer() {
	if !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	switch {
	case c.buf == nil || c.err != nil:
		return
	case c.nowait == nil:
		_ = c.flush() // it is in c.err
		return
	}
	n, err := c.nowait.Write([][]byte{*c.buf})
	c.wrote(n, err)
	if n == len(*c.buf) || err != nil {
		c.release()
		return
	}
	*c.buf = (*c.buf)[:copy(*c.buf, (*c.buf)[n:])]
}

// expire writes what has waited long enough.
func (c *Coalesced) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buf == nil {
		return
	}
	if wait := time.Until(c.due); wait > 0 { // others than it was set for
		c.timer.Reset(wait)
		return
	}
	_ = c.flush() // it is in c.err
}

// Read implements net.Conn.
func (c *Coalesced) Read(b []byte) (int, error) {
	c.offer()
	return c.Conn.Read(b)
}

// SetReadDeadline implements net.Conn. It writes what waits: net/http calls it behind an
// answer, before it may close the connection.
func (c *Coalesced) SetReadDeadline(t time.Time) error {
	_ = c.Flush() // it is in c.err
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn. What waits is written under the deadline that it
// was given, before there is none any more; before one that has passed, as it does behind
// the last alert of TLS, only as far as that needs no waiting.
func (c *Coalesced) SetWriteDeadline(t time.Time) error {
	switch {
	case t.IsZero():
		_ = c.Flush() // it is in c.err
	case !t.After(time.Now()):
		c.offer()
	}
	return c.Conn.SetWriteDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *Coalesced) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.Conn.SetReadDeadline(t)
}

// Close implements net.Conn. What waits is written as far as that needs no waiting.
func (c *Coalesced) Close() error {
	c.offer()
	err := c.Conn.Close()
	if c.mu.TryLock() {
		if c.buf != nil {
			c.release()
		}
		if c.err == nil {
			c.err = net.ErrClosed
		}
		c.mu.Unlock()
	}
	return err
}
