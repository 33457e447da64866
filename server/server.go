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
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cleave-video/cleave/deliver/dash"
	"github.com/cleave-video/cleave/deliver/feed"
	"github.com/cleave-video/cleave/deliver/frames"
	"github.com/cleave-video/cleave/deliver/keys"
	"github.com/cleave-video/cleave/deliver/replay"
	"github.com/cleave-video/cleave/httpio"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store/s3"
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

	DefaultSpoolFree = 256 << 20
)

// IndexDir is the folder of the index in the data folder. No key of a chunk begins
// with "+".
const IndexDir = "+index"

// JournalDir is the folder in the data folder of the parts of chunks that are not stored
// yet.
const JournalDir = "+parts"

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

	// S3 is where chunks are kept instead of in Data, if it is set; Data then has the
	// index, the spool and the parts of open chunks.
	S3 *s3.Config
	// Spool is a folder that chunks are put into at once, and brought from to where they
	// are kept. With S3 it is SpoolDir in Data, else there is none. SpoolFree is what its
	// file system keeps free; DefaultSpoolFree, negative: nothing.
	Spool     string
	SpoolFree int64

	// TLSCert and TLSKey are files in PEM, which are read again when they change; then
	// there are HTTPS, RTMPS and RTSPS, too.
	TLSCert, TLSKey string
	HTTPS           string // DefaultHTTPS
	RTMPS           string // DefaultRTMPS
	RTSPS           string // DefaultRTSPS

	Admin string // address of the administration; DefaultAdmin

	Sources      []pull.Source // declared sources
	AllowPrivate bool          // sources may be on loopback and private addresses
	// A viewer waits OnDemandTimeout for a source on demand, which goes on OnDemandIdle
	// without one; 0: pull.DefaultTimeout, pull.DefaultIdle.
	OnDemandTimeout, OnDemandIdle time.Duration

	// Files are folders whose MP4 files are answered from, frame by frame. FilesIndex
	// bounds the bytes of their indexes; 0: frames.DefaultIndex.
	Files      []frames.Folder
	FilesIndex int64

	SRTPassphrase string        // of every SRT caller; empty: none may encrypt
	SRTLatency    time.Duration // 0: srt.DefaultLatency

	// Responses are the strategies of answers without a known end, by kind: feed, frames,
	// parts; direct, buffered or adaptive. WriteDeadline is how long a client may take for
	// a write of one; 0: httpio.DefaultDeadline.
	Responses     map[string]string
	WriteDeadline time.Duration
	// EachRecord has each record of TLS written by itself.
	EachRecord bool
	Retention  []Retention  // the first that matches a stream's name is its; none: the window
	Encryption []Encryption // the first that matches a stream's name is its; none: in the clear

	Encode *Encode // nil: what is received is all there is

	Live live.Config
	Log  *slog.Logger
	// Ready is called once all addresses are listened to.
	Ready func(Addrs)
}

// Addrs are the addresses that are listened to; nil where a protocol is left out.
type Addrs struct{ HTTP, RTMP, SRT, RTSP, HTTPS, RTMPS, RTSPS, Admin net.Addr }

// bucketWait is how long a server that starts waits for a bucket.
const bucketWait = 10 * time.Second

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
	if c.SpoolFree == 0 {
		c.SpoolFree = DefaultSpoolFree
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Validate reports what is wrong with c, with the defaults for what it leaves open.
func (c *Config) Validate() error {
	if err := c.Live.Validate(); err != nil {
		return err
	}
	for i := range c.Retention {
		if err := c.Retention[i].validate(c.Live.Window); err != nil {
			return fmt.Errorf("server: retention %d: %w", i+1, err)
		}
	}
	if _, err := newResponses(c); err != nil {
		return err
	}
	for i := range c.Encryption {
		if err := c.Encryption[i].validate(c.Live.Part >= 0); err != nil {
			return fmt.Errorf("server: encryption %d: %w", i+1, err)
		}
	}
	if err := c.validateEncode(); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}

// Run serves until ctx is done; then publishers are closed, what they sent is
// committed, and answers under way end. It returns nil after that, or why the
// server could not start or go on.
func Run(ctx context.Context, c Config) error {
	c.defaults()
	if err := c.Validate(); err != nil {
		return err
	}
	answers, err := newResponses(&c)
	if err != nil {
		return err
	}
	if c.Live.Stages, err = c.stages(ctx); err != nil {
		return fmt.Errorf("server: encode: %w", err)
	}
	st, err := c.openStores(ctx)
	if err != nil {
		return err
	}
	defer st.close()
	ix, err := indexdisk.Open(filepath.Join(c.Data, IndexDir))
	if err != nil {
		return fmt.Errorf("server: index: %w", err)
	}
	defer ix.Close()
	sealing, err := openEncryption(&c)
	if err != nil {
		return fmt.Errorf("server: keys: %w", err)
	}
	c.Live.Store, c.Live.Index, c.Live.Log, c.Live.Sealing = st, ix, c.Log, sealing.of
	c.Live.Journal = filepath.Join(c.Data, JournalDir)
	c.Live.Promises = filepath.Join(c.Data, RetentionDir, "promises.json")
	if len(c.Retention) > 0 {
		c.Live.Retention = c.retention
	}
	if c.S3 != nil {
		c.Live.RecoverWait = bucketWait
	}
	hub, err := live.NewHub(c.Live)
	if err != nil {
		return err
	}
	defer hub.Close()
	if err := hub.Recover(ctx); err != nil {
		return err
	}
	client := c.policy().Client()
	defer client.CloseIdleConnections()
	sources, err := newSources(&c, hub, client)
	if err != nil {
		return err
	}
	hub.SetDemand(sources)
	files, err := frames.OpenFiles(c.Files, c.FilesIndex)
	if err != nil {
		return fmt.Errorf("server: files: %w", err)
	}
	defer files.Close()
	group, ctx := errgroup.WithContext(ctx)
	p := &ports{
		config: &c, responses: answers, hub: hub, store: st, spool: st.spool, files: files, sources: sources, keys: keys.New(keys.Config{Find: sealing.find}),
		dash: dash.New(dash.Config{Hub: hub}), replay: replay.New(replay.Config{Hub: hub, Index: ix, Store: st}), ready: func() bool { return ctx.Err() == nil },
	}
	if err := p.listen(); err != nil {
		return err
	}
	if c.Ready != nil {
		c.Ready(p.addrs)
	}
	group.Go(func() error { return hub.Run(ctx) })
	group.Go(func() error { return st.run(ctx) })
	group.Go(func() error { return sources.Run(ctx) })
	for _, o := range p.open {
		group.Go(func() error { return o.serve(ctx) })
	}
	return group.Wait()
}

// serveHTTP serves on l until ctx is done; by TLS if c is not nil.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler, c *tls.Config) error {
	var fresh silent
	s := &http.Server{
		Handler: httpio.Bounded(h), TLSConfig: c, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, ConnContext: httpio.WithConn,
		ConnState: func(c net.Conn, to http.ConnState) { fresh.state(c, to); limitShut(c, to) },
	}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpDrain)
		defer cancel()
		fresh.end()
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

// routes are what an address of delivery answers with.
type routes struct {
	hub    *live.Hub
	addrs  *Addrs // for publishers
	pulled *pull.Set
	hls    http.Handler
	replay http.Handler // of ranges of time
	frames http.Handler
	dash   http.Handler // of manifests
	push   http.Handler // of bodies to publish
	keys   http.Handler // of encrypted streams
	feeds  *feed.Handler
	files  *frames.Files
}

// names returns what can be watched, by name: streams, and sources that a viewer starts.
func (x *routes) names() []string {
	names := x.hub.Names()
	for _, s := range x.pulled.List() {
		if s.OnDemand {
			names = append(names, s.Name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// handler routes: pages, what is below a stream's name, and bodies to publish.
func (x *routes) handler() http.Handler {
	pages := web.New()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { pages.Home(w, x.home(r.Host)) })
	mux.HandleFunc("GET /favicon.ico", pages.Icon)
	mux.HandleFunc("GET /hls.min.js", pages.HLSScript)
	mux.HandleFunc("GET /mpegts.js", pages.FLVScript)
	mux.HandleFunc("GET /frames.js", pages.FramesScript)
	mux.Handle("PUT /", x.push)
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		if keys.Serves(r.URL.Path) { // of ClearKey
			x.keys.ServeHTTP(w, r)
			return
		}
		x.push.ServeHTTP(w, r)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name, isPage := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/")
		framesOf, isFrames := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/frames.html")
		switch {
		case replay.Serves(r):
			x.replay.ServeHTTP(w, r)
		case x.feeds.Serves(r.URL.Path):
			x.feeds.ServeHTTP(w, r)
		case keys.Serves(r.URL.Path):
			x.keys.ServeHTTP(w, r)
		case frames.Serves(r.URL.Path):
			x.frames.ServeHTTP(w, r)
		case isPage && live.CheckName(name) == nil:
			pages.Player(w, name, x.hub.Known(name)) // also before the stream begins: it waits
		case isFrames && !x.hub.Known(framesOf) && x.files.Has(framesOf):
			pages.Frames(w, framesOf, false)
		case isFrames && live.CheckName(framesOf) == nil:
			pages.Frames(w, framesOf, true)
		case x.hub.Known(strings.TrimPrefix(r.URL.Path, "/")):
			http.Redirect(w, r, r.URL.Path+"/", http.StatusFound)
		case dash.Owns(r.URL.Path):
			x.dash.ServeHTTP(w, r)
		default:
			x.hls.ServeHTTP(w, r)
		}
	})
	return asNamed(mux)
}

// asNamed answers paths with "..", "." or "//" in them, which name nothing; net/http would
// redirect them to what they do not name.
func asNamed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := r.URL.Path
		clean := path.Clean(p)
		if p != clean && p != clean+"/" {
			code := http.StatusNotFound
			if r.Method == http.MethodPut || r.Method == http.MethodPost {
				code = http.StatusBadRequest
			}
			httpio.Fail(w, code, "not a name")
			return
		}
		h.ServeHTTP(w, r)
	})
}
