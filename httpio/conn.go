package httpio

import (
	"context"
	"net"
	"net/http"

	"github.com/cleave-video/cleave/internal/tcpinfo"
)

// connKey is the key of a request's connection.
type connKey struct{}

// WithConn is a ConnContext of http.Server: with it a Response knows the connection also
// where it is not its own.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection of a request; nil: not known.
func connOf(ctx context.Context) net.Conn {
	c, _ := ctx.Value(connKey{}).(net.Conn)
	return c
}

// coalesced returns the Coalesced below c; nil: there is none.
func coalesced(c net.Conn) *Coalesced {
	for {
		if x, ok := c.(*Coalesced); ok {
			return x
		}
		x, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		c = x.NetConn()
	}
}

// reset ends the TCP connection below c so that the client sees that something is missing
// where the end of the connection is the end of the body, too: without the last alert of
// TLS, by which it would be whole.
func reset(c net.Conn) {
	if tcp, ok := tcpinfo.Below(c).(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
	}
}

// abort ends the answer to r, which net/http frames, and the handler.
func abort(r *http.Request) {
	if !r.ProtoAtLeast(1, 1) {
		reset(connOf(r.Context()))
	}
	panic(http.ErrAbortHandler) // net/http knows it: it sends no last chunk, and resets the stream of HTTP/2
}
