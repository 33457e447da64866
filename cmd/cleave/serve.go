package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cleave-video/cleave/internal/size"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/server"
)

// serveCommand: what it leaves open the configuration file says, and else the
// defaults of server.Config.
type serveCommand struct {
	Config string `env:"CLEAVE_CONFIG" type:"path" placeholder:"FILE" help:"Configuration file, YAML. Flags go before it."`

	HTTP  string `name:"http" placeholder:"ADDRESS" help:"Where to serve HTTP and to take HTTP publishers, or off (:8080)."`
	RTMP  string `name:"rtmp" placeholder:"ADDRESS" help:"Where to take RTMP publishers, or off (:1935)."`
	SRT   string `name:"srt" placeholder:"ADDRESS" help:"Where SRT publishers and readers call, by UDP, or off (:8890)."`
	RTSP  string `name:"rtsp" placeholder:"ADDRESS" help:"Where RTSP publishers and players call, or off (:8554)."`
	RTP   string `name:"rtsp-udp" placeholder:"ADDRESS" help:"Where to take the media of RTSP by UDP: an even port and the next, or off (:8000)."`
	Admin string `name:"admin" placeholder:"ADDRESS" help:"Where to serve the administration, or off (127.0.0.1:9080)."`

	TLSCert string `name:"tls-cert" type:"path" placeholder:"FILE" help:"Certificate chain, PEM. With it there are HTTPS, RTMPS and RTSPS, too."`
	TLSKey  string `name:"tls-key" type:"path" placeholder:"FILE" help:"Its key, PEM."`
	HTTPS   string `name:"https" placeholder:"ADDRESS" help:"Where to serve HTTPS, or off (:8443)."`
	RTMPS   string `name:"rtmps" placeholder:"ADDRESS" help:"Where to take RTMPS publishers, or off (:1936)."`
	RTSPS   string `name:"rtsps" placeholder:"ADDRESS" help:"Where to take RTSPS publishers, or off (:8322)."`

	SRTPassphrase string        `name:"srt-passphrase" env:"CLEAVE_SRT_PASSPHRASE" placeholder:"TEXT" help:"Passphrase of every SRT publisher and reader."`
	SRTLatency    time.Duration `name:"srt-latency" help:"How long SRT waits for lost packets (120ms)."`
	AllowPrivate  bool          `name:"allow-private" help:"Declared sources may be on loopback and private addresses."`

	OnDemandTimeout time.Duration `name:"on-demand-timeout" help:"How long a viewer waits for a source that the first one starts (10s)."`
	OnDemandIdle    time.Duration `name:"on-demand-idle" help:"How long such a source goes on when the last viewer has gone (10s)."`

	Data     string        `env:"CLEAVE_DATA" type:"path" placeholder:"DIR" help:"Folder of the chunks (./data)."`
	Spool    string        `type:"path" placeholder:"DIR" help:"Folder that chunks are put into at once, and brought from to where they are kept (+spool in the folder of the chunks if these are kept in S3, else none)."`
	Target   time.Duration `help:"Chunk length aimed at; key frames decide (2s)."`
	MaxChunk time.Duration `help:"Longest chunk, whatever the key frames do (10s)."`
	Window   time.Duration `help:"Length of the live playlists (1m)."`
	Grace    time.Duration `help:"How long a stream waits for its publisher to return before it ends (30s)."`

	Retain      time.Duration `placeholder:"DURATION" help:"How long chunks are kept that have left the window; without it, and without retain-bytes, they go with it."`
	RetainBytes size.Bytes    `placeholder:"SIZE" help:"How many bytes of each stream are kept."`

	Part         time.Duration `help:"Length of the parts of low latency aimed at; whole frames decide (200ms)."`
	LowLatency   bool          `default:"true" negatable:"" help:"List parts in playlists (LL-HLS)."`
	Takeover     bool          `help:"Let a second publisher of a name end the first, instead of refusing it."`
	Memory       size.Bytes    `placeholder:"SIZE" help:"Payload in memory, of all streams (512MiB)."`
	StreamMemory size.Bytes    `placeholder:"SIZE" help:"Payload in memory of one stream (128MiB)."`
	Streams      int           `placeholder:"N" help:"Publishers at a time (256)."`
	PerAddress   int           `name:"streams-per-address" placeholder:"N" help:"Of them from one address (half of them)."`
	Viewers      int           `placeholder:"N" help:"Viewers of packets at a time, of all streams (10000)."`
	ViewersEach  int           `name:"viewers-per-address" placeholder:"N" help:"Of them from one address; a proxy's is that of many (half of them)."`
	Waiting      int           `placeholder:"N" help:"HTTP requests at a time that wait for the next part, frame or stream (20000)."`
	WaitingEach  int           `name:"waiting-per-address" placeholder:"N" help:"Of them from one address; a proxy's is that of many (half of them)."`
	Viewer       size.Bytes    `placeholder:"SIZE" help:"How far a viewer of packets may be behind before it jumps (4MiB)."`

	EncodeHeight  int            `name:"encode-height" placeholder:"LINES" help:"Make a smaller rendition of every stream's video, so high; without low latency only."`
	EncodeBitrate server.BitRate `name:"encode-bitrate" placeholder:"RATE" help:"Bits a second that it does not exceed, as 600k."`

	Responses     map[string]string `placeholder:"KIND=STRATEGY;..." help:"How answers without a known end are written: feed, frames, parts; direct, buffered, adaptive."`
	WriteDeadline time.Duration     `name:"write-deadline" help:"How long a client may take for a write of such an answer (5s)."`
	TLSCoalesce   bool              `name:"tls-coalesce" default:"true" negatable:"" help:"Write several records of TLS by one system call."`

	liveKeyFlags `group:"encryption"`

	Demo bool `help:"Publish a test picture to this server as live/demo."`
}

// config puts flags before the file.
func (c *serveCommand) config() (server.Config, error) {
	s := server.Config{
		HTTP: c.HTTP, RTMP: c.RTMP, SRT: c.SRT, RTSP: c.RTSP, RTP: c.RTP, Admin: c.Admin, HTTPS: c.HTTPS, RTMPS: c.RTMPS, RTSPS: c.RTSPS,
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, SRTPassphrase: c.SRTPassphrase, SRTLatency: c.SRTLatency, AllowPrivate: c.AllowPrivate, Data: c.Data, Spool: c.Spool,
		OnDemandTimeout: c.OnDemandTimeout, OnDemandIdle: c.OnDemandIdle,
		Responses: c.Responses, WriteDeadline: c.WriteDeadline, EachRecord: !c.TLSCoalesce,
		Live: live.Config{
			Target: c.Target, Part: c.Part, MaxChunk: c.MaxChunk, Window: c.Window, Grace: c.Grace, Takeover: c.Takeover,
			Streams: c.Streams, PerAddress: c.PerAddress, Viewers: c.Viewers, ViewersPerAddress: c.ViewersEach, Waiting: c.Waiting, WaitingPerAddress: c.WaitingEach,
			Memory: int64(c.Memory), StreamMemory: int64(c.StreamMemory), Viewer: int64(c.Viewer),
		},
	}
	if c.Retain != 0 || c.RetainBytes != 0 {
		s.Retention = []server.Retention{{Age: c.Retain, Bytes: c.RetainBytes}}
	}
	var err error
	if s.Encryption, err = c.liveKeyFlags.encryption(); err != nil {
		return s, &usageError{err}
	}
	if c.EncodeHeight != 0 || c.EncodeBitrate != 0 {
		s.Encode = &server.Encode{Height: c.EncodeHeight, Bitrate: c.EncodeBitrate}
	}
	if c.Config != "" {
		f, err := server.ReadFile(c.Config)
		if err != nil {
			return s, &usageError{err}
		}
		f.Apply(&s)
	}
	if !c.LowLatency {
		s.Live.Part = -1
	}
	if err := s.Validate(); err != nil {
		return s, &usageError{err}
	}
	return s, nil
}

// Run serves until it is interrupted.
func (c *serveCommand) Run(ctx context.Context) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	group, ctx := errgroup.WithContext(ctx)
	ready := func(at server.Addrs) {
		announce(at)
		if !c.Demo || at.RTMP == nil || at.HTTP == nil {
			return
		}
		base := "http://" + reachable(at.HTTP)
		fmt.Printf("\nThe demonstration plays at  %s/live/demo/\n", base)
		group.Go(func() error {
			if err := server.Demo(ctx, "rtmp://"+reachable(at.RTMP)+"/live/demo", log); err != nil {
				log.Error("no demonstration", "error", err) // the server is of use without it
			}
			return nil
		})
	}
	cfg.Log, cfg.Ready = log, ready
	group.Go(func() error { return server.Run(ctx, cfg) })
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
		{at.HTTP, "http://%s/live/NAME.ts (PUT or POST; .flv, .mp4)"},
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
