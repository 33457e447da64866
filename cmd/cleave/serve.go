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
	HTTP         string        `name:"http" default:":8080" placeholder:"ADDRESS" help:"Where to serve HTTP."`
	RTMP         string        `name:"rtmp" default:":1935" placeholder:"ADDRESS" help:"Where to take RTMP publishers."`
	Data         string        `default:"data" env:"CLEAVE_DATA" placeholder:"DIR" help:"Folder of the chunks."`
	Target       time.Duration `default:"2s" help:"Chunk length aimed at; key frames decide."`
	Part         time.Duration `default:"200ms" help:"Length of the parts of low latency aimed at; whole frames decide."`
	LowLatency   bool          `default:"true" negatable:"" help:"List parts in playlists (LL-HLS)."`
	MaxChunk     time.Duration `default:"10s" help:"Longest chunk, whatever the key frames do."`
	Window       time.Duration `default:"1m" help:"Length of the live playlists."`
	Grace        time.Duration `default:"30s" help:"How long a stream waits for its publisher to return before it ends."`
	Takeover     bool          `help:"Let a second publisher of a name end the first, instead of refusing it."`
	Memory       int64         `default:"512" placeholder:"MIB" help:"Payload in memory, of all streams, in MiB."`
	StreamMemory int64         `default:"128" placeholder:"MIB" help:"Payload in memory of one stream, in MiB."`
	Viewer       int64         `default:"4" placeholder:"MIB" help:"How far a viewer of packets may be behind before it jumps, in MiB."`
	Demo         bool          `help:"Publish a test picture to this server as live/demo."`
}

// Run serves until it is interrupted.
func (c *serveCommand) Run(ctx context.Context) error {
	if c.Target < 100*time.Millisecond || c.MaxChunk < c.Target || c.Window < c.Target || c.Grace < 0 {
		return &usageError{fmt.Errorf("--target %v, --max-chunk %v, --window %v: 100ms <= target <= max-chunk, target <= window", c.Target, c.MaxChunk, c.Window)}
	}
	part := c.Part
	switch {
	case !c.LowLatency:
		part = -1
	case part < 100*time.Millisecond || part > c.Target/2:
		return &usageError{fmt.Errorf("--part %v: it must be 100ms to half of --target %v", part, c.Target)}
	}
	if c.Memory < 16 || c.StreamMemory < 8 || c.StreamMemory > c.Memory || c.Viewer < 1 || c.Viewer > c.StreamMemory/4 {
		return &usageError{fmt.Errorf("--memory %d, --stream-memory %d, --viewer %d: 16 <= memory, 8 <= stream-memory <= memory, 1 <= viewer <= stream-memory/4", c.Memory, c.StreamMemory, c.Viewer)}
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	group, ctx := errgroup.WithContext(ctx)
	ready := func(web, rtmp net.Addr) {
		base := "http://" + reachable(web)
		fmt.Printf("Publish to  rtmp://%s/live/NAME\nWatch at    %s/live/NAME/\n", reachable(rtmp), base)
		if !c.Demo {
			return
		}
		fmt.Printf("\nThe demonstration plays at  %s/live/demo/\n", base)
		group.Go(func() error {
			if err := server.Demo(ctx, "rtmp://"+reachable(rtmp)+"/live/demo", log); err != nil {
				log.Error("no demonstration", "error", err) // the server is of use without it
			}
			return nil
		})
	}
	group.Go(func() error {
		return server.Run(ctx, server.Config{
			HTTP: c.HTTP, RTMP: c.RTMP, Data: c.Data, Log: log, Ready: ready,
			Live: live.Config{
				Target: c.Target, Part: part, MaxChunk: c.MaxChunk, Window: c.Window, Grace: c.Grace, Takeover: c.Takeover,
				Memory: c.Memory << 20, StreamMemory: c.StreamMemory << 20, Viewer: c.Viewer << 20,
			},
		})
	})
	return group.Wait()
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
