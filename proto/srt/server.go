// Package srt receives and sends live streams by SRT: MPEG-TS in live mode. Server
// accepts publishers, each of which is an av.Demuxer, and readers; Pull calls other
// servers.
//
// draft-sharabayko-srt-01 ("SRT"), and SRT's access control guidelines for stream
// ids.
package srt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/datarhei/gosrt"
)

// Defaults of Config.
const (
	DefaultLatency     = 120 * time.Millisecond
	DefaultIdleTimeout = 10 * time.Second
	DefaultMaxUnit     = 8 << 20
	DefaultMaxConns    = 256
	DefaultMaxReaders  = 1024
	DefaultMaxBuffer   = 32 << 20
)

// Bounds of Config.Passphrase. SRT 3.2.2
const (
	MinPassphrase = 10
	MaxPassphrase = 80
)

// Config says how a Server treats its callers. Publish is required; the zero value
// of each other field is the default named.
type Config struct {
	// Publish is called for every publisher, on a goroutine of its own. It reads p
	// until it ends and returns; then the connection is closed. ctx is Serve's. To
	// refuse p it returns a *Refused before it has read.
	Publish func(ctx context.Context, p *Publisher) error
	// Read is called for every reader, on a goroutine of its own; when it returns the
	// connection is closed. ctx is Serve's. To refuse r it returns a *Refused before it
	// has called Start. nil: reading is refused.
	Read func(ctx context.Context, r *Reader) error

	// Passphrase of every caller; empty: none may encrypt.
	Passphrase string
	// Latency is the least time that packets wait for lost ones before them; a
	// caller may ask for more. 0: DefaultLatency.
	Latency     time.Duration
	IdleTimeout time.Duration // without data while publishing; 0: DefaultIdleTimeout
	MaxUnit     int           // bytes of an access unit; 0: DefaultMaxUnit
	MaxConns    int           // publishers at a time; 0: DefaultMaxConns
	MaxReaders  int           // at a time; 0: DefaultMaxReaders
	// MaxBuffer bounds the bytes of one caller that wait for their time, which the
	// caller says; 0: DefaultMaxBuffer.
	MaxBuffer int64

	// Log gets a line for each connection that ends; nil: none.
	Log *slog.Logger
}

// Validate reports what is wrong with c.
func (c Config) Validate() error {
	n := len(c.Passphrase)
	switch {
	case c.Publish == nil:
		return errors.New("srt: Config.Publish is nil")
	case n != 0 && (n < MinPassphrase || n > MaxPassphrase):
		return fmt.Errorf("srt: a passphrase of %d bytes, not %d to %d", n, MinPassphrase, MaxPassphrase)
	case c.Latency < 0 || c.Latency > time.Minute:
		return fmt.Errorf("srt: Config.Latency is %v, not 0 to a minute", c.Latency)
	case c.IdleTimeout < 0 || c.MaxUnit < 0 || c.MaxConns < 0 || c.MaxReaders < 0 || c.MaxBuffer < 0:
		return errors.New("srt: a bound is negative")
	}
	return nil
}

func (c Config) withDefaults() Config {
	c.Latency = orDefault(c.Latency, DefaultLatency)
	c.IdleTimeout = orDefault(c.IdleTimeout, DefaultIdleTimeout)
	c.MaxUnit = orDefault(c.MaxUnit, DefaultMaxUnit)
	c.MaxConns = orDefault(c.MaxConns, DefaultMaxConns)
	c.MaxReaders = orDefault(c.MaxReaders, DefaultMaxReaders)
	c.MaxBuffer = orDefault(c.MaxBuffer, DefaultMaxBuffer)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

func orDefault[T int | int64 | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

// Reason is a rejection reason as the caller is told. SRT table 7 and the access
// control guidelines.
type Reason uint32

// The reasons.
const (
	Version       = Reason(srt.REJ_VERSION)
	BadSecret     = Reason(srt.REJ_BADSECRET)
	Unsecure      = Reason(srt.REJ_UNSECURE) // a passphrase is missing, or too much
	BadRequest    = Reason(srt.REJX_BAD_REQUEST)
	Overload      = Reason(srt.REJX_OVERLOAD)
	Forbidden     = Reason(srt.REJX_FORBIDDEN)
	NotFound      = Reason(srt.REJX_NOTFOUND)
	BadMode       = Reason(srt.REJX_BAD_MODE)
	Conflict      = Reason(srt.REJX_CONFLICT) // somebody publishes under this name
	Failed        = Reason(srt.REJX_ISE)
	Unimplemented = Reason(srt.REJX_UNIMPLEMENTED)
	Gateway       = Reason(srt.REJX_GW)   // the stream's own source failed
	Down          = Reason(srt.REJX_DOWN) // not now
)

func (r Reason) String() string {
	switch r {
	case Version:
		return "version"
	case BadSecret:
		return "bad secret"
	case Unsecure:
		return "unsecure"
	case BadRequest:
		return "bad request"
	case Overload:
		return "overload"
	case Forbidden:
		return "forbidden"
	case NotFound:
		return "not found"
	case BadMode:
		return "bad mode"
	case Conflict:
		return "conflict"
	case Failed:
		return "failed"
	case Unimplemented:
		return "unimplemented"
	case Gateway:
		return "bad gateway"
	case Down:
		return "not available"
	}
	return fmt.Sprintf("reason %d", uint32(r))
}

// Refused is what Config.Publish and Config.Read return to turn a caller away, who is
// told the reason alone.
type Refused struct {
	Reason      Reason
	Description string
}

func (r *Refused) Error() string { return "srt: refused: " + r.Reason.String() + ": " + r.Description }

// Answer is the reason in our words.
func (r *Refused) Answer() string { return r.Reason.String() }

// Server accepts publishers and readers.
type Server struct {
	config   Config
	ln       srt.Listener
	refusals refusals

	mu   sync.Mutex   // guards open
	open [readers]int // by Mode
}

const readers = ModeRead + 1

// Listen listens on a UDP address. The caller must call Serve.
func Listen(address string, c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	sc := srt.DefaultConfig()
	sc.ReceiverLatency = c.Latency
	ln, err := srt.Listen("srt", address, sc)
	if err != nil {
		return nil, fmt.Errorf("srt: %w", err)
	}
	return &Server{config: c, ln: ln}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Close stops listening. It is for a server that will not Serve.
func (s *Server) Close() error {
	s.ln.Close()
	return nil
}

// Serve takes callers until ctx is done, then closes their connections, so that
// ReadPacket returns ctx's cause. It returns when every Publish and Read has ended: nil if
// ctx was done, else why listening ended.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, s.ln.Close)
	defer stop()
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	defer s.ln.Close()
	for {
		req, err := s.accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errHandshake):
			continue
		case err != nil:
			return fmt.Errorf("srt: accept: %w", err)
		}
		group.Go(func() { s.handle(ctx, req) })
	}
}

// errHandshake is a handshake that cannot be read.
var errHandshake = errors.New("srt: handshake not valid")

// accept returns the next request. The library reads behind the end of a handshake
// whose extensions leave one to three bytes; nothing of it is kept by then.
func (s *Server) accept() (req srt.ConnRequest, err error) {
	defer func() {
		if recover() != nil {
			req, err = nil, errHandshake
		}
	}()
	return s.ln.Accept2()
}

// handle does everything for one request.
func (s *Server) handle(ctx context.Context, req srt.ConnRequest) {
	host := host(req.RemoteAddr())
	now := time.Now()
	if s.refusals.blocked(host, now) {
		req.Reject(srt.RejectionReason(Overload))
		return
	}
	id, err := s.enter(req)
	in, bytes := false, int64(0)
	if err == nil {
		if id.Mode == ModeRead {
			in, bytes, err = s.read(ctx, req, id.Name)
		} else {
			in, bytes, err = s.publish(ctx, req, id.Name)
		}
		s.leave(id.Mode)
	}
	if !in {
		s.refuse(req, host, now, err)
	}
	s.config.Log.Info("srt connection closed", "remote", req.RemoteAddr().String(), "mode", id.Mode.String(), "name", id.Name, "bytes", bytes, "err", err)
}

// refuse tells the caller why it was not let in.
func (s *Server) refuse(req srt.ConnRequest, host string, now time.Time, err error) {
	reason := Failed
	var no *Refused
	if errors.As(err, &no) {
		reason = no.Reason
	}
	// Counted before the caller knows: its next request may be here at once.
	full := s.refusals.add(host, now)
	req.Reject(srt.RejectionReason(reason))
	if full {
		s.config.Log.Warn("srt: refused too often, not listened to for a while", "host", host, "while", refusalsWithin)
	}
}

// enter checks what a request says and counts the connection.
func (s *Server) enter(req srt.ConnRequest) (ID, error) {
	if req.Version() != 5 {
		// Version 4 knows no stream id, and the library cannot answer all of it.
		return ID{}, &Refused{Version, fmt.Sprintf("handshake version %d", req.Version())}
	}
	id, err := ParseID(req.StreamId())
	switch {
	case errors.Is(err, ErrMode):
		return id, &Refused{BadMode, err.Error()}
	case err != nil:
		return id, &Refused{BadRequest, err.Error()}
	case id.Mode == ModeRead && s.config.Read == nil:
		return id, &Refused{Unimplemented, "reading is not offered"}
	}
	if err := s.secure(req); err != nil {
		return id, err
	}
	most := s.config.MaxConns
	if id.Mode == ModeRead {
		most = s.config.MaxReaders
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[id.Mode] >= most {
		return id, &Refused{Overload, fmt.Sprintf("%d callers that %s", most, id.Mode)}
	}
	s.open[id.Mode]++
	return id, nil
}

func (s *Server) leave(m Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[m]--
}

// secure checks the passphrase.
func (s *Server) secure(req srt.ConnRequest) error {
	switch {
	case req.IsEncrypted() && s.config.Passphrase == "":
		return &Refused{Unsecure, "encrypted, but no passphrase is set here"}
	case !req.IsEncrypted() && s.config.Passphrase != "":
		return &Refused{Unsecure, "not encrypted"}
	case !req.IsEncrypted():
		return nil
	}
	if req.SetPassphrase(s.config.Passphrase) != nil {
		return &Refused{BadSecret, "wrong passphrase"}
	}
	return nil
}

// publish calls Config.Publish while the connection is watched; in: the caller was let
// in, and sent so many bytes.
func (s *Server) publish(ctx context.Context, req srt.ConnRequest, name string) (in bool, bytes int64, err error) {
	p := &Publisher{s: s, req: req, ctx: ctx, name: name}
	defer p.Close()
	p.open()
	err = s.config.Publish(p.ctx, p)
	p.Close()
	p.watch.Wait()
	if err != nil && p.ctx.Err() != nil {
		err = context.Cause(p.ctx)
	}
	return p.accepted(), p.in.read.Load(), err
}

// read calls Config.Read; in: the caller was let in, and was sent so many bytes.
func (s *Server) read(ctx context.Context, req srt.ConnRequest, name string) (in bool, bytes int64, err error) {
	r := &Reader{req: req, name: name}
	err = s.config.Read(ctx, r)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return r.conn != nil, r.sent, err
}

// host is what callers are counted by.
func host(a net.Addr) string {
	h, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return h
}
