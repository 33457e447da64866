package interop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/cleave-video/cleave/ingest/pull"
	"github.com/cleave-video/cleave/internal/testnet"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/server"
)

// name is that of the stream in each server.
const name = "live/cam"

// passphrase is that of the servers whose SRT is encrypted.
const passphrase = "correct-horse-battery"

// host is a server on free ports of the loopback, for one row.
type host struct {
	addrs  server.Addrs
	secret bool // SRT asks for the passphrase
	log    said
	stop   func()
}

// kind says what a server is started with.
type kind struct {
	secret bool // SRT has a passphrase
	tls    bool
	udp    bool   // RTSP by UDP
	source string // URL of a declared source, which becomes the stream
}

// newHost starts a server with its files below dir.
func newHost(ctx context.Context, dir string, k kind, pairs *testnet.Pairs) (*host, error) {
	const free = "127.0.0.1:0"
	h := &host{secret: k.secret}
	c := server.Config{
		HTTP: free, RTMP: free, SRT: free, RTSP: free, RTP: server.Off, Admin: free, HTTPS: free, RTMPS: free, RTSPS: free,
		Data: dir, AllowPrivate: true, Log: slog.New(slog.NewTextHandler(&h.log, nil)),
		Live: live.Config{Grace: time.Second},
	}
	if k.secret {
		c.SRTPassphrase = passphrase
	}
	if k.source != "" {
		c.Sources = []pull.Source{{Name: name, URL: k.source}}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var err error
	if k.tls {
		if c.TLSCert, c.TLSKey, err = testnet.Certificate(dir); err != nil {
			return nil, err
		}
	}
	if k.udp {
		if c.RTP, err = pairs.Next(); err != nil {
			return nil, err
		}
	}
	ready, ended := make(chan server.Addrs, 1), make(chan error, 1)
	c.Ready = func(a server.Addrs) { ready <- a }
	ctx, cancel := context.WithCancel(ctx)
	go func() { ended <- server.Run(ctx, c) }()
	h.stop = func() { cancel(); <-ended }
	select {
	case h.addrs = <-ready:
		return h, nil
	case err := <-ended:
		cancel()
		return nil, err
	}
}

func (h *host) http() string { return "http://" + h.addrs.HTTP.String() }
func (h *host) rtmp() string { return "rtmp://" + h.addrs.RTMP.String() + "/" + name }
func (h *host) srt() string  { return "srt://" + h.addrs.SRT.String() }
func (h *host) rtsp() string { return "rtsp://" + h.addrs.RTSP.String() + "/" + name }

// get returns the body at a path of the server, empty if that is not there.
func (h *host) get(ctx context.Context, path string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.http()+path, nil)
	if err != nil {
		return ""
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode != http.StatusOK {
		return ""
	}
	return string(b)
}

// begins waits until players find as many segments as they ask for, and returns the
// multivariant playlist.
func (h *host) begins(ctx context.Context, c Codec) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	rendition := "video0"
	if c.Video == "" {
		rendition = "audio0"
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if strings.Count(h.get(ctx, "/"+name+"/"+rendition+"/index.m3u8"), "#EXTINF") >= 3 {
			return h.get(ctx, "/"+name+"/index.m3u8"), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", fmt.Errorf("the stream does not begin: %w", ctx.Err())
		}
	}
}

// declare adds a source by the administration.
func (h *host) declare(ctx context.Context, url string) error {
	b, err := json.Marshal(map[string]string{"name": name, "url": url})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.addrs.Admin.String()+"/v1/streams", bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("%s: %s", res.Status, b)
	}
	return nil
}

// freePort returns an address of the loopback that nobody listened to just now.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
