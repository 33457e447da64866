package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/cleave-video/cleave/internal/tcpinfo"
)

// silent are connections on which nothing was asked for yet, as browsers open them ahead.
// http.Server.Shutdown takes them for busy for five seconds; here the end closes them.
type silent struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool
}

// state is http.Server.ConnState.
func (s *silent) state(c net.Conn, to http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case to != http.StateNew:
		delete(s.conns, c)
	case s.ended:
		c.Close()
	default:
		if s.conns == nil {
			s.conns = make(map[net.Conn]struct{})
		}
		s.conns[c] = struct{}{}
	}
}

// end closes those that there are, and those to come.
func (s *silent) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.conns {
		c.Close()
	}
}

// shut is how long a client of HTTP/2 may take nothing at all of what comes. The deadlines of
// its streams do not end a write to the connection, which all of them wait for.
const shut = 20 * time.Second

// limitShut is http.Server.ConnState.
func limitShut(c net.Conn, to http.ConnState) {
	if x, ok := c.(*tls.Conn); ok && to == http.StateActive && x.ConnectionState().NegotiatedProtocol == "h2" {
		_ = tcpinfo.SetUserTimeout(c, shut) // a connection that is gone needs none
	}
}
