package srt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/datarhei/gosrt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/ts"
)

// ErrTimeout is a server that does not answer.
var ErrTimeout = fmt.Errorf("srt: no answer: %w", os.ErrDeadlineExceeded)

// DefaultTimeout is how long a server may take to answer.
const DefaultTimeout = 3 * time.Second

// PullConfig says how to pull. The zero value of each field is the default named.
type PullConfig struct {
	// Resolve returns a host's address; nil: the system does.
	Resolve     func(ctx context.Context, host string) (netip.Addr, error)
	Timeout     time.Duration // for a connection; 0: DefaultTimeout
	IdleTimeout time.Duration // without data; 0: DefaultIdleTimeout
	MaxUnit     int           // as Config.MaxUnit
	MaxBuffer   int64         // as Config.MaxBuffer
}

// Pulled is a stream that a server sends to its caller. It belongs to one goroutine,
// except Close and Progress. Its packets are those of ts.Demuxer.
type Pulled struct {
	*ts.Demuxer
	conn   srt.Conn
	bridge *bridge
	in     feed
	watch  sync.WaitGroup
	quit   chan struct{}
	once   sync.Once
}

var (
	_ av.Demuxer  = (*Pulled)(nil)
	_ av.Progress = (*Pulled)(nil)
	_ av.Warner   = (*Pulled)(nil)
)

// Pull calls srt://HOST:PORT?streamid=…&passphrase=…&latency=MILLISECONDS. It returns
// once the server has agreed or refused, then after PullConfig.Timeout. ctx ends the
// stream too. The caller must Close it. Errors: *Refused, ErrTimeout.
func Pull(ctx context.Context, u *url.URL, c PullConfig) (*Pulled, error) {
	sc, err := callerConfig(u)
	if err != nil {
		return nil, err
	}
	sc.ConnectionTimeout = orDefault(c.Timeout, DefaultTimeout) + giveUpAfter
	to, err := c.address(ctx, u)
	if err != nil {
		return nil, err
	}
	b, err := newBridge(ctx, to, sc.ConnectionTimeout-giveUpAfter)
	if err != nil {
		return nil, err
	}
	var trying sync.WaitGroup
	trying.Go(b.connect)
	conn, err := srt.Dial("srt", b.inner.LocalAddr().String(), sc)
	if err != nil {
		if why := b.why(); why != nil {
			err = why
		}
		b.Close()
		trying.Wait()
		return nil, err
	}
	trying.Wait()
	p := &Pulled{conn: conn, bridge: b, quit: make(chan struct{})}
	p.in.ctx, p.in.conn = ctx, conn
	p.Demuxer = ts.NewDemuxer(&p.in)
	p.Demuxer.MaxUnit = orDefault(c.MaxUnit, DefaultMaxUnit)
	g := guard{orDefault(c.IdleTimeout, DefaultIdleTimeout), orDefault(c.MaxBuffer, DefaultMaxBuffer)}
	p.watch.Go(func() { g.watch(ctx, conn, &p.in, p.quit) })
	return p, nil
}

// callerConfig reads the query of an address. A key that is not known is an error.
func callerConfig(u *url.URL) (srt.Config, error) {
	sc := srt.DefaultConfig()
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return sc, fmt.Errorf("srt: %w", err)
	}
	for key, values := range q {
		v := values[len(values)-1]
		switch key {
		case "streamid":
			sc.StreamId = v
		case "passphrase":
			sc.Passphrase = v
		case "latency":
			ms, err := strconv.ParseUint(v, 10, 16)
			if err != nil {
				return sc, fmt.Errorf("srt: latency=%q is no number of milliseconds", v)
			}
			sc.ReceiverLatency = time.Duration(ms) * time.Millisecond
		case "mode":
			if v != "caller" {
				return sc, fmt.Errorf("srt: mode=%s is not offered, only caller", v)
			}
		default:
			return sc, fmt.Errorf("srt: %s= is not known, only streamid, passphrase, latency and mode", key)
		}
	}
	return sc, sc.Validate()
}

func (c *PullConfig) address(ctx context.Context, u *url.URL) (*net.UDPAddr, error) {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || port == 0 || u.Hostname() == "" {
		return nil, fmt.Errorf("srt: %q is not srt://HOST:PORT", u.Redacted())
	}
	if c.Resolve == nil {
		return net.ResolveUDPAddr("udp", u.Host)
	}
	ip, err := c.Resolve(ctx, u.Hostname())
	if err != nil {
		return nil, err
	}
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(port))), nil
}

// ReadPacket implements av.Demuxer. io.EOF means that the server has closed the
// connection, or was silent for five seconds. Other errors: fs.ErrClosed after
// Close, the cause of Pull's context, ErrIdle, ErrBuffer, and ts.Demuxer's.
func (p *Pulled) ReadPacket(a av.Allocator) (av.Packet, error) { return p.Demuxer.ReadPacket(a) }

// Close implements av.Demuxer: it closes the connection.
func (p *Pulled) Close() error {
	p.once.Do(func() {
		close(p.quit)
		p.watch.Wait()
		p.in.fail(fs.ErrClosed)
		p.Demuxer.Close()
		p.conn.Close()
		p.reap()
		p.bridge.Close()
	})
	return nil
}

// reap takes the last word of the goroutine that reads the library's socket, which
// waits to be asked for it.
func (p *Pulled) reap() {
	var b [2048]byte
	for range 200 {
		if _, err := p.conn.Read(b[:]); err != nil && !errors.Is(err, io.EOF) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
