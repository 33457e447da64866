package httpio

import (
	"context"
	"net"
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
