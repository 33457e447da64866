package rtsp

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
)

// Publisher is one stream that a client publishes. It belongs to the goroutine of
// Config.Publish, except Close and Progress. Its packets are those of
// rtp.Assembler.
type Publisher struct {
	*stream
	name    string
	remote  net.Addr
	session *gortsplib.ServerSession
	medias  []*description.Media
	formats []format.Format
	started bool
	began   chan struct{} // closed by the first ReadPacket
	over    chan struct{} // closed when Publish has returned
	result  error         // of Publish
}

var (
	_ av.Demuxer  = (*Publisher)(nil)
	_ av.Progress = (*Publisher)(nil)
	_ av.Warner   = (*Publisher)(nil)
)

// Name is the path of the address; it is not checked.
func (p *Publisher) Name() string { return p.name }

// RemoteAddr is the client's address.
func (p *Publisher) RemoteAddr() net.Addr { return p.remote }

// ReadPacket implements av.Demuxer. The first call lets the client begin. io.EOF
// means that the client has ended the session or closed the connection. Other
// errors: fs.ErrClosed after Close, context.Canceled when the server ends, the
// session's, and an *av.Error where no track can be read.
func (p *Publisher) ReadPacket(a av.Allocator) (av.Packet, error) {
	if !p.started {
		p.started = true
		close(p.began)
	}
	return p.read(a)
}

// Close implements av.Demuxer: it closes the session.
func (p *Publisher) Close() error {
	p.queue.close(fs.ErrClosed)
	p.session.Close()
	return nil
}

// listen has the session's packets put into the queue.
func (p *Publisher) listen() {
	t := p.session.Transport()
	wait := t != nil && t.Protocol == gortsplib.ProtocolTCP // one goroutine serves the UDP of all
	for i, m := range p.medias {
		p.session.OnPacketRTP(m, p.formats[i], func(pkt *rtp.Packet) { p.packet(i, pkt, wait) })
		p.session.OnPacketRTCP(m, func(pkt rtcp.Packet) { p.control(i, pkt, wait) })
	}
}

// handler is what gortsplib's server calls.
type handler struct{ s *Server }

var (
	_ gortsplib.ServerHandlerOnAnnounce  = (*handler)(nil)
	_ gortsplib.ServerHandlerOnSetup     = (*handler)(nil)
	_ gortsplib.ServerHandlerOnDescribe  = (*handler)(nil)
	_ gortsplib.ServerHandlerOnPlay      = (*handler)(nil)
	_ gortsplib.ServerHandlerOnResponse  = (*handler)(nil)
	_ gortsplib.ServerHandlerOnConnClose = (*handler)(nil)

	_ gortsplib.ServerHandlerOnStreamWriteError = (*handler)(nil)

	_ gortsplib.ServerHandlerOnRecord       = (*handler)(nil)
	_ gortsplib.ServerHandlerOnSessionClose = (*handler)(nil)
	_ gortsplib.ServerHandlerOnPacketsLost  = (*handler)(nil)
	_ gortsplib.ServerHandlerOnDecodeError  = (*handler)(nil)
)

func status(code int, err error) (*base.Response, error) {
	return &base.Response{StatusCode: base.StatusCode(code)}, err
}

// OnAnnounce takes the description of what will be published.
func (h *handler) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	st, formats, err := newStream(ctx.Description, h.s.config.MaxQueue)
	if err != nil {
		code := base.StatusBadRequest
		if errors.Is(err, av.ErrUnsupported) {
			code = base.StatusUnsupportedMediaType
		}
		return status(int(code), err)
	}
	p := &Publisher{
		stream: st, name: strings.TrimPrefix(ctx.Path, "/"), remote: ctx.Conn.NetConn().RemoteAddr(), session: ctx.Session,
		medias: ctx.Description.Medias, formats: formats, began: make(chan struct{}), over: make(chan struct{}),
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	if h.s.closed {
		return status(int(base.StatusServiceUnavailable), context.Cause(h.s.ctx))
	}
	h.s.publishers[ctx.Session] = p
	return status(int(base.StatusOK), nil)
}

// OnSetup lets an announced medium in, or one that is to be played.
func (h *handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if h.s.publisher(ctx.Session) == nil {
		return h.setUpPlayer(ctx)
	}
	return &base.Response{StatusCode: base.StatusOK}, nil, nil
}

// OnRecord begins to publish, and answers when that is decided.
func (h *handler) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	p := h.s.publisher(ctx.Session)
	if p == nil || !h.s.begin(p) {
		return status(int(base.StatusServiceUnavailable), context.Canceled)
	}
	select {
	case <-p.began:
		p.listen()
		return status(int(base.StatusOK), nil)
	case <-p.over:
	}
	return refused(p.result)
}

// OnSessionClose ends the stream.
func (h *handler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	h.s.mu.Lock()
	p := h.s.publishers[ctx.Session]
	delete(h.s.publishers, ctx.Session)
	h.s.mu.Unlock()
	if p != nil {
		p.queue.close(ending(ctx.Error))
		return
	}
	h.s.leave(ctx.Session, ending(ctx.Error))
}

// OnConnClose forgets a player whose PLAY was never answered.
func (h *handler) OnConnClose(ctx *gortsplib.ServerHandlerOnConnCloseCtx) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	delete(h.s.starting, ctx.Conn)
}

// ending is how a session's end is told to ReadPacket.
func ending(err error) error {
	var torn liberrors.ErrServerSessionTornDown
	var unused liberrors.ErrServerSessionNotInUse
	switch {
	case err == nil, errors.As(err, &torn), errors.As(err, &unused), errors.Is(err, io.EOF):
		return io.EOF
	}
	return err
}

// OnPacketsLost and OnDecodeError keep gortsplib from writing to the standard
// logger; what they say, the assembler sees itself.
func (h *handler) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// OnDecodeError implements gortsplib.ServerHandlerOnDecodeError.
func (h *handler) OnDecodeError(*gortsplib.ServerHandlerOnDecodeErrorCtx) {}

func (s *Server) publisher(session *gortsplib.ServerSession) *Publisher {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.publishers[session]
}

// begin starts Publish, unless the server ends.
func (s *Server) begin(p *Publisher) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.group.Go(func() {
		err := s.config.Publish(s.ctx, p)
		if err != nil && s.ctx.Err() != nil {
			err = context.Cause(s.ctx)
		}
		s.config.Log.Info("rtsp session ended", "remote", p.remote.String(), "name", p.name, "bytes", p.done.Load(), "err", err)
		p.result = err
		close(p.over)
		p.Close()
	})
	return true
}
