// Package dash serves the live edge as DASH, with low latency: a manifest rendered once
// for each version of the edge. Its segments are those of HLS, under the same names;
// deliver/hls answers for them, and sends the open one as it grows.
package dash

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

// DefaultWait is how long the first request waits for a stream that has just begun.
const DefaultWait = 10 * time.Second

// Config is what a Handler is made of.
type Config struct {
	Hub *live.Hub
	// Wait is how long the first request waits for a stream that has just begun;
	// 0 is DefaultWait.
	Wait time.Duration
}

// Handler answers GET and HEAD of
//
//	/NAME/manifest.mpd       the manifest
//	/NAME/manifest.mpd?time  the time of day, for players' clocks
//
// What a manifest has said of a segment the next ones repeat, so a stream must have one
// Handler.
type Handler struct {
	cfg Config
	zip httpio.Zipper

	mu   sync.Mutex // guards said
	said map[*live.Stream]*said
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(cfg Config) *Handler {
	if cfg.Wait <= 0 {
		cfg.Wait = DefaultWait
	}
	return &Handler{cfg: cfg, said: make(map[*live.Stream]*said)}
}

// Owns reports whether a path is one that the Handler answers.
func Owns(path string) bool { return strings.HasSuffix(path, "/manifest.mpd") }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !httpio.Methods(w, r) {
		return
	}
	name, ok := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/"), "/manifest.mpd")
	switch time := r.URL.RawQuery == "time"; {
	case !ok, time && !h.cfg.Hub.Known(name):
		httpio.Fail(w, http.StatusNotFound, "no such stream")
	case time:
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte(h.cfg.Hub.Now().UTC().Format("2006-01-02T15:04:05.000Z"))) // a client that is gone needs no answer
	default:
		if s, leave := deliver.Enter(w, r, h.cfg.Hub, name); s != nil {
			defer leave()
			h.manifest(w, r, s)
		}
	}
}

func (h *Handler) manifest(w http.ResponseWriter, r *http.Request, s *live.Stream) {
	if x := s.Sealing(); x != nil && !x.Scheme.Samples() {
		httpio.Fail(w, http.StatusNotFound, "there is no manifest: the stream is encrypted by "+string(x.Scheme)+", and DASH knows no encryption of whole segments")
		return
	}
	e := deliver.Ready(w, r, h.cfg.Hub, s, h.cfg.Wait)
	if e == nil {
		return
	}
	b := e.Text("dash", func() []byte { return h.of(s).manifest(e, h.cfg.Hub.Window(), h.cfg.Hub.Now()) })
	if b == nil {
		httpio.Busy(w, "the stream's times have no place in a manifest")
		return
	}
	httpio.WriteText(w, r, httpio.Text{
		Type: "application/dash+xml", CacheControl: "no-cache", Plain: b,
		Zip: func() []byte { return e.Text("dash gzip", func() []byte { return h.zip.Compress(b) }) },
	})
}

// of returns what was said of a stream, and forgets streams that are no more.
func (h *Handler) of(s *live.Stream) *said {
	h.mu.Lock()
	defer h.mu.Unlock()
	x := h.said[s]
	if x == nil {
		for old := range h.said {
			if h.cfg.Hub.Lookup(old.Name()) != old {
				delete(h.said, old)
			}
		}
		x = &said{rows: make(map[string]*row)}
		h.said[s] = x
	}
	return x
}
