package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/server"
)

type serveCommand struct {
	HTTP     string        `name:"http" default:":8080" placeholder:"ADDRESS" help:"Where to serve HTTP."`
	RTMP     string        `name:"rtmp" default:":1935" placeholder:"ADDRESS" help:"Where to take RTMP publishers, or off."`
	SRT      string        `name:"srt" default:":8890" placeholder:"ADDRESS" help:"Where to take SRT publishers (UDP), or off."`
	RTSP     string        `name:"rtsp" default:":8554" placeholder:"ADDRESS" help:"Where to take RTSP publishers, or off."`
	RTP      string        `name:"rtsp-udp" default:":8000" placeholder:"ADDRESS" help:"Where to take the media of RTSP by UDP: an even port and the next, or off."`
	Data     string        `default:"data" env:"CLEAVE_DATA" placeholder:"DIR" help:"Folder of the chunks."`
	Target   time.Duration `default:"2s" help:"Chunk length aimed at; key frames decide."`
	MaxChunk time.Duration `default:"10s" help:"Longest chunk, whatever the key frames do."`
	Window   time.Duration `default:"1m" help:"Length of the live playlists."`
	Grace    time.Duration `default:"30s" help:"How long a stream waits for its publisher to return before it ends."`

	SRTPassphrase string        `name:"srt-passphrase" env:"CLEAVE_SRT_PASSPHRASE" placeholder:"TEXT" help:"Passphrase of every SRT publisher."`
	SRTLatency    time.Duration `name:"srt-latency" default:"120ms" help:"How long SRT waits for lost packets."`

	Demo bool `help:"Publish a test picture to this server as live/demo."`
}

// Run serves until it is interrupted.
func (c *serveCommand) Run(ctx context.Context) error {
	if c.Target < 100*time.Millisecond || c.MaxChunk < c.Target || c.Window < c.Target || c.Grace < 0 {
		return &usageError{fmt.Errorf("--target %v, --max-chunk %v, --window %v: 100ms <= target <= max-chunk, target <= window", c.Target, c.MaxChunk, c.Window)}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	group, ctx := errgroup.WithContext(ctx)
	ready := func(at server.Addrs) {
		base := "http://" + reachable(at.HTTP)
		announce(at)
		if !c.Demo {
			return
		}
		fmt.Printf("\nThe demonstration plays at  %s/live/demo/\n", base)
		group.Go(func() error {
			if err := server.Demo(ctx, "rtmp://"+reachable(at.RTMP)+"/live/demo", log); err != nil {
				log.Error("no demonstration", "error", err) // the server is of use without it
			}
			return nil
		})
	}
	group.Go(func() error {
		return server.Run(ctx, server.Config{
			HTTP: c.HTTP, RTMP: c.RTMP, SRT: c.SRT, RTSP: c.RTSP, RTP: c.RTP, Data: c.Data, Log: log, Ready: ready,
			SRTPassphrase: c.SRTPassphrase, SRTLatency: c.SRTLatency,
			Live: live.Config{Target: c.Target, MaxChunk: c.MaxChunk, Window: c.Window, Grace: c.Grace},
		})
	})
	return group.Wait()
}

// announce says where to publish and to watch.
func announce(at server.Addrs) {
	label := "Publish to "
	for _, l := range []struct {
		addr net.Addr
		form string
	}{
		{at.RTMP, "rtmp://%s/live/NAME"},
		{at.RTSP, "rtsp://%s/live/NAME"},
		{at.SRT, "srt://%s?streamid=publish:live/NAME"},
	} {
		if l.addr != nil {
			fmt.Printf(label+" "+l.form+"\n", reachable(l.addr))
			label = "        or "
		}
	}
	if at.HTTP != nil {
		fmt.Printf("Watch at    http://%s/live/NAME/\n", reachable(at.HTTP))
	}
}

// reachable is the address as a client on this machine writes it.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
