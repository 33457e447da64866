package server

import (
	"net"
	"net/http"
	"sync"
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
