// Package server turns a configuration into a running system. It is the only
// package that knows every implementation.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cleave-video/cleave/deliver/feed"
	"github.com/cleave-video/cleave/deliver/flv"
	"github.com/cleave-video/cleave/deliver/hls"
	"github.com/cleave-video/cleave/deliver/ts"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/proto/rtmp"
	"github.com/cleave-video/cleave/store/disk"
	"github.com/cleave-video/cleave/web"
)

// Defaults of Config.
const (
	DefaultHTTP = ":8080"
	DefaultRTMP = ":1935"
	DefaultData = "data"
)

// Config is what a server is made of. The zero value of each field is the default
// named in its constant.
type Config struct {
	HTTP string // address of delivery; DefaultHTTP
	RTMP string // address of RTMP; DefaultRTMP
	Data string // folder of the chunks; DefaultData
	Live live.Config
	Log  *slog.Logger
	// Ready is called once both addresses are listened to.
	Ready func(http, rtmp net.Addr)
}

// httpDrain is how long answers under way may take after the end was asked for.
const httpDrain = 5 * time.Second

func (c *Config) defaults() {
	for _, f := range []struct {
		s *string
		v string
	}{{&c.HTTP, DefaultHTTP}, {&c.RTMP, DefaultRTMP}, {&c.Data, DefaultData}} {
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
	c.Live.Store, c.Live.Log = st, c.Log
	hub, err := live.NewHub(c.Live)
	if err != nil {
		return err
	}
	defer hub.Close()
	web, err := net.Listen("tcp", c.HTTP)
	if err != nil {
		return fmt.Errorf("server: HTTP: %w", err)
	}
	pub, err := net.Listen("tcp", c.RTMP)
	if err != nil {
		web.Close()
		return fmt.Errorf("server: RTMP: %w", err)
	}
	if c.Ready != nil {
		c.Ready(web.Addr(), pub.Addr())
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return hub.Run(ctx) })
	group.Go(func() error { return (&rtmp.Server{Config: publishing(hub, c.Log)}).Serve(ctx, pub) })
	feeds := feed.New(feed.Config{Hub: hub, Formats: []feed.Format{flv.Format(), ts.Format()}})
	group.Go(func() error {
		return serveHTTP(ctx, web, handler(hub, hls.New(hls.Config{Hub: hub, Store: st}), feeds))
	})
	group.Go(func() error {
		<-ctx.Done()
		feeds.Close() // their connections are not net/http's any more
		return nil
	})
	return group.Wait()
}

// publishing gives RTMP's publishers to the hub.
func publishing(hub *live.Hub, log *slog.Logger) rtmp.Config {
	return rtmp.Config{Log: log, Play: playing(hub), Publish: func(ctx context.Context, p *rtmp.Publisher) error {
		err := hub.Publish(ctx, p.Name(), p)
		switch {
		case errors.Is(err, live.ErrTaken), errors.Is(err, live.ErrName):
			return &rtmp.Refused{Code: rtmp.BadName, Description: err.Error()}
		case errors.Is(err, live.ErrCrowded):
			return &rtmp.Refused{Code: rtmp.Denied, Description: err.Error()}
		}
		return err
	}}
}

// playing sends RTMP's players what the hub has. A stream that is not there yet is
// not waited for: players ask again.
func playing(hub *live.Hub) func(ctx context.Context, p *rtmp.Player) error {
	return func(ctx context.Context, p *rtmp.Player) error {
		s := hub.Lookup(p.Name())
		if s == nil {
			return &rtmp.Refused{Code: rtmp.NotFound, Description: "no such stream"}
		}
		v := s.Watch(fmt.Sprintf("rtmp%d", p.Stream()), func() live.Renderer { return rtmp.NewRenderer(p.Stream()) })
		defer v.Close()
		return p.Start(ctx, func(ctx context.Context) error {
			if err := v.Send(ctx, p); !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		})
	}
}

// serveHTTP serves on l until ctx is done.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
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
	err := s.Serve(l)
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-done
}

// handler routes: pages, and what is below a stream's name.
func handler(hub *live.Hub, streams http.Handler, feeds *feed.Handler) http.Handler {
	pages := web.New()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		names := hub.Names()
		slices.Sort(names)
		pages.Home(w, names)
	})
	mux.HandleFunc("GET /hls.min.js", pages.Script)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		name, isPage := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/")
		s, format := feeds.Find(r.URL.Path)
		switch {
		case s != nil && format != nil:
			feeds.ServeHTTP(w, r)
		case isPage && live.CheckName(name) == nil:
			pages.Player(w, name) // also before the stream begins: it waits
		case hub.Lookup(strings.TrimPrefix(r.URL.Path, "/")) != nil:
			http.Redirect(w, r, r.URL.Path+"/", http.StatusFound)
		default:
			streams.ServeHTTP(w, r)
		}
	})
	return mux
}
