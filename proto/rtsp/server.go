// Package rtsp receives and sends live streams by RTSP: Server accepts publishers
// (ANNOUNCE and RECORD; UDP, TCP, and TLS) and players, Pull reads from other servers.
// A Publisher and what Pull returns are av.Demuxers.
//
// RFC 2326
package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"

	"github.com/cleave-video/cleave/av"
)

// Defaults of Config.
const (
	DefaultIdleTimeout = 10 * time.Second
	DefaultMaxConns    = 1024
	DefaultMaxPlayers  = 768
	DefaultMaxQueue    = 8 << 20
)

// Config says how a Server treats its sessions. Publish is required; the zero value
// of each other field is the default named.
type Config struct {
	// Publish is called for every publisher, on a goroutine of its own. It reads p
	// until it ends and returns; then the session is closed. ctx is Serve's. To
	// refuse p it returns a *Refused before it has read.
	Publish func(ctx context.Context, p *Publisher) error
	// Describe returns the tracks of a stream for who wants to play it, or a *Refused. ctx
	// is Serve's. nil: playing is refused.
	Describe func(ctx context.Context, name string) ([]av.Track, error)
	// Play is called for every player, on a goroutine of its own. It writes to p until the
	// stream or ctx ends and returns; then the session is closed. ctx ends, with io.EOF as
	// its cause, when the client goes. Required with Describe.
	Play func(ctx context.Context, p *Player) error

	// UDP is the address of RTP over UDP, whose port is even; RTCP has the next one.
	// Empty: TCP only.
	UDP         string
	TLS         *tls.Config   // of RTSPS; nil: plain RTSP
	IdleTimeout time.Duration // without any byte; 0: DefaultIdleTimeout
	MaxConns    int           // connections at a time; 0: DefaultMaxConns
	MaxPlayers  int           // at a time; 0: DefaultMaxPlayers
	// MaxQueue bounds the bytes of a session that were received and not yet read:
	// over it TCP is slowed, and UDP dropped. 0: DefaultMaxQueue.
	MaxQueue int

	// Log gets a line for each session that ends; nil: none.
	Log *slog.Logger
}

// Validate reports what is wrong with c.
func (c Config) Validate() error {
	switch {
	case c.Publish == nil:
		return errors.New("rtsp: Config.Publish is nil")
	case c.Describe != nil && c.Play == nil:
		return errors.New("rtsp: Config.Play is nil")
	case c.IdleTimeout < 0 || c.MaxConns < 0 || c.MaxPlayers < 0 || c.MaxQueue < 0:
		return errors.New("rtsp: a bound is negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.IdleTimeout == 0 {
		c.IdleTimeout = DefaultIdleTimeout
	}
	if c.MaxConns == 0 {
		c.MaxConns = DefaultMaxConns
	}
	if c.MaxPlayers == 0 {
		c.MaxPlayers = DefaultMaxPlayers
	}
	if c.MaxQueue == 0 {
		c.MaxQueue = DefaultMaxQueue
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Refused is what Config.Publish and Config.Describe return to turn a client away.
type Refused struct {
	Status      int // of RTSP: 403, 404, 503
	Description string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("rtsp: refused: %d: %s", r.Status, r.Description)
}

// Server accepts publishers and players.
type Server struct {
	config Config
	rtsp   *gortsplib.Server
	addr   net.Addr
	ctx    context.Context // of Serve, for publishers and players
	end    context.CancelCauseFunc
	group  sync.WaitGroup // publishers and players

	mu         sync.Mutex // guards what follows
	publishers map[*gortsplib.ServerSession]*Publisher
	players    map[*gortsplib.ServerSession]*Player
	starting   map[*gortsplib.ServerConn]*Player // whose PLAY is being answered
	offers     map[string]*offer                 // by name of the stream
	closed     bool
}

// Listen listens on a TCP address, and on Config.UDP. The caller must call Serve or
// Close.
func Listen(address string, c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		config: c.withDefaults(), publishers: make(map[*gortsplib.ServerSession]*Publisher),
		players: make(map[*gortsplib.ServerSession]*Player), starting: make(map[*gortsplib.ServerConn]*Player), offers: make(map[string]*offer),
	}
	s.ctx, s.end = context.WithCancelCause(context.Background())
	s.rtsp = &gortsplib.Server{
		Handler: &handler{s}, RTSPAddress: address, TLSConfig: c.TLS, Listen: s.listen,
		ReadTimeout: s.config.IdleTimeout, WriteTimeout: s.config.IdleTimeout, IdleTimeout: 2 * s.config.IdleTimeout,
	}
	if c.UDP != "" {
		rtcp, err := nextPort(c.UDP)
		if err != nil {
			return nil, err
		}
		s.rtsp.UDPRTPAddress, s.rtsp.UDPRTCPAddress = c.UDP, rtcp
	}
	if err := s.rtsp.Start(); err != nil {
		return nil, fmt.Errorf("rtsp: %w", err)
	}
	return s, nil
}

// nextPort returns the address of RTCP. RFC 3550 11
func nextPort(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("rtsp: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || n%2 != 0 {
		return "", fmt.Errorf("rtsp: the UDP port %q is not even", port)
	}
	return net.JoinHostPort(host, strconv.FormatUint(n+1, 10)), nil
}

// listen opens the listener of gortsplib's server.
func (s *Server) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	s.addr = l.Addr()
	return &bounded{Listener: l, max: s.config.MaxConns, log: s.config.Log}, nil
}

// Addr is where the server listens to TCP.
func (s *Server) Addr() net.Addr { return s.addr }

// Close ends the server and every session. It waits for them.
func (s *Server) Close() error { return s.close(net.ErrClosed) }

func (s *Server) close(why error) error {
	s.end(why)
	s.mu.Lock()
	s.closed = true
	for _, p := range s.publishers {
		p.queue.close(context.Cause(s.ctx))
	}
	s.mu.Unlock()
	s.rtsp.Close()
	err := s.rtsp.Wait()
	s.group.Wait()
	return err
}

// Serve serves until ctx is done; then sessions are closed, so that ReadPacket
// returns ctx's cause. It returns when every Publish and Play has ended: nil if ctx was
// done, else why listening ended.
func (s *Server) Serve(ctx context.Context) error {
	ended := make(chan error, 1)
	go func() { ended <- s.rtsp.Wait() }()
	select {
	case <-ctx.Done():
		s.close(context.Cause(ctx))
		<-ended
		return nil
	case err := <-ended:
		s.Close()
		return fmt.Errorf("rtsp: %w", err)
	}
}

// bounded accepts no more than max connections at a time.
type bounded struct {
	net.Listener
	max int
	log *slog.Logger

	mu   sync.Mutex // guards open
	open int
}

func (b *bounded) Accept() (net.Conn, error) {
	for {
		c, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b.enter() {
			return &counted{Conn: c, leave: b.leave}, nil
		}
		b.log.Info("rtsp connection refused", "remote", c.RemoteAddr().String(), "err", "too many connections")
		c.Close()
	}
}

func (b *bounded) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open >= b.max {
		return false
	}
	b.open++
	return true
}

func (b *bounded) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
}

// counted is a connection that tells when it is closed.
type counted struct {
	net.Conn
	leave func()
	once  sync.Once
}

// Close implements net.Conn.
func (c *counted) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}
