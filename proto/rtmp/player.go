package rtmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/format/flv/amf0"
	"github.com/cleave-video/cleave/internal/nowait"
)

// Codes of a Refused that Config.Play returns.
const (
	NotFound   = "NetStream.Play.StreamNotFound"
	PlayFailed = "NetStream.Play.Failed"
)

// playChunkSize lets nearly every message be one chunk.
const playChunkSize = 64 << 10

// Player is one client that plays a stream. It belongs to the goroutine of
// Config.Play and is not to be used once that has returned.
type Player struct {
	s       *session
	conn    net.Conn
	timed   *timedConn
	name    string
	query   url.Values
	stream  uint32
	started bool

	mu     sync.Mutex // guards writes to conn
	nowait *nowait.Conn
	bufs   net.Buffers
	rest   net.Buffers // what TryWrite has left of messages it has begun

	next net.Buffers // messages that TryWrite has not begun; of who calls Write
}

// Name is the application and the stream key, "app/key", without a query.
func (p *Player) Name() string { return p.name }

// Query is what stood behind a question mark in the key or the application.
func (p *Player) Query() url.Values { return p.query }

// RemoteAddr is the client's address.
func (p *Player) RemoteAddr() net.Addr { return p.conn.RemoteAddr() }

// Stream is the number of the message stream that messages are to name: that of a
// Renderer.
func (p *Player) Stream() uint32 { return p.stream }

// Start accepts the client and calls send, which writes until it has nothing more
// or ctx is done: when the client stops playing, is gone, or the server ends.
// Start returns what send returned; nil tells the client that the stream ended.
func (p *Player) Start(ctx context.Context, send func(ctx context.Context) error) error {
	p.started = true
	p.s.control(typeSetChunkSize, playChunkSize)
	p.s.out.chunkSize = playChunkSize
	p.s.event(eventBegin, p.stream)
	p.s.status(p.stream, "status", "NetStream.Play.Reset", "playing")
	p.s.status(p.stream, "status", "NetStream.Play.Start", "playing")
	p.s.out.append(statusID, typeDataAMF0, p.stream, 0,
		amf0.AppendBool(amf0.AppendBool(amf0.AppendString(nil, "|RtmpSampleAccess"), true), true), nil)
	if err := p.s.out.flush(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	p.s.out.w, p.s.out.buf = lockedWriter{p}, nil
	p.s.in.resize(idleSize) // a thousand of them wait
	p.nowait = nowait.New(p.conn)
	p.timed.forever()
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		cancel(p.listen())
	}()
	err := send(ctx)
	_ = p.conn.SetReadDeadline(time.Now()) // listening ends
	<-listening
	cancel(nil)
	if err == nil {
		p.s.event(eventEOF, p.stream)
		p.s.status(p.stream, "status", "NetStream.Play.UnpublishNotify", "the stream has ended")
		if err = p.s.out.flush(); err == nil {
			p.timed.linger()
		}
	}
	return err
}

// Write sends messages that a Renderer of Stream has made, one behind the other,
// without a copy, behind what TryWrite has left. It blocks while the client does not
// read, up to 5 s.
func (p *Player) Write(bufs [][]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(bufs)+len(p.rest)+len(p.next) == 0 {
		return nil
	}
	if err := p.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if err := p.writeRest(); err != nil {
		return err
	}
	err := p.writeAll(p.next)
	clear(p.next)
	p.next = p.next[:0]
	if err != nil {
		return err
	}
	return p.writeAll(bufs)
}

// TryWrite is Write that does not wait. False: a part of bufs, or all, was left, and
// the pieces, but not the slice, stay valid until the next call, of Write, has
// returned. It may be called by another goroutine than Write, but not at the same
// time.
func (p *Player) TryWrite(bufs [][]byte) (whole bool, err error) {
	if p.nowait == nil || !p.mu.TryLock() { // an answer is being written
		p.next = append(p.next, bufs...)
		return false, nil
	}
	defer p.mu.Unlock()
	n, err := p.nowait.Write(bufs)
	p.rest = nowait.Rest(p.rest, bufs, n)
	return len(p.rest) == 0, err
}

// writeRest sends what TryWrite has left. mu is held.
func (p *Player) writeRest() error {
	err := p.writeAll(p.rest)
	clear(p.rest)
	p.rest = p.rest[:0]
	return err
}

func (p *Player) writeAll(bufs [][]byte) error {
	if len(bufs) == 0 {
		return nil
	}
	if _, tcp := p.conn.(*net.TCPConn); !tcp {
		for _, b := range bufs {
			if _, err := p.conn.Write(b); err != nil {
				return err
			}
		}
		return nil
	}
	all := append(p.bufs[:0], bufs...)
	p.bufs = all // WriteTo consumes what it is called on
	_, err := all.WriteTo(p.conn)
	clear(p.bufs)
	return err
}

// lockedWriter writes answers to the client between the messages of Write.
type lockedWriter struct{ p *Player }

func (w lockedWriter) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	if err := w.p.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	if err := w.p.writeRest(); err != nil { // a message is not to be interrupted
		return 0, err
	}
	return w.p.conn.Write(b)
}

// errStopped says that the client has stopped playing.
var errStopped = errors.New("rtmp: stopped playing")

// listen reads what the client says meanwhile, and returns why it says no more.
func (p *Player) listen() error {
	for {
		m, err := p.s.in.next()
		if err != nil {
			return err
		}
		if isCommand(m.kind) {
			r := amf0.NewReader(amfBody(m))
			switch string(r.Bytes()) {
			case "closeStream", "deleteStream":
				return errStopped
			}
			if err := p.s.pace(time.Now()); err != nil {
				return err
			}
			continue
		}
		if err := p.s.handle(m); err != nil {
			return err
		}
		if err := p.s.out.flush(); err != nil {
			return err
		}
	}
}

// Renderer makes messages of packets, for Player.Write: the first video and the
// first audio track that RTMP carries. It is a live.Renderer.
type Renderer struct {
	out    chunkWriter
	tracks []av.Track
	kinds  []byte // message type of each track; 0: it is left out
	offset int64  // ms
	newest uint32 // timestamp
	head   []byte
	stream uint32
}

// NewRenderer returns a Renderer for clients whose Player.Stream is stream.
func NewRenderer(stream uint32) *Renderer {
	return &Renderer{out: chunkWriter{chunkSize: playChunkSize}, stream: stream}
}

// Begin takes the tracks of the packets that follow, to whose times offset is added.
// The error wraps av.ErrUnsupported if RTMP carries none of them.
func (r *Renderer) Begin(tracks []av.Track, offset time.Duration) error {
	r.tracks, r.offset = tracks, offset.Milliseconds()
	r.kinds = flv.Select(tracks)
	if !slices.Contains(r.kinds, flv.TypeVideo) && !slices.Contains(r.kinds, flv.TypeAudio) {
		return fmt.Errorf("rtmp: %w: none of the %d tracks can be carried", av.ErrUnsupported, len(tracks))
	}
	return nil
}

// Header appends what a client needs that begins with the next packet.
func (r *Renderer) Header(dst []byte, first bool) []byte {
	at := r.newest
	if first {
		at = 0
	}
	r.out.buf = dst
	meta := flv.AppendMetadata(nil, r.tracks, r.kinds)
	r.out.append(mediaID, typeDataAMF0, r.stream, at, meta, nil)
	for i, kind := range r.kinds {
		if kind == 0 {
			continue
		}
		// Select has tried it.
		if body, err := flv.AppendSequenceStart(nil, &r.tracks[i]); err == nil && len(body) > 0 {
			r.out.append(mediaID, kind, r.stream, at, body, nil)
		}
	}
	return r.out.take()
}

// Append appends a packet.
func (r *Renderer) Append(dst []byte, p *av.Packet) []byte {
	if p.Track >= len(r.kinds) || r.kinds[p.Track] == 0 {
		return dst
	}
	t := &r.tracks[p.Track]
	dts := t.Timebase.Rescale(p.DTS, av.Millisecond)
	pts := t.Timebase.Rescale(p.PTS, av.Millisecond)
	r.head = flv.AppendFrameHead(r.head[:0], t, p.Flags, pts-dts)
	r.newest = uint32(dts + r.offset)
	r.out.buf = dst
	r.out.append(mediaID, r.kinds[p.Track], r.stream, r.newest, r.head, p.Data)
	return r.out.take()
}
