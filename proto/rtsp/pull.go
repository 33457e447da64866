package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
)

// PullConfig says how to pull. The zero value of each field is the default named.
type PullConfig struct {
	// Transport is "tcp", "udp", or empty: UDP, and TCP where none of it arrives.
	Transport string
	// Dial connects; nil: a net.Dialer does. Resolve returns a host's address for
	// UDP; nil: net.ResolveIPAddr does.
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Resolve func(ctx context.Context, host string) (netip.Addr, error)

	TLS         *tls.Config   // of rtsps; nil: the system's
	IdleTimeout time.Duration // without any packet; 0: DefaultIdleTimeout
	MaxQueue    int           // as Config.MaxQueue
}

// maxDials is how often a client may connect: for three redirects, and once more
// where UDP does not arrive.
const maxDials = 5

// Pulled is a stream of another server.
type Pulled struct {
	*stream
	client *gortsplib.Client
	ctx    context.Context // of the stream, whose cause ReadPacket returns
	stop   func() bool
	group  sync.WaitGroup
	once   sync.Once
}

var (
	_ av.Demuxer  = (*Pulled)(nil)
	_ av.Progress = (*Pulled)(nil)
	_ av.Warner   = (*Pulled)(nil)
)

// Pull begins to play an address, rtsp or rtsps. It returns once the server has
// agreed. ctx ends the stream too. The caller must Close it.
func Pull(ctx context.Context, u *url.URL, c PullConfig) (*Pulled, error) {
	address, err := base.ParseURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("rtsp: %w", err)
	}
	client, err := newClient(ctx, u, c)
	if err != nil {
		return nil, err
	}
	if err := client.Start(); err != nil {
		return nil, fmt.Errorf("rtsp: %w", err)
	}
	p := &Pulled{client: client, ctx: ctx, stop: context.AfterFunc(ctx, client.Close)}
	if err := p.play(address, c); err != nil {
		p.stop()
		client.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	p.group.Go(func() { p.queue.close(p.ending(client.Wait())) })
	return p, nil
}

func newClient(ctx context.Context, u *url.URL, c PullConfig) (*gortsplib.Client, error) {
	idle := c.IdleTimeout
	if idle == 0 {
		idle = DefaultIdleTimeout
	}
	client := &gortsplib.Client{
		Scheme: u.Scheme, Host: u.Host, ReadTimeout: idle, WriteTimeout: idle, TLSConfig: c.TLS, DialContext: counting(c.Dial), UserAgent: "cleave",
		OnPacketsLost: func(uint64) {}, OnDecodeError: func(error) {}, OnTransportSwitch: func(error) {}, // the assembler sees them itself
	}
	switch c.Transport {
	case "":
	case "tcp":
		t := gortsplib.ProtocolTCP
		client.Protocol = &t
	case "udp":
		t := gortsplib.ProtocolUDP
		client.Protocol = &t
	default:
		return nil, fmt.Errorf("rtsp: transport %q, not tcp or udp", c.Transport)
	}
	if c.Resolve != nil {
		client.ResolveIPAddr = func(_, host string) (*net.IPAddr, error) {
			a, err := c.Resolve(ctx, host)
			return &net.IPAddr{IP: a.AsSlice(), Zone: a.Zone()}, err
		}
	}
	return client, nil
}

// counting bounds how often dial is called.
func counting(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var n atomic.Int32
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if n.Add(1) > maxDials {
			return nil, errors.New("rtsp: too many redirects")
		}
		return dial(ctx, network, address)
	}
}

// errStatus is a server's answer that is not 200.
type errStatus struct {
	method string
	code   base.StatusCode
	err    error
}

func (e *errStatus) Error() string { return fmt.Sprintf("rtsp: %s: %v", e.method, e.err) }
func (e *errStatus) Unwrap() error { return e.err }

// Answer is the status, which may be shown to anybody.
func (e *errStatus) Answer() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", e.code, http.StatusText(int(e.code))))
}

// failed says which method was answered with an error.
func failed(method string, err error) error {
	var status liberrors.ErrClientBadStatusCode
	if errors.As(err, &status) {
		return &errStatus{method, status.Code, err}
	}
	return fmt.Errorf("rtsp: %s: %w", method, err)
}

// play asks for the description and has every medium of it sent.
func (p *Pulled) play(address *base.URL, c PullConfig) error {
	d, _, err := p.client.Describe(address)
	if err != nil {
		return failed("DESCRIBE", err)
	}
	limit := c.MaxQueue
	if limit == 0 {
		limit = DefaultMaxQueue
	}
	var formats []format.Format
	if p.stream, formats, err = newStream(d, limit); err != nil {
		return err
	}
	if err := p.client.SetupAll(d.BaseURL, d.Medias); err != nil {
		return failed("SETUP", err)
	}
	for i, m := range d.Medias {
		// The client's goroutines are its own: they may wait.
		p.client.OnPacketRTP(m, formats[i], func(pkt *rtp.Packet) { p.packet(i, pkt, true) })
		p.client.OnPacketRTCP(m, func(pkt rtcp.Packet) { p.control(i, pkt, true) })
	}
	if _, err := p.client.Play(nil); err != nil {
		return failed("PLAY", err)
	}
	return nil
}

// ending is how the client's end is told to ReadPacket.
func (p *Pulled) ending(err error) error {
	switch {
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case err == nil, errors.Is(err, io.EOF):
		return io.EOF
	}
	return fmt.Errorf("rtsp: %w", err)
}

// ReadPacket implements av.Demuxer. io.EOF means that the server has closed the
// connection. Other errors: fs.ErrClosed after Close, the cause of Pull's context,
// the connection's, and an *av.Error where no track can be read.
func (p *Pulled) ReadPacket(a av.Allocator) (av.Packet, error) { return p.read(a) }

// Close implements av.Demuxer: it ends the session.
func (p *Pulled) Close() error {
	p.once.Do(func() {
		p.queue.close(fs.ErrClosed)
		p.stop()
		p.client.Close()
		p.group.Wait()
	})
	return nil
}
