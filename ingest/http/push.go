// Package http takes live streams from the bodies of PUT and POST requests, and
// pulls them from other servers: MPEG-TS, FLV and fragmented MP4.
package http

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/peer"
)

// Defaults of Config.
const (
	DefaultStartTimeout = 20 * time.Second
	DefaultIdleTimeout  = 10 * time.Second
	DefaultMaxUnit      = 8 << 20
	DefaultMaxBodies    = 256
)

// shareOfAddress: one address may have one part of this many of all places.
const shareOfAddress = 2

// Config says how a Handler treats bodies. Publish is required; the zero value of
// each other field is the default named.
type Config struct {
	// Publish is called for every body, on its request's goroutine. It reads p
	// until it ends and returns; then the request is answered. To refuse p it
	// returns a *Refused before it has read. ctx is End, not the request's, which
	// is over when a client hangs up behind its body without waiting for the answer.
	Publish func(ctx context.Context, p *Publisher) error

	// End is done when the server ends: bodies are read no further then. nil: it
	// never does.
	End context.Context

	StartTimeout time.Duration // waited for bytes until the tracks are known; 0: DefaultStartTimeout
	IdleTimeout  time.Duration // waited for a KiB; 0: DefaultIdleTimeout
	MaxUnit      int           // bytes of an access unit of MPEG-TS; 0: DefaultMaxUnit
	MaxBodies    int           // at a time; 0: DefaultMaxBodies
	// MaxPerAddress is how many of them clients of one address may send; 0: half.
	MaxPerAddress int

	// Log gets a line for each body that ends; nil: none.
	Log *slog.Logger
}

// Refused is what Config.Publish returns to turn a publisher away.
type Refused struct {
	Status      int // of HTTP
	Description string
}

func (r *Refused) Error() string {
	return fmt.Sprintf("http: refused: %d: %s", r.Status, r.Description)
}

// Handler answers PUT and POST of /NAME.ts, /NAME.flv and /NAME.mp4. A body is
// read as fast as its packets are taken. The answer is
//
//	204  the body was read to its end
//	400  it cannot be read, or is damaged
//	408  too little came for Config.IdleTimeout, or no tracks within StartTimeout
//	415  the path has no suffix that is known, or the body is of another format
//	503  the server ends, or there are too many bodies, in all or of one address
//
// or what Config.Publish's *Refused says.
type Handler struct {
	config Config

	mu     sync.Mutex // guards what follows
	open   int
	places map[string]int // of open, by the key of the address
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler. c.Publish must be set.
func New(c Config) *Handler {
	if c.Publish == nil {
		panic("http: Config.Publish is nil")
	}
	if c.StartTimeout <= 0 {
		c.StartTimeout = DefaultStartTimeout
	}
	if c.IdleTimeout <= 0 {
		c.IdleTimeout = DefaultIdleTimeout
	}
	if c.MaxUnit <= 0 {
		c.MaxUnit = DefaultMaxUnit
	}
	if c.MaxBodies <= 0 {
		c.MaxBodies = DefaultMaxBodies
	}
	if c.MaxPerAddress <= 0 {
		c.MaxPerAddress = (c.MaxBodies + shareOfAddress - 1) / shareOfAddress
	}
	if c.End == nil {
		c.End = context.Background()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Handler{config: c, places: make(map[string]int)}
}

// enter takes a place for a client, or says why there is none.
func (h *Handler) enter(from string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.open >= h.config.MaxBodies:
		return errors.New("too many publishers")
	case h.places[from] >= h.config.MaxPerAddress:
		return errors.New("too many publishers of your address")
	}
	h.open++
	h.places[from]++
	return nil
}

func (h *Handler) leave(from string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open--
	if h.places[from]--; h.places[from] == 0 {
		delete(h.places, from)
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut && r.Method != http.MethodPost {
		w.Header().Set("Allow", "PUT, POST")
		http.Error(w, "only PUT and POST", http.StatusMethodNotAllowed)
		return
	}
	name, c, ok := bySuffix(strings.TrimPrefix(r.URL.Path, "/"))
	if !ok {
		http.Error(w, "publish to NAME.ts, NAME.flv or NAME.mp4", http.StatusUnsupportedMediaType)
		return
	}
	from := peer.Key(r.RemoteAddr)
	if err := h.enter(from); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer h.leave(from)
	p := newPublisher(w, r, name, c, h.config)
	defer p.Close()
	end := h.config.End
	stop := context.AfterFunc(end, func() { p.Close() })
	defer stop()
	err := h.config.Publish(end, p)
	if errors.Is(err, fs.ErrClosed) && end.Err() != nil {
		err = context.Cause(end)
	}
	h.config.Log.Info("http body ended", "remote", r.RemoteAddr, "name", name, "bytes", p.body.n.Load(), "err", err)
	answer(w, err)
}

// answer says how a body ended.
func answer(w http.ResponseWriter, err error) {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Connection", "close") // there may be no end of what was not read
	status := http.StatusInternalServerError
	var no *Refused
	var bad *av.Error
	switch {
	case errors.As(err, &no):
		http.Error(w, no.Description, no.Status)
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		status = http.StatusRequestTimeout
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, fs.ErrClosed):
		status = http.StatusServiceUnavailable
	case errors.Is(err, av.ErrUnsupported):
		status = http.StatusUnsupportedMediaType
	case errors.As(err, &bad), errors.Is(err, io.ErrUnexpectedEOF):
		status = http.StatusBadRequest
	}
	http.Error(w, err.Error(), status)
}

// Publisher is one body. It belongs to the goroutine of Config.Publish, except
// Close and Progress.
type Publisher struct {
	av.Demuxer // nil until the first ReadPacket
	name       string
	remote     string
	container  container
	maxUnit    int
	body       *body
	size       int64
}

var (
	_ av.Demuxer  = (*Publisher)(nil)
	_ av.Progress = (*Publisher)(nil)
	_ av.Warner   = (*Publisher)(nil)
)

func newPublisher(w http.ResponseWriter, r *http.Request, name string, c container, cfg Config) *Publisher {
	b := &body{r: r.Body, control: http.NewResponseController(w), idle: cfg.IdleTimeout, start: cfg.StartTimeout}
	return &Publisher{name: name, remote: r.RemoteAddr, container: c, maxUnit: cfg.MaxUnit, body: b, size: max(r.ContentLength, 0)}
}

// Name is the path without its suffix; it is not checked.
func (p *Publisher) Name() string { return p.name }

// RemoteAddr is the client's address, HOST:PORT.
func (p *Publisher) RemoteAddr() string { return p.remote }

// WrapBits is the width of the timestamps; 0 where they do not wrap.
func (p *Publisher) WrapBits() int {
	if w, ok := p.Demuxer.(interface{ WrapBits() int }); ok {
		return w.WrapBits()
	}
	return wrapBits(p.container.suffix)
}

// Tracks implements av.Demuxer.
func (p *Publisher) Tracks() []av.Track {
	if p.Demuxer == nil {
		return nil
	}
	return p.Demuxer.Tracks()
}

// ReadPacket implements av.Demuxer. The first call begins to read the body, and
// fails with av.ErrUnsupported if that is not what the path says. Other errors:
// os.ErrDeadlineExceeded, io.ErrUnexpectedEOF where the client hung up, fs.ErrClosed
// after Close, and the demuxer's.
func (p *Publisher) ReadPacket(a av.Allocator) (av.Packet, error) {
	if p.Demuxer == nil {
		r := bufio.NewReaderSize(p.body, max(p.container.head, 4096))
		if err := p.container.check(r); err != nil {
			return av.Packet{}, err
		}
		p.Demuxer = p.container.open(r, p.maxUnit)
	}
	pkt, err := p.Demuxer.ReadPacket(a)
	p.body.begun = p.body.begun || errors.Is(err, av.ErrTracks)
	return pkt, err
}

// Progress implements av.Progress.
func (p *Publisher) Progress() (done, total int64) { return p.body.n.Load(), p.size }

// Warnings implements av.Warner.
func (p *Publisher) Warnings() []string {
	if w, ok := p.Demuxer.(av.Warner); ok {
		return w.Warnings()
	}
	return nil
}

// Close implements av.Demuxer: reads of the body fail from now on.
func (p *Publisher) Close() error {
	p.body.closed.Store(true)
	return p.body.interrupt()
}
