package rtmp

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv/amf0"
)

const eventSetBuffer = 3 // RTMP 7.1.7

// PullConfig says how to pull. The zero value of each field is the default named.
type PullConfig struct {
	// Dial connects; nil: a net.Dialer does.
	Dial        func(ctx context.Context, network, address string) (net.Conn, error)
	TLS         *tls.Config   // of rtmps; nil: the system's
	IdleTimeout time.Duration // without any byte; 0: DefaultIdleTimeout
	MaxUnit     int           // bytes of a video message; 0: DefaultMaxUnit
}

// Pulled is a stream that another server plays. It belongs to one goroutine, except
// Close and Progress. Its packets are those of flv.Tags.
type Pulled struct {
	p    *Publisher // which reads what a server sends as it reads what a client does
	stop func() bool
	once sync.Once
	err  error // of Close

	mu     sync.Mutex // held while ReadPacket reads; guards closed
	closed bool       // what is read lies in memory that was given back
}

var (
	_ av.Demuxer  = (*Pulled)(nil)
	_ av.Progress = (*Pulled)(nil)
	_ av.Warner   = (*Pulled)(nil)
)

// Pull begins to play an address such as rtmp://host:1935/app/key?query, or rtmps.
// It returns once the server has agreed. ctx ends the stream too. The caller must
// Close it. The error is a *Refused if the server turned the request away.
func Pull(ctx context.Context, address string, pc PullConfig) (*Pulled, error) {
	t, err := parseTarget(address)
	if err != nil {
		return nil, err
	}
	if pc.Dial == nil {
		pc.Dial = new(net.Dialer).DialContext
	}
	conn, err := t.dial(ctx, pc.Dial, pc.TLS)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: &timedConn{Conn: conn, idle: orDefault(pc.IdleTimeout, DefaultIdleTimeout)}, key: t.key, ctx: ctx}
	c.s = newSession(c.conn, c.conn, orDefault(pc.MaxUnit, DefaultMaxUnit))
	d := &Pulled{stop: context.AfterFunc(ctx, func() { conn.Close() })}
	if err := c.play(t); err != nil {
		d.stop()
		conn.Close()
		c.s.in.close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	d.p = &Publisher{s: c.s, ctx: ctx, closer: conn, remote: conn.RemoteAddr(), started: true}
	d.p.commands = d.command
	return d, nil
}

// play does the handshake and the commands. RTMP 7.2.2.1
func (c *Client) play(t target) error {
	if err := c.conn.until(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	if err := dialHandshake(c.conn); err != nil {
		return err
	}
	if err := c.connect(t); err != nil {
		return err
	}
	if err := c.createStream(2); err != nil {
		return err
	}
	c.s.published = c.stream
	b := binary.BigEndian.AppendUint16(nil, eventSetBuffer)
	b = binary.BigEndian.AppendUint32(b, c.stream)
	c.s.out.append(controlID, typeUserControl, 0, 0, binary.BigEndian.AppendUint32(b, 1000), nil)
	b = amf0.AppendNumber(amf0.AppendString(nil, "play"), 3)
	b = amf0.AppendNumber(amf0.AppendString(amf0.AppendNull(b), c.key), -2000)
	c.s.out.append(statusID, typeCommandAMF0, c.stream, 0, b, nil)
	if _, err := c.await("onStatus", 0); err != nil {
		return err
	}
	return c.conn.until(time.Time{})
}

// command reads what the server says while it plays.
func (d *Pulled) command(m message) error {
	r := amf0.NewReader(amfBody(m))
	name := string(r.Bytes())
	r.Skip()
	if r.Err() != nil {
		return d.p.s.badCommand(&r)
	}
	if name != "onStatus" {
		return nil
	}
	if no := refusal(r); no != nil {
		return no
	}
	switch statusCode(r) {
	case "NetStream.Play.UnpublishNotify", "NetStream.Play.Stop", "NetStream.Play.Complete":
		return errEnded
	}
	return nil
}

// statusCode reads the code of an information object.
func statusCode(r amf0.Reader) string {
	r.Skip()
	if !r.Enter() {
		return ""
	}
	for {
		key, ok := r.Key()
		if !ok {
			return ""
		}
		if string(key) == "code" && r.Peek() == amf0.String {
			return r.String()
		}
		r.Skip()
	}
}

// Tracks implements av.Demuxer.
func (d *Pulled) Tracks() []av.Track { return d.p.Tracks() }

// WrapBits is the width of the timestamps.
func (d *Pulled) WrapBits() int { return d.p.WrapBits() }

// Progress implements av.Progress; the total is unknown.
func (d *Pulled) Progress() (done, total int64) { return d.p.Progress() }

// Warnings implements av.Warner.
func (d *Pulled) Warnings() []string { return d.p.Warnings() }

// ReadPacket implements av.Demuxer. io.EOF means that the server has ended the
// stream or the connection. Other errors are those of Publisher, and a *Refused.
func (d *Pulled) ReadPacket(a av.Allocator) (av.Packet, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return av.Packet{}, fs.ErrClosed
	}
	return d.p.ReadPacket(a)
}

// Close implements av.Demuxer: it closes the connection, and waits for ReadPacket.
func (d *Pulled) Close() error {
	d.once.Do(func() {
		d.stop()
		if err := d.p.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // ctx may have closed it
			d.err = fmt.Errorf("rtmp: %w", err)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.closed = true
		d.p.s.in.close()
	})
	return d.err
}
