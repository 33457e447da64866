// Package server turns a configuration into a running system. It is the only
// package that knows every implementation.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cleave-video/cleave/deliver/dash"
	"github.com/cleave-video/cleave/deliver/feed"
	"github.com/cleave-video/cleave/deliver/frames"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store/disk"
	"github.com/cleave-video/cleave/web"
)

// Defaults of Config.
const (
	DefaultHTTP = ":8080"
	DefaultRTMP = ":1935"
	DefaultSRT  = ":8890"
	DefaultRTSP = ":8554"
	DefaultRTP  = ":8000"
	DefaultData = "data"
	// Of a server that has a certificate.
	DefaultHTTPS = ":8443"
	DefaultRTMPS = ":1936"
	DefaultRTSPS = ":8322"
	DefaultAdmin = "127.0.0.1:9080"
)

// IndexDir is the folder of the index in the data folder. No key of a chunk begins
// with "+".
const IndexDir = "+index"

// Off as an address leaves a protocol out.
const Off = "off"

// Config is what a server is made of. The zero value of each field is the default
// named in its constant. An address may be Off.
type Config struct {
	HTTP string // address of delivery and of HTTP publishers; DefaultHTTP
	RTMP string // address of RTMP; DefaultRTMP
	SRT  string // address of SRT; DefaultSRT
	RTSP string // address of RTSP; DefaultRTSP
	// RTP is the address of RTSP's media by UDP, whose port is even; the next one is
	// taken too. DefaultRTP; Off leaves TCP.
	RTP  string
	Data string // folder of the chunks; DefaultData

	// TLSCert and TLSKey are files in PEM, which are read again when they change; then
	// there are HTTPS, RTMPS and RTSPS, too.
	TLSCert, TLSKey string
	HTTPS           string // DefaultHTTPS
	RTMPS           string // DefaultRTMPS
	RTSPS           string // DefaultRTSPS

	Admin string // address of the administration; DefaultAdmin

	Sources      []pull.Source // declared sources
	AllowPrivate bool          // sources may be on loopback and private addresses

	SRTPassphrase string        // of every SRT caller; empty: none may encrypt
	SRTLatency    time.Duration // 0: srt.DefaultLatency

	Live live.Config
	Log  *slog.Logger
	// Ready is called once all addresses are listened to.
	Ready func(Addrs)
}

// Addrs are the addresses that are listened to; nil where a protocol is left out.
type Addrs struct{ HTTP, RTMP, SRT, RTSP, HTTPS, RTMPS, RTSPS, Admin net.Addr }

// httpDrain is how long answers under way may take after the end was asked for.
const httpDrain = 5 * time.Second

func (c *Config) defaults() {
	for _, f := range []struct {
		s *string
		v string
	}{{&c.HTTP, DefaultHTTP}, {&c.RTMP, DefaultRTMP}, {&c.SRT, DefaultSRT}, {&c.RTSP, DefaultRTSP}, {&c.RTP, DefaultRTP}, {&c.HTTPS, DefaultHTTPS}, {&c.RTMPS, DefaultRTMPS}, {&c.RTSPS, DefaultRTSPS}, {&c.Admin, DefaultAdmin}, {&c.Data, DefaultData}} {
		if *f.s == "" {
			*f.s = f.v
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Run serves until ctx is done; then publishers are closed, what they sent is
// committed, and answers under way end. It returns nil after that, or why the
// server could not start or go on.
func Run(ctx context.Context, c Config) error {
	c.defaults()
	st, err := disk.Open(c.Data)
	if err != nil {
		return fmt.Errorf("server: data folder: %w", err)
	}
	ix, err := indexdisk.Open(filepath.Join(c.Data, IndexDir))
	if err != nil {
		return fmt.Errorf("server: index: %w", err)
	}
	defer ix.Close()
	c.Live.Store, c.Live.Index, c.Live.Log = st, ix, c.Log
	hub, err := live.NewHub(c.Live)
	if err != nil {
		return err
	}
	defer hub.Close()
	client := c.policy().Client()
	defer client.CloseIdleConnections()
	sources, err := newSources(&c, hub, client)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	p := &ports{config: &c, hub: hub, store: st, sources: sources, dash: dash.New(dash.Config{Hub: hub}), ready: func() bool { return ctx.Err() == nil }}
	if err := p.listen(); err != nil {
		return err
	}
	if c.Ready != nil {
		c.Ready(p.addrs)
	}
	group.Go(func() error { return hub.Run(ctx) })
	group.Go(func() error { return sources.Run(ctx) })
	for _, o := range p.open {
		group.Go(func() error { return o.serve(ctx) })
	}
	return group.Wait()
}

// serveHTTP serves on l until ctx is done; by TLS if c is not nil.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, c *tls.Config) error {
	s := &http.Server{
		Handler: h, TLSConfig: c, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpDrain)
		defer cancel()
		err := s.Shutdown(end)
		if err != nil {
			err = errors.Join(err, s.Close())
		}
		done <- err
	})
	serve := s.Serve
	if c != nil {
		serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
	}
	err := serve(l)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

// handler routes: pages, what is below a stream's name, and bodies to publish.
// routes are what an address of delivery answers with.
type routes struct {
	hub    *live.Hub
	addrs  *Addrs // for publishers
	hls    http.Handler
	frames http.Handler
	dash   http.Handler // of manifests
	push   http.Handler // of bodies to publish
	feeds  *feed.Handler
}

// handler routes: pages, what is below a stream's name, and bodies to publish.
func (x *routes) handler() http.Handler {
	pages := web.New()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { pages.Home(w, x.home(r.Host)) })
	mux.HandleFunc("GET /favicon.ico", pages.Icon)
	mux.HandleFunc("GET /hls.min.js", pages.Script)
	mux.Handle("PUT /", x.push)
	mux.Handle("POST /", x.push)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name, isPage := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/")
		s, format := x.feeds.Find(r.URL.Path)
		switch {
		case s != nil && format != nil:
			x.feeds.ServeHTTP(w, r)
		case frames.Serves(r.URL.Path):
			x.frames.ServeHTTP(w, r)
		case isPage && live.CheckName(name) == nil:
			pages.Player(w, name, x.hub.Lookup(name) != nil) // also before the stream begins: it waits
		case x.hub.Lookup(strings.TrimPrefix(r.URL.Path, "/")) != nil:
			http.Redirect(w, r, r.URL.Path+"/", http.StatusFound)
		case dash.Owns(r.URL.Path):
			x.dash.ServeHTTP(w, r)
		default:
			x.hls.ServeHTTP(w, r)
		}
	})
	return mux
}
