// Package hls serves the live edge as HLS in CMAF: multivariant and media
// playlists from the Edge, segments as byte ranges of the objects in the store.
package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store"
)

// Config is what a Handler is made of.
type Config struct {
	Hub   *live.Hub
	Store store.Store
	// Wait is how long the first request waits for a stream that has just begun;
	// 0 is 10 s.
	Wait time.Duration
}

// Handler answers GET and HEAD of
//
//	/NAME/index.m3u8                   the multivariant playlist
//	/NAME/RENDITION/index.m3u8         a media playlist
//	/NAME/RENDITION/EPOCH-NUMBER.m4s   a segment
//	/NAME/RENDITION/init-HASH.mp4      an initialization section
type Handler struct{ cfg Config }

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(cfg Config) *Handler {
	if cfg.Wait <= 0 {
		cfg.Wait = 10 * time.Second
	}
	return &Handler{cfg}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		fail(w, http.StatusMethodNotAllowed, "only GET and HEAD")
		return
	}
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	last := parts[len(parts)-1]
	if s := h.stream(parts[:len(parts)-1]); s != nil && last == "index.m3u8" {
		h.playlist(w, r, s, "")
		return
	}
	if len(parts) < 3 {
		fail(w, http.StatusNotFound, "no such stream")
		return
	}
	s, rend := h.stream(parts[:len(parts)-2]), parts[len(parts)-2]
	switch {
	case s == nil:
		fail(w, http.StatusNotFound, "no such stream")
	case last == "index.m3u8":
		h.playlist(w, r, s, rend)
	case strings.HasSuffix(last, ".m4s"):
		h.segment(w, r, s, rend, strings.TrimSuffix(last, ".m4s"))
	case strings.HasPrefix(last, "init-"):
		h.init(w, r, s, rend, last)
	default:
		fail(w, http.StatusNotFound, "no such resource")
	}
}

func (h *Handler) stream(parts []string) *live.Stream {
	return h.cfg.Hub.Lookup(strings.Join(parts, "/"))
}

// fail answers with an error that no cache keeps.
func fail(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, code)
}

// playlist answers with a rendition's playlist, or the multivariant one if rend
// is empty. A stream that has just begun is waited for.
func (h *Handler) playlist(w http.ResponseWriter, r *http.Request, s *live.Stream, rend string) {
	e, err := h.ready(r.Context(), s)
	if err != nil {
		w.Header().Set("Retry-After", "2")
		fail(w, http.StatusServiceUnavailable, "the stream has nothing to play yet")
		return
	}
	name := "index"
	build := func() []byte { return multivariant(e) }
	if rend != "" {
		x := e.Rendition(rend)
		if x == nil {
			fail(w, http.StatusNotFound, "no such rendition")
			return
		}
		name, build = rend, func() []byte { return media(e, x) }
	}
	b := e.Text(name, build)
	w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(b) // a client that is gone needs no answer
	}
}

// ready returns the first Edge that has segments.
func (h *Handler) ready(ctx context.Context, s *live.Stream) (*live.Edge, error) {
	ctx, cancel := context.WithTimeout(ctx, h.cfg.Wait)
	defer cancel()
	for {
		e := s.Edge()
		if e.Ready() {
			return e, nil
		}
		select {
		case <-e.Changed():
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (h *Handler) segment(w http.ResponseWriter, r *http.Request, s *live.Stream, rend, name string) {
	epoch, number, _ := strings.Cut(name, "-")
	ep, err1 := strconv.ParseUint(epoch, 10, 32)
	msn, err2 := strconv.ParseInt(number, 10, 64)
	x := s.Edge().Rendition(rend)
	if err1 != nil || err2 != nil || x == nil {
		fail(w, http.StatusNotFound, "no such segment")
		return
	}
	seg := x.Segment(uint32(ep), msn)
	if seg == nil || seg.Gap {
		fail(w, http.StatusNotFound, "the segment has left the window, or was never there")
		return
	}
	h.serve(w, r, seg.Key, seg.Offset, seg.Size, x.Track.Kind)
}

func (h *Handler) init(w http.ResponseWriter, r *http.Request, s *live.Stream, rend, name string) {
	x := s.Edge().Rendition(rend)
	if x == nil {
		fail(w, http.StatusNotFound, "no such rendition")
		return
	}
	h.serve(w, r, s.Name()+"/"+name, 0, -1, x.Track.Kind)
}

// serve answers with bytes of an object, which never change under this URL.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, key string, off, size int64, kind av.Kind) {
	o, err := h.cfg.Store.Open(r.Context(), key)
	switch {
	case errors.Is(err, store.ErrNotExist), errors.Is(err, store.ErrKey):
		fail(w, http.StatusNotFound, "no longer kept")
		return
	case err != nil:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "the store does not answer")
		return
	}
	defer o.Close()
	if size < 0 {
		size = o.Size()
	}
	w.Header().Set("Content-Type", kind.String()+"/mp4")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Etag", fmt.Sprintf("%q", fmt.Sprintf("%s@%d", key, off)))
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(o, off, size))
}
