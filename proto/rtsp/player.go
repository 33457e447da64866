package rtsp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"

	"github.com/cleave-video/cleave/av"
	frtp "github.com/cleave-video/cleave/format/rtp"
	"github.com/cleave-video/cleave/internal/pace"
)

// firstPayloadType is the first of those that the session description assigns. RFC 3551 6
const firstPayloadType = 96

// offer is what is described to players of a stream, as long as its tracks stay.
type offer struct {
	tracks []av.Track
	medias []*description.Media // by track; nil: RTP does not carry it
	stream *gortsplib.ServerStream
	users  int // sessions; guarded by Server.mu
}

// newOffer describes the tracks.
func (s *Server) newOffer(tracks []av.Track) (*offer, error) {
	o := &offer{tracks: tracks, medias: make([]*description.Media, len(tracks))}
	d := new(description.Session)
	for i := range tracks {
		k, err := frtp.NewPacketizer(&tracks[i], uint8(firstPayloadType+i))
		if err != nil {
			continue
		}
		kind := description.MediaTypeVideo
		if tracks[i].Kind == av.Audio {
			kind = description.MediaTypeAudio
		}
		o.medias[i] = &description.Media{Type: kind, Formats: []format.Format{k.Format}}
		d.Medias = append(d.Medias, o.medias[i])
	}
	if len(d.Medias) == 0 {
		return nil, &Refused{int(base.StatusUnsupportedMediaType), fmt.Sprintf("none of the %d tracks can be carried by RTP", len(tracks))}
	}
	o.stream = &gortsplib.ServerStream{Server: s.rtsp, Desc: d}
	return o, o.stream.Initialize()
}

// offer returns what is described to players of a stream, which must not be known to
// anybody with tracks that are not as these any more.
func (s *Server) offer(name string) (*offer, error) {
	if s.config.Describe == nil {
		return nil, &Refused{int(base.StatusNotImplemented), "playing is not offered"}
	}
	tracks, err := s.config.Describe(s.ctx, name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, &Refused{int(base.StatusServiceUnavailable), "the server ends"}
	}
	if o := s.offers[name]; o != nil && sameTracks(o.tracks, tracks) {
		return o, nil
	}
	for name, o := range s.offers { // those that nobody has taken
		if o.users == 0 {
			delete(s.offers, name)
			o.stream.Close()
		}
	}
	o, err := s.newOffer(tracks)
	if err == nil {
		s.offers[name] = o // who plays by the one before ends by itself
	}
	return o, err
}

// sameTracks reports whether a session description of a is one of b.
func sameTracks(a, b []av.Track) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := &a[i], &b[i]
		if x.Kind != y.Kind || x.Codec != y.Codec || x.Timebase != y.Timebase || string(x.Config) != string(y.Config) {
			return false
		}
	}
	return true
}

// Player is one client that plays a stream. It belongs to the goroutine of Config.Play.
type Player struct {
	name    string
	remote  net.Addr
	session *gortsplib.ServerSession
	offer   *offer
	ctx     context.Context
	cancel  context.CancelCauseFunc
	udp     bool
	sent    int64

	makers []*frtp.Packetizer // by track; nil: it is not played
	pace   pace.Pacer
	placed bool
	anchor time.Time // when time 0 of the stream was, by this machine's clock
}

// Name is the path of the address; it is not checked.
func (p *Player) Name() string { return p.name }

// RemoteAddr is the client's address.
func (p *Player) RemoteAddr() net.Addr { return p.remote }

// Plays reports whether tracks are as they were described to the client: a session cannot
// go on with others.
func (p *Player) Plays(tracks []av.Track) bool { return sameTracks(p.offer.tracks, tracks) }

// setUp makes the packetizers of the tracks that the client has chosen.
func (p *Player) setUp() error {
	p.makers = make([]*frtp.Packetizer, len(p.offer.tracks))
	for _, m := range p.session.Medias() {
		for i, o := range p.offer.medias {
			if o != m {
				continue
			}
			k, err := frtp.NewPacketizer(&p.offer.tracks[i], uint8(firstPayloadType+i))
			if err != nil {
				return err
			}
			p.makers[i] = k
		}
	}
	t := p.session.Transport()
	p.udp = t != nil && t.Protocol != gortsplib.ProtocolTCP
	return nil
}

// fullQueue is how long a client that does not take what it was sent is waited for, before
// it is looked at again.
const fullQueue = 10 * time.Millisecond

// Write sends a packet of one of the tracks described; offset is added to its times. It
// waits while the client has more to take than is kept for it, or over UDP as pace.Rate
// asks. The error is the cause of ctx, the one that Config.Play got.
func (p *Player) Write(ctx context.Context, pkt *av.Packet, offset time.Duration) error {
	k := p.makers[pkt.Track]
	if k == nil {
		return nil
	}
	list, err := k.Packetize(pkt, offset)
	if err != nil || len(list) == 0 {
		return err
	}
	at := p.offer.tracks[pkt.Track].Timebase.Duration(pkt.PTS) + offset
	if !p.placed {
		p.placed, p.anchor = true, time.Now().Add(-at)
	}
	media, ntp := p.offer.medias[pkt.Track], p.anchor.Add(at)
	for _, r := range list {
		if p.udp {
			if err := p.pace.Wait(ctx, len(r.Payload)); err != nil {
				return err
			}
		}
		for {
			err := p.session.WritePacketRTPWithNTP(media, r, ntp)
			var full liberrors.ErrServerWriteQueueFull
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err == nil {
				break
			}
			if !errors.As(err, &full) {
				return fmt.Errorf("rtsp: %w", err)
			}
			if err := pace.Sleep(ctx, fullQueue); err != nil {
				return err
			}
		}
		p.sent += int64(len(r.Payload))
	}
	return nil
}

// refused is the answer to a request that err turns away.
func refused(err error) (*base.Response, error) {
	var no *Refused
	if errors.As(err, &no) {
		return status(no.Status, no)
	}
	return status(int(base.StatusInternalServerError), err)
}

// OnDescribe implements gortsplib.ServerHandlerOnDescribe.
func (h *handler) OnDescribe(ctx *gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	o, err := h.s.offer(strings.TrimPrefix(ctx.Path, "/"))
	if err != nil {
		res, err := refused(err)
		return res, nil, err
	}
	return &base.Response{StatusCode: base.StatusOK}, o.stream, nil
}

// setUpPlayer answers SETUP of a session that has announced nothing.
func (h *handler) setUpPlayer(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	p := h.s.player(ctx.Session)
	if p == nil {
		name := strings.TrimPrefix(ctx.Path, "/")
		o, err := h.s.offer(name)
		if err == nil {
			p, err = h.s.enter(&Player{name: name, remote: ctx.Conn.NetConn().RemoteAddr(), session: ctx.Session, offer: o})
		}
		if err != nil {
			res, err := refused(err)
			return res, nil, err
		}
	}
	return &base.Response{StatusCode: base.StatusOK}, p.offer.stream, nil
}

// enter counts a player.
func (s *Server) enter(p *Player) (*Player, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, &Refused{int(base.StatusServiceUnavailable), "the server ends"}
	case len(s.players) >= s.config.MaxPlayers:
		return nil, &Refused{int(base.StatusServiceUnavailable), fmt.Sprintf("%d players", len(s.players))}
	}
	p.ctx, p.cancel = context.WithCancelCause(s.ctx)
	p.offer.users++
	s.players[p.session] = p
	return p, nil
}

func (s *Server) player(session *gortsplib.ServerSession) *Player {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.players[session]
}

// leave takes a player out whose session has ended.
func (s *Server) leave(session *gortsplib.ServerSession, why error) {
	s.mu.Lock()
	p := s.players[session]
	delete(s.players, session)
	if p != nil {
		p.offer.users--
	}
	s.mu.Unlock()
	if p != nil {
		p.cancel(why)
	}
}

// OnPlay implements gortsplib.ServerHandlerOnPlay.
func (h *handler) OnPlay(ctx *gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	p := h.s.player(ctx.Session)
	if p == nil {
		return status(int(base.StatusServiceUnavailable), errors.New("rtsp: the session has not been set up"))
	}
	if p.makers != nil { // it plays already
		return status(int(base.StatusOK), nil)
	}
	if err := p.setUp(); err != nil {
		return status(int(base.StatusInternalServerError), err)
	}
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.s.starting[ctx.Conn] = p
	return status(int(base.StatusOK), nil)
}

// OnResponse implements gortsplib.ServerHandlerOnResponse: only with the answer to PLAY is
// the session ready to be written to.
func (h *handler) OnResponse(conn *gortsplib.ServerConn, res *base.Response) {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	p := h.s.starting[conn]
	if p == nil {
		return
	}
	delete(h.s.starting, conn)
	if h.s.closed || res.StatusCode != base.StatusOK {
		return
	}
	h.s.group.Go(func() { h.s.play(p) })
}

// play calls Config.Play, and closes the session when that returns.
func (s *Server) play(p *Player) {
	err := s.config.Play(p.ctx, p)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	s.config.Log.Info("rtsp player ended", "remote", p.remote.String(), "name", p.name, "bytes", p.sent, "err", err)
	p.session.Close()
}

// OnStreamWriteError implements gortsplib.ServerHandlerOnStreamWriteError, which would
// write to the standard logger: Write sees the error itself.
func (h *handler) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}
