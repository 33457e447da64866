package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/deliver/dash"
	"github.com/cleave-video/cleave/deliver/feed"
	"github.com/cleave-video/cleave/deliver/flv"
	"github.com/cleave-video/cleave/deliver/frames"
	"github.com/cleave-video/cleave/deliver/hls"
	"github.com/cleave-video/cleave/deliver/keys"
	"github.com/cleave-video/cleave/deliver/mp4"
	"github.com/cleave-video/cleave/deliver/replay"
	"github.com/cleave-video/cleave/deliver/ts"
	"github.com/cleave-video/cleave/format/libav"
	ingest "github.com/cleave-video/cleave/ingest/http"
	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/proto/rtmp"
	"github.com/cleave-video/cleave/proto/rtsp"
	"github.com/cleave-video/cleave/proto/srt"
	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/spool"
)

// ports are what a server listens to.
type ports struct {
	config  *Config
	hub     *live.Hub
	store   store.Store
	spool   *spool.Store // nil: none
	files   *frames.Files
	sources *pull.Set
	dash    *dash.Handler
	keys    *keys.Handler
	replay  *replay.Handler
	ready   func() bool
	open    []port
	addrs   Addrs

	responses *responses
}

// port is an address that is listened to, and what serves it until its context is
// done.
type port struct {
	addr  net.Addr
	serve func(ctx context.Context) error
	close func() error
}

// listen opens every port, or none. The error names the flag.
func (p *ports) listen() error {
	c := p.config
	cert, err := c.certificate()
	if err != nil {
		return err
	}
	type protocol struct {
		flag, address string
		tls           *tls.Config
		listen        func(address string, c *tls.Config) (port, error)
		addr          *net.Addr
	}
	all := []protocol{
		{"http", c.HTTP, nil, p.listenHTTP, &p.addrs.HTTP},
		{"rtmp", c.RTMP, nil, p.listenRTMP, &p.addrs.RTMP},
		{"srt", c.SRT, nil, p.listenSRT, &p.addrs.SRT},
		{"rtsp", c.RTSP, nil, p.listenRTSP, &p.addrs.RTSP},
		{"admin", c.Admin, nil, p.listenAdmin, &p.addrs.Admin},
	}
	if cert != nil {
		all = append(all,
			protocol{"https", c.HTTPS, cert.config("h2", "http/1.1"), p.listenHTTP, &p.addrs.HTTPS},
			protocol{"rtmps", c.RTMPS, cert.config(), p.listenRTMP, &p.addrs.RTMPS},
			protocol{"rtsps", c.RTSPS, cert.config(), p.listenRTSP, &p.addrs.RTSPS})
	}
	for _, l := range all {
		if l.address == Off {
			continue
		}
		o, err := l.listen(l.address, l.tls)
		if err != nil {
			for _, o := range p.open {
				o.close()
			}
			return fmt.Errorf("server: --%s %s: %w", l.flag, l.address, err)
		}
		*l.addr = o.addr
		p.open = append(p.open, o)
	}
	return nil
}

func (p *ports) listenHTTP(address string, c *tls.Config) (port, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return port{}, err
	}
	if c != nil && !p.config.EachRecord {
		l = p.responses.tls.Listener(l)
	}
	serve := func(ctx context.Context) error {
		push := ingest.New(ingest.Config{Log: p.config.Log, Publish: p.publishHTTP, End: ctx})
		how := p.responses.routes
		feeds := feed.New(feed.Config{Hub: p.hub, Formats: []feed.Format{flv.Format(), ts.Format(), mp4.Format()}, Route: how[routeFeed]})
		stop := context.AfterFunc(ctx, feeds.Close) // their connections are not net/http's any more
		defer feeds.Close()
		defer stop()
		worker, _ := libav.Find() // without it there are no JPEG pictures
		r := routes{
			hub: p.hub, addrs: &p.addrs, pulled: p.sources, dash: p.dash, replay: p.replay, keys: p.keys, feeds: feeds, push: push, files: p.files,
			hls:    hls.New(hls.Config{Hub: p.hub, Store: p.store, Older: p.replay, History: p.replay, Route: how[routeParts]}),
			frames: frames.New(frames.Config{Hub: p.hub, Store: p.store, Files: p.files, Worker: worker, Route: how[routeFrames]}),
		}
		return serveHTTP(ctx, l, r.handler(), c)
	}
	return port{l.Addr(), serve, l.Close}, nil
}

func (p *ports) listenAdmin(address string, _ *tls.Config) (port, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return port{}, err
	}
	h := (&admin{hub: p.hub, spool: p.spool, sources: p.sources, replay: p.replay, responses: p.responses, ready: p.ready}).handler()
	return port{l.Addr(), func(ctx context.Context) error { return serveHTTP(ctx, l, h, nil) }, l.Close}, nil
}

func (p *ports) publishHTTP(ctx context.Context, pub *ingest.Publisher) error {
	// A body can wait: what it has is not dropped.
	err := p.hub.PublishWith(ctx, pub.Name(), pub, live.PublishOptions{Elastic: true, From: pub.RemoteAddr()})
	switch {
	case errors.Is(err, live.ErrTaken), errors.Is(err, live.ErrTakenOver):
		return &ingest.Refused{Status: http.StatusConflict, Description: err.Error()}
	case errors.Is(err, live.ErrName):
		return &ingest.Refused{Status: http.StatusBadRequest, Description: err.Error()}
	case full(err):
		return &ingest.Refused{Status: http.StatusServiceUnavailable, Description: err.Error()}
	}
	return err
}

// full reports whether a publisher was refused that may come again.
func full(err error) bool {
	return errors.Is(err, live.ErrCrowded) || errors.Is(err, live.ErrMemory) || errors.Is(err, live.ErrKey)
}

func (p *ports) listenRTMP(address string, c *tls.Config) (port, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return port{}, err
	}
	if c != nil {
		l = tls.NewListener(l, c)
	}
	s := &rtmp.Server{Config: rtmp.Config{Log: p.config.Log, Publish: p.publishRTMP, Play: p.playRTMP}}
	return port{l.Addr(), func(ctx context.Context) error { return s.Serve(ctx, l) }, l.Close}, nil
}

func (p *ports) publishRTMP(ctx context.Context, pub *rtmp.Publisher) error {
	err := p.hub.PublishWith(ctx, pub.Name(), pub, live.PublishOptions{From: pub.RemoteAddr().String()})
	switch {
	case errors.Is(err, live.ErrTaken), errors.Is(err, live.ErrName):
		return &rtmp.Refused{Code: rtmp.BadName, Description: err.Error()}
	case full(err):
		return &rtmp.Refused{Code: rtmp.Denied, Description: err.Error()}
	}
	return err
}

// playRTMP sends a player what the hub has. A stream that is not there yet is not
// waited for, unless a viewer starts it: players ask again.
func (p *ports) playRTMP(ctx context.Context, player *rtmp.Player) error {
	s, leave, err := p.hub.Await(ctx, player.Name())
	if err != nil {
		code, text, _ := deliver.Explain(err)
		if code == http.StatusNotFound {
			return &rtmp.Refused{Code: rtmp.NotFound, Description: text}
		}
		return &rtmp.Refused{Code: rtmp.PlayFailed, Description: text}
	}
	defer leave()
	if s.Guarded() != nil {
		return &rtmp.Refused{Code: rtmp.PlayFailed, Description: inTheClear}
	}
	kind := fmt.Sprintf("rtmp%d", player.Stream())
	out, err := s.Admit(player.RemoteAddr().String(), kind)
	if err != nil {
		_, text, _ := deliver.Explain(err)
		return &rtmp.Refused{Code: rtmp.PlayFailed, Description: text}
	}
	defer out()
	v := s.Watch(kind, func() live.Renderer { return rtmp.NewRenderer(player.Stream()) })
	defer v.Close()
	return player.Start(ctx, func(ctx context.Context) error {
		if err := v.Send(ctx, player); !errors.Is(err, io.EOF) {
			return err
		}
		return nil
	})
}

func (p *ports) listenSRT(address string, _ *tls.Config) (port, error) {
	s, err := srt.Listen(address, srt.Config{
		Log: p.config.Log, Publish: p.publishSRT, Read: p.readSRT, Passphrase: p.config.SRTPassphrase, Latency: p.config.SRTLatency,
	})
	if err != nil {
		return port{}, err
	}
	return port{s.Addr(), s.Serve, s.Close}, nil
}

func (p *ports) publishSRT(ctx context.Context, pub *srt.Publisher) error {
	err := p.hub.PublishWith(ctx, pub.Name(), pub, live.PublishOptions{From: pub.RemoteAddr().String()})
	switch {
	case errors.Is(err, live.ErrTaken):
		return &srt.Refused{Reason: srt.Conflict, Description: err.Error()}
	case errors.Is(err, live.ErrName):
		return &srt.Refused{Reason: srt.BadRequest, Description: err.Error()}
	case full(err):
		return &srt.Refused{Reason: srt.Overload, Description: err.Error()}
	}
	return err
}

const inTheClear = "the stream is encrypted: this would be in the clear"

// maxPieces is how many pieces of a stream are written to a reader of SRT at a time.
const maxPieces = 16

// readSRT sends a caller what the hub has, as MPEG-TS.
func (p *ports) readSRT(ctx context.Context, r *srt.Reader) error {
	s, leave, err := p.hub.Await(ctx, r.Name())
	if err != nil {
		code, text, _ := deliver.Explain(err)
		reason := srt.Down
		switch code {
		case http.StatusNotFound:
			reason = srt.NotFound
		case http.StatusBadGateway:
			reason = srt.Gateway
		}
		return &srt.Refused{Reason: reason, Description: text}
	}
	defer leave()
	if s.Guarded() != nil {
		return &srt.Refused{Reason: srt.Forbidden, Description: inTheClear}
	}
	format := ts.Format()
	out, err := s.Admit(r.RemoteAddr().String(), format.Suffix)
	if err != nil {
		_, text, _ := deliver.Explain(err)
		return &srt.Refused{Reason: srt.Overload, Description: text}
	}
	defer out()
	v := s.Watch(format.Suffix, format.New)
	defer v.Close()
	return r.Start(ctx, func(ctx context.Context) error {
		bufs := make([][]byte, 0, maxPieces)
		for {
			var err error
			if bufs, err = v.Next(ctx, bufs[:0]); err == nil {
				err = r.Write(ctx, bufs)
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
}

func (p *ports) listenRTSP(address string, c *tls.Config) (port, error) {
	rc := rtsp.Config{Log: p.config.Log, Publish: p.publishRTSP, Describe: p.describeRTSP, Play: p.playRTSP, TLS: c}
	if c == nil && p.config.RTP != Off { // with TLS, media come that way too
		rc.UDP = p.config.RTP
	}
	s, err := rtsp.Listen(address, rc)
	var op *net.OpError
	if errors.As(err, &op) && strings.HasPrefix(op.Net, "udp") {
		err = fmt.Errorf("--rtsp-udp %s: %w", rc.UDP, err)
	}
	if err != nil {
		return port{}, err
	}
	return port{s.Addr(), s.Serve, s.Close}, nil
}

func (p *ports) publishRTSP(ctx context.Context, pub *rtsp.Publisher) error {
	err := p.hub.PublishWith(ctx, pub.Name(), pub, live.PublishOptions{From: pub.RemoteAddr().String()})
	switch {
	case errors.Is(err, live.ErrTaken):
		return &rtsp.Refused{Status: http.StatusForbidden, Description: err.Error()}
	case errors.Is(err, live.ErrName):
		return &rtsp.Refused{Status: http.StatusBadRequest, Description: err.Error()}
	case full(err):
		return &rtsp.Refused{Status: http.StatusServiceUnavailable, Description: err.Error()}
	}
	return err
}
