package rtmp

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/format/flv/amf0"
)

// Publisher is one stream that a client publishes. It belongs to the goroutine of
// Config.Publish, except Close and Progress, and is not to be used once that has
// returned. Its packets are those of flv.Tags: milliseconds of 32 bits.
type Publisher struct {
	s       *session
	tags    flv.Tags
	name    string
	query   url.Values
	remote  net.Addr
	closer  io.Closer
	ctx     context.Context // of the connection, whose cause ReadPacket returns
	started bool
	err     error

	rest  []byte // of an aggregate message
	shift uint32 // of its times
	first bool   // shift is still the message's own time

	commands func(m message) error // what the other side may ask for meanwhile

	closed atomic.Bool
	done   atomic.Int64
}

var (
	_ av.Demuxer  = (*Publisher)(nil)
	_ av.Progress = (*Publisher)(nil)
	_ av.Warner   = (*Publisher)(nil)
)

// Name is the application and the stream key, "app/key", without a query.
func (p *Publisher) Name() string { return p.name }

// Query is what stood behind a question mark in the key or the application.
func (p *Publisher) Query() url.Values { return p.query }

// RemoteAddr is the client's address.
func (p *Publisher) RemoteAddr() net.Addr { return p.remote }

// WrapBits is the width of the timestamps.
func (p *Publisher) WrapBits() int { return flv.WrapBits }

// Tracks implements av.Demuxer.
func (p *Publisher) Tracks() []av.Track { return p.tags.Tracks() }

// Warnings implements av.Warner.
func (p *Publisher) Warnings() []string { return p.tags.Warnings() }

// Progress implements av.Progress; the total is unknown.
func (p *Publisher) Progress() (done, total int64) { return p.done.Load(), 0 }

// Close implements av.Demuxer: it closes the connection.
func (p *Publisher) Close() error {
	if p.closed.Swap(true) || p.closer == nil {
		return nil
	}
	return p.closer.Close()
}

// ReadPacket implements av.Demuxer. The first call tells the client to begin.
// io.EOF means that the client has unpublished or closed the connection in an
// orderly way. Other errors: fs.ErrClosed after Close, the cause of Serve's
// context, the connection's error, which is os.ErrDeadlineExceeded when the client
// sends nothing for Config.IdleTimeout, and an *av.Error where the client breaks
// the protocol or exceeds a bound. a's error is returned too; then ReadPacket may
// be called again.
func (p *Publisher) ReadPacket(a av.Allocator) (av.Packet, error) {
	if !p.started {
		p.started = true
		p.begin()
	}
	for {
		pkt, err := p.tags.ReadPacket(a)
		if err != flv.ErrMore {
			return pkt, err
		}
		if p.err != nil {
			return av.Packet{}, p.err
		}
		if err := p.step(); err != nil {
			p.fail(err)
		}
	}
}

// begin sends the answer to publish.
func (p *Publisher) begin() {
	p.s.event(eventBegin, p.s.published)
	p.s.status(p.s.published, "status", "NetStream.Publish.Start", "publishing")
	if err := p.s.out.flush(); err != nil {
		p.fail(err)
	}
}

// fail ends the stream behind the packets that the tags still hold.
func (p *Publisher) fail(err error) {
	switch {
	case p.closed.Load():
		err = fs.ErrClosed
	case p.ctx != nil && p.ctx.Err() != nil:
		err = context.Cause(p.ctx)
	case errors.Is(err, errEnded):
		err = io.EOF
	}
	p.err = err
	p.done.Store(p.s.in.offset())
	if none := p.tags.Finish(); none != nil && err == io.EOF {
		p.err = none
	}
}

// step gives one message to the tags.
func (p *Publisher) step() error {
	if len(p.rest) > 0 {
		return p.next()
	}
	m, err := p.s.in.next()
	if err != nil {
		return err
	}
	p.done.Store(p.s.in.offset())
	p.tags.Offset = p.s.in.offset()
	switch m.kind {
	case typeVideo, typeAudio, typeDataAMF0, typeDataAMF3, typeAggregate:
		if m.stream != p.s.published && m.stream != 0 {
			return nil // of a stream that is not published
		}
		return p.media(m)
	case typeCommandAMF0, typeCommandAMF3:
		obey := p.commands
		if obey == nil {
			obey = p.command
		}
		if err := obey(m); err != nil {
			return err
		}
	default:
		if err := p.s.handle(m); err != nil {
			return err
		}
	}
	return p.s.out.flush()
}

func (p *Publisher) media(m message) error {
	switch m.kind {
	case typeVideo:
		return p.tags.Video(m.timestamp, m.body)
	case typeAudio:
		return p.tags.Audio(m.timestamp, m.body)
	case typeAggregate:
		p.rest, p.shift, p.first = m.body, m.timestamp, true
		return nil
	}
	p.tags.Script(amfBody(m))
	return nil
}

// Tags within an aggregate message, which are FLV's. RTMP 7.1.6
const (
	subHead = 11
	subTail = 4
)

// next takes the next message of an aggregate one. Their times are shifted to
// begin at the aggregate's.
func (p *Publisher) next() error {
	b := p.rest
	if len(b) < subHead {
		p.rest = nil
		return nil
	}
	n := int(u24(b[1:]))
	if n > len(b)-subHead {
		return p.s.in.fault("aggregate", "%w: %d of %d bytes", av.ErrTruncated, len(b)-subHead, n)
	}
	at := u24(b[4:]) | uint32(b[7])<<24
	if p.first {
		p.shift, p.first = p.shift-at, false
	}
	p.rest = b[min(subHead+n+subTail, len(b)):]
	m := message{kind: b[0], timestamp: at + p.shift, body: b[subHead : subHead+n : subHead+n]}
	if m.kind == typeVideo || m.kind == typeAudio || m.kind == typeDataAMF0 {
		return p.media(m)
	}
	return nil
}

// command obeys a command while publishing.
func (p *Publisher) command(m message) error {
	s := p.s
	if err := s.pace(time.Now()); err != nil {
		return err
	}
	r := amf0.NewReader(amfBody(m))
	name, id := string(r.Bytes()), r.Number()
	if r.Err() != nil {
		return s.badCommand(&r)
	}
	switch name {
	case "FCUnpublish":
		s.reply("onFCUnpublish", 0, amf0.AppendNull(nil))
		s.ended = true
		return errEnded
	case "deleteStream":
		r.Skip()
		if r.Peek() == amf0.Number && uint32(r.Number()) != s.published {
			return nil
		}
		s.ended = true
		return errEnded
	case "closeStream":
		s.ended = true
		return errEnded
	case "publish":
		s.status(m.stream, "error", BadName, "one stream is published already")
	case "createStream":
		if s.streams == maxStreams {
			return s.in.fault("createStream", "%w: more than %d", av.ErrTooLarge, maxStreams)
		}
		s.streams++
		s.reply("_result", id, amf0.AppendNumber(amf0.AppendNull(nil), float64(s.streams)))
	}
	return nil
}
