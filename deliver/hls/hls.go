// Package hls serves the live edge as HLS in CMAF, with low latency: multivariant and
// media playlists rendered once for each version of the edge, segments and parts from
// memory, and from the store when they are older.
package hls

import (
	"net/http"
	"strings"
	"time"

	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store"
)

// DefaultWait is how long the first request waits for a stream that has just begun.
const DefaultWait = 10 * time.Second

// DefaultCache is how many bytes of segments in MPEG-TS are kept.
const DefaultCache = 32 << 20

// Config is what a Handler is made of.
type Config struct {
	Hub   *live.Hub
	Store store.Store
	// Wait is how long the first request waits for a stream that has just begun;
	// 0 is DefaultWait.
	Wait time.Duration
	// Cache is how many bytes of segments in MPEG-TS are kept; 0 is DefaultCache.
	Cache int64
	// Older answers for what has left the window, and for streams that are not there any
	// more; nil: they are not found.
	Older http.Handler
	// History is listed by playlists that are asked to begin before the window; nil: there
	// is none.
	History History
	// Route is how segments are written that grow; nil: one of its own, direct.
	Route *httpio.Route
}

// Handler answers GET and HEAD of
//
//	/NAME/index.m3u8                        the multivariant playlist
//	/NAME/RENDITION/index.m3u8              a media playlist, with delivery directives;
//	                                        start=… begins it before the window, as for both
//	/NAME/RENDITION/iframes.m3u8            its key frames alone
//	/NAME/RENDITION/EPOCH-NUMBER.m4s        a segment
//	/NAME/RENDITION/EPOCH-NUMBER.PART.m4s   a part; the next one is waited for
//	/NAME/RENDITION/init-HASH.mp4           an initialization section
//	/NAME/ts/index.m3u8                     a media playlist of MPEG-TS, without parts
//	/NAME/ts/EPOCH-NUMBER.ts                a segment of it
//
// Names of media have one content for ever. There are no redirects.
type Handler struct {
	cfg  Config
	zip  httpio.Zipper
	made made // segments in MPEG-TS
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(cfg Config) *Handler {
	if cfg.Wait <= 0 {
		cfg.Wait = DefaultWait
	}
	if cfg.Cache <= 0 {
		cfg.Cache = DefaultCache
	}
	if cfg.Route == nil {
		cfg.Route = httpio.NewRoute("parts", httpio.Direct, 0)
	}
	return &Handler{cfg: cfg, made: made{most: cfg.Cache}}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !httpio.Methods(w, r) {
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	if name := strings.Join(parts[:len(parts)-1], "/"); last == "index.m3u8" && h.cfg.Hub.Known(name) {
		if s, leave := deliver.Enter(w, r, h.cfg.Hub, name); s != nil {
			defer leave()
			h.multivariant(w, r, s)
		}
		return
	}
	if len(parts) < 3 {
		h.older(w, r, "no such stream")
		return
	}
	name, rend := strings.Join(parts[:len(parts)-2], "/"), parts[len(parts)-2]
	if last == "index.m3u8" || last == "iframes.m3u8" {
		if !h.cfg.Hub.Known(name) {
			h.older(w, r, "no such stream")
			return
		}
		if s, leave := deliver.Enter(w, r, h.cfg.Hub, name); s != nil {
			defer leave()
			if rend == transportName && last == "index.m3u8" {
				h.transports(w, r, s)
				return
			}
			h.media(w, r, s, rend, last == "iframes.m3u8")
		}
		return
	}
	h.file(w, r, name, rend, last)
}

// older has what is not in the window answered, or is the text why not.
func (h *Handler) older(w http.ResponseWriter, r *http.Request, text string) {
	if h.cfg.Older == nil {
		httpio.Fail(w, http.StatusNotFound, text)
		return
	}
	h.cfg.Older.ServeHTTP(w, r)
}

// file answers with what playlists name. That starts no source: a playlist does.
func (h *Handler) file(w http.ResponseWriter, r *http.Request, name, rend, last string) {
	s, leave := h.cfg.Hub.Visit(name)
	if s == nil {
		h.older(w, r, "no such stream")
		return
	}
	defer leave()
	switch {
	case strings.HasSuffix(last, ".m4s"):
		h.segment(w, r, s, rend, strings.TrimSuffix(last, ".m4s"))
	case isTransport(rend, last):
		h.transport(w, r, s, strings.TrimSuffix(last, ".ts"))
	case strings.HasPrefix(last, "init-"):
		h.init(w, r, s, rend, last)
	default:
		httpio.Fail(w, http.StatusNotFound, "no such resource")
	}
}
