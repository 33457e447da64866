// Package rtmp receives, sends and publishes live streams by RTMP and Enhanced
// RTMP. Server accepts publishers, each of which is an av.Demuxer, and players;
// Client publishes what an av.Demuxer gives; Pull plays from other servers.
//
// Adobe RTMP 1.0 ("RTMP"), Enhanced RTMP v2 ("E-RTMP").
package rtmp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// Defaults of Config.
const (
	DefaultHandshakeTimeout = 5 * time.Second
	DefaultCommandTimeout   = 10 * time.Second
	DefaultIdleTimeout      = 10 * time.Second
	DefaultMaxUnit          = 8 << 20
	DefaultMaxConns         = 1024
	DefaultMaxPending       = 64
)

// MaxUnit is the most that Config.MaxUnit may be: what a message can hold.
const MaxUnit = 1<<24 - 1

const (
	writeTimeout = 5 * time.Second
	lingerTime   = time.Second
	lingerBytes  = 1 << 20
)

// Config says how a Server treats its connections. Publish is required; the zero
// value of each other field is the default named.
type Config struct {
	// Publish is called for every publisher, on its connection's goroutine. It
	// reads p until it ends and returns; then the connection is closed. ctx is
	// Serve's. To refuse p it returns a *Refused before it has read.
	Publish func(ctx context.Context, p *Publisher) error

	// Play is called for every client that plays, on its connection's goroutine; it
	// calls p.Start, or returns a *Refused to turn p away. Nil: playing is refused.
	Play func(ctx context.Context, p *Player) error

	HandshakeTimeout time.Duration // from the connect; 0: DefaultHandshakeTimeout
	CommandTimeout   time.Duration // from the connect to the publish command; 0: DefaultCommandTimeout
	IdleTimeout      time.Duration // without any byte while publishing; 0: DefaultIdleTimeout
	MaxUnit          int           // bytes of a video message; 0: DefaultMaxUnit, at most MaxUnit
	MaxConns         int           // connections at a time; 0: DefaultMaxConns
	MaxPending       int           // connections of one address that do not publish; 0: DefaultMaxPending

	// Log gets a line for each connection that ends; nil: none.
	Log *slog.Logger
}

// Validate reports what is wrong with c.
func (c Config) Validate() error {
	switch {
	case c.Publish == nil:
		return errors.New("rtmp: Config.Publish is nil")
	case c.HandshakeTimeout < 0 || c.CommandTimeout < 0 || c.IdleTimeout < 0:
		return errors.New("rtmp: a timeout is negative")
	case c.MaxUnit < 0 || c.MaxUnit > MaxUnit:
		return fmt.Errorf("rtmp: Config.MaxUnit is %d, not 0 to %d", c.MaxUnit, MaxUnit)
	case c.MaxConns < 0 || c.MaxPending < 0:
		return errors.New("rtmp: a number of connections is negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.HandshakeTimeout = orDefault(c.HandshakeTimeout, DefaultHandshakeTimeout)
	c.CommandTimeout = orDefault(c.CommandTimeout, DefaultCommandTimeout)
	c.IdleTimeout = orDefault(c.IdleTimeout, DefaultIdleTimeout)
	c.MaxUnit = orDefault(c.MaxUnit, DefaultMaxUnit)
	c.MaxConns = orDefault(c.MaxConns, DefaultMaxConns)
	c.MaxPending = orDefault(c.MaxPending, DefaultMaxPending)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T int | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// Refused is what Config.Publish and Config.Play return to turn a client away. The client is
// told both.
type Refused struct {
	Code        string // BadName, Denied, or another of NetStream's codes
	Description string
}

// Codes of a Refused.
const (
	BadName = "NetStream.Publish.BadName" // the name is taken or not valid
	Denied  = "NetStream.Publish.Denied"
)

func (r *Refused) Error() string { return "rtmp: refused: " + r.Code + ": " + r.Description }

// Answer is the code, if it is one of RTMP's and not a text that a server has chosen.
func (r *Refused) Answer() string {
	switch r.Code {
	case NotFound, PlayFailed, BadName, Denied, "NetConnection.Connect.Rejected", "NetConnection.Connect.InvalidApp", "NetConnection.Connect.Closed":
		return r.Code
	}
	return "with an error"
}

// ErrCrowded is logged for a connection over MaxConns or MaxPending.
var ErrCrowded = errors.New("rtmp: too many connections")

// Server accepts publishers. Its Config must not change while it serves.
type Server struct {
	Config
}

// Serve accepts connections of l, which may be of TLS, until ctx is done or l
// fails; it closes l. When ctx is done connections are closed too, so that
// ReadPacket returns ctx's cause. Serve returns when every connection and every
// Publish has ended: nil if ctx was done, else l's error or Validate's.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if err := s.Validate(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	g := gate{config: s.withDefaults(), pending: map[string]int{}}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	for {
		c, err := accept(ctx, l)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("rtmp: accept: %w", err)
		}
		from := host(c.RemoteAddr())
		if !g.enter(from) {
			g.config.Log.Info("rtmp connection refused", "remote", c.RemoteAddr().String(), "err", ErrCrowded)
			c.Close()
			continue
		}
		group.Go(func() {
			defer g.leave()
			serveConn(ctx, &g, from, c)
		})
	}
}

// accept waits and tries again where the fault is one that passes, such as too
// many open files.
func accept(ctx context.Context, l net.Listener) (net.Conn, error) {
	for delay := 5 * time.Millisecond; ; delay = min(2*delay, time.Second) {
		c, err := l.Accept()
		if err == nil {
			return c, nil
		}
		var t interface{ Temporary() bool }
		if ctx.Err() != nil || !errors.As(err, &t) || !t.Temporary() {
			return nil, err
		}
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// host is what connections are counted by.
func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}

// gate counts connections.
type gate struct {
	config Config

	mu      sync.Mutex // guards what follows
	open    int
	pending map[string]int
}

func (g *gate) enter(from string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open >= g.config.MaxConns || g.pending[from] >= g.config.MaxPending {
		return false
	}
	g.open++
	g.pending[from]++
	return true
}

// settled says that a connection is no longer pending.
func (g *gate) settled(from string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pending[from]--; g.pending[from] == 0 {
		delete(g.pending, from)
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
}

// serveConn does everything for one connection.
func serveConn(ctx context.Context, g *gate, from string, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	defer c.Close()
	t := &timedConn{Conn: c, idle: g.config.IdleTimeout}
	s := newSession(t, t, g.config.MaxUnit)
	defer s.in.close()
	s.plays = g.config.Play != nil
	r, err := s.open(t, g.config)
	g.settled(from)
	switch {
	case err != nil:
	case r.pub != nil:
		r.pub.remote, r.pub.closer, r.pub.ctx = c.RemoteAddr(), c, ctx
		err = publish(ctx, g.config, r.pub)
	default:
		r.play.conn, r.play.timed = c, t
		err = play(ctx, g.config, r.play)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	g.config.Log.Info("rtmp connection closed", "remote", c.RemoteAddr().String(), "name", r.name(), "bytes", s.in.received, "err", err)
}

// open does the handshake and the commands up to publish or play.
func (s *session) open(t *timedConn, c Config) (role, error) {
	start := time.Now()
	if err := t.until(start.Add(c.HandshakeTimeout)); err != nil {
		return role{}, err
	}
	if err := acceptHandshake(t); err != nil {
		return role{}, err
	}
	if err := t.until(start.Add(c.CommandTimeout)); err != nil {
		return role{}, err
	}
	r, err := s.negotiate()
	if err != nil {
		if len(s.out.buf) > 0 && s.out.flush() == nil {
			t.linger()
		}
		return role{}, err
	}
	return r, t.until(time.Time{})
}

// play calls Config.Play and tells a client that is turned away.
func play(ctx context.Context, c Config, p *Player) error {
	err := c.Play(ctx, p)
	var no *Refused
	if errors.As(err, &no) && !p.started {
		p.s.status(p.stream, "error", no.Code, no.Description)
		if p.s.out.flush() == nil {
			p.timed.linger()
		}
	}
	return err
}

// publish calls Config.Publish and tells the client how it ended.
func publish(ctx context.Context, c Config, p *Publisher) error {
	err := c.Publish(ctx, p)
	var no *Refused
	switch {
	case errors.As(err, &no) && !p.started:
		p.s.status(p.s.published, "error", no.Code, no.Description)
	case p.started && p.s.ended:
		p.s.status(p.s.published, "status", "NetStream.Unpublish.Success", "unpublished")
	default:
		return err
	}
	if p.s.out.flush() == nil {
		if t, ok := p.s.in.r.(*timedConn); ok {
			t.linger()
		}
	}
	return err
}

// timedConn gives reads and writes their deadlines.
type timedConn struct {
	net.Conn
	idle  time.Duration
	fixed bool // a deadline stands that reads do not move
}

// until sets one deadline for all reads to come; zero: each read has its own.
func (t *timedConn) until(at time.Time) error {
	t.fixed = !at.IsZero()
	return t.SetReadDeadline(at)
}

// forever takes the deadline from reads: who plays may have nothing to say.
func (t *timedConn) forever() {
	t.fixed = true
	_ = t.SetReadDeadline(time.Time{}) // what fails there fails at the read, too
}

func (t *timedConn) Read(b []byte) (int, error) {
	if !t.fixed {
		if err := t.SetReadDeadline(time.Now().Add(t.idle)); err != nil {
			return 0, err
		}
	}
	return t.Conn.Read(b)
}

func (t *timedConn) Write(b []byte) (int, error) {
	if err := t.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return t.Conn.Write(b)
}

// linger lets the client read the last words and close: closing a connection whose
// input was not read resets it, and some clients call it an error when the server
// closes first.
func (t *timedConn) linger() {
	if t.until(time.Now().Add(lingerTime)) == nil {
		io.CopyN(io.Discard, t.Conn, lingerBytes)
	}
}
