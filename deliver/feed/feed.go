// Package feed answers a request with a live stream in a container that has no
// end: HTTP-FLV, HTTP-TS, or the same bytes as messages of a WebSocket.
package feed

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

// DefaultWait is how long a request waits for the first key frame of a stream.
const DefaultWait = 10 * time.Second

// Format is a container.
type Format struct {
	Suffix      string // of the URL, with the dot
	ContentType string
	New         func() live.Renderer
}

// Config is what a Handler is made of. The zero value of each other field than Hub
// is its default.
type Config struct {
	Hub     *live.Hub
	Formats []Format
	Wait    time.Duration // DefaultWait
	Route   *httpio.Route // how answers are written; one of its own, direct
}

// Handler serves /NAME.SUFFIX, by a WebSocket (RFC 6455) if the request asks for one.
// It is safe for concurrent use.
type Handler struct {
	cfg    Config
	ctx    context.Context // of the answers that outlive their requests
	cancel context.CancelFunc

	mu     sync.Mutex // guards closed, behind which group does not grow
	closed bool
	group  sync.WaitGroup
}

// New returns a Handler.
func New(cfg Config) *Handler {
	if cfg.Wait <= 0 {
		cfg.Wait = DefaultWait
	}
	if cfg.Route == nil {
		cfg.Route = httpio.NewRoute("feed", httpio.Direct, 0)
	}
	h := &Handler{cfg: cfg}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Close ends every answer and waits until that is done; new requests are turned
// away. Idempotent.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.group.Wait()
}

// enter counts a request, unless the handler is closed.
func (h *Handler) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.group.Add(1)
	}
	return !h.closed
}

// Serves reports whether path names a stream in one of the containers, that there is or
// that a viewer starts.
func (h *Handler) Serves(path string) bool {
	name, f := h.find(path)
	return f != nil && h.cfg.Hub.Known(name)
}

// find returns the name and the container that path names; the Format is nil if it names
// none.
func (h *Handler) find(path string) (name string, _ *Format) {
	for i := range h.cfg.Formats {
		f := &h.cfg.Formats[i]
		if n := len(path) - len(f.Suffix); n > 1 && path[n:] == f.Suffix && path[0] == '/' {
			return path[1:n], f
		}
	}
	return "", nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.enter() {
		fail(w, http.StatusServiceUnavailable, "the server ends")
		return
	}
	defer h.group.Done()
	name, f := h.find(r.URL.Path)
	switch {
	case f == nil || !h.cfg.Hub.Known(name):
		fail(w, http.StatusNotFound, "no such stream")
		return
	case r.Method == http.MethodOptions:
		allow(w)
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		fail(w, http.StatusMethodNotAllowed, "only GET and HEAD")
		return
	}
	if s := h.cfg.Hub.Lookup(name); s != nil && s.Guarded() != nil {
		fail(w, http.StatusForbidden, deliver.Encrypted)
		return
	}
	allow(w)
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		if !asksForSocket(r) {
			w.Header().Set("Content-Type", f.ContentType)
		}
		return
	}
	s, leave := deliver.Enter(w, r, h.cfg.Hub, name)
	if s == nil {
		return
	}
	if s.Guarded() != nil {
		leave()
		fail(w, http.StatusForbidden, deliver.Encrypted)
		return
	}
	out := deliver.Admit(w, r, s, f.Suffix)
	if out == nil {
		leave()
		return
	}
	v := s.Watch(f.Suffix, f.New)
	v.AtClose(func() { out(); leave() })
	if !asksForSocket(r) {
		w.Header().Set("Content-Type", f.ContentType)
	}
	h.answer(w, r, v)
}

// maxPieces is how many pieces the first write has at most.
const maxPieces = 16

// answer waits for the first bytes, so that it can still refuse, and then sends
// whatever comes. It returns before that is over if the connection is not net/http's
// any more: that keeps 20 kB for each request.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, v *live.Viewer) {
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Wait)
	bufs, err := v.Next(ctx, make([][]byte, 0, maxPieces))
	cancel()
	if err != nil {
		v.Close()
		if errors.Is(err, av.ErrUnsupported) {
			fail(w, http.StatusNotAcceptable, err.Error())
			return
		}
		w.Header().Set("Retry-After", "2")
		fail(w, http.StatusServiceUnavailable, "the stream has nothing to play now")
		return
	}
	if asksForSocket(r) {
		s, err := openSocket(w, r, h.cfg.Route.Deadline())
		if err != nil {
			v.Close()
			return // it was told why
		}
		h.group.Go(func() { s.talk(h.ctx, bufs, v) })
		return
	}
	out, err := httpio.Start(w, r, httpio.Options{Route: h.cfg.Route, Frames: true, Timed: r.URL.Query().Get("chunks") == "timed"})
	if err != nil {
		v.Close()
		return // the client is gone
	}
	if out.Detached() {
		h.group.Go(func() { send(h.ctx, out, bufs, v) })
		return
	}
	send(r.Context(), out, bufs, v)
}

// send sends bufs and whatever comes, until ctx ends.
func send(ctx context.Context, out *httpio.Response, bufs [][]byte, v *live.Viewer) {
	err := out.Write(bufs)
	if err == nil {
		err = v.Send(ctx, out)
	}
	out.SetFrames(v.Frames())
	v.Close() // before the connection lingers
	_ = out.Close(errors.Is(err, io.EOF))
}

// allow lets pages of other origins play.
func allow(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
}

func fail(w http.ResponseWriter, code int, text string) {
	allow(w)
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, code)
}
