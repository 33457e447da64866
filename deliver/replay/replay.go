// Package replay serves what is kept of streams, whether they are live, have ended or
// ended before the server was started: playlists of a range of time, segments, a range as
// one MP4 file, and a list of what there is. It shows what is committed only.
package replay

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store"
)

// Config is what a Handler is made of.
type Config struct {
	Hub   *live.Hub
	Index index.Index // that is an index.Finder
	Store store.Store
}

// Handler answers GET and HEAD of
//
//	/NAME/index.m3u8?from=…&to=…             the multivariant playlist of a range
//	/NAME/RENDITION/index.m3u8?from=…&to=…   a media playlist of it
//	/NAME/RENDITION/iframes.m3u8?from=…&to=… its key frames alone
//	/NAME.mp4?from=…&to=…                    a range as one file, exact=1: cut to the frame
//	/NAME/recordings.json                    what is kept
//	/NAME/RENDITION/EPOCH-NUMBER.m4s         a segment that is stored
//	/NAME/RENDITION/init-HASH.mp4            an initialization section
//
// and, of a stream that is over, of both playlists without a range: that is then all of
// the last time that it was published.
type Handler struct {
	cfg   Config
	zip   httpio.Zipper
	heads heads
	films atomic.Int32  // that are sent
	plans chan struct{} // has one for each that is planned to the frame
	rows  atomic.Int64  // segments and key frames of playlists that are made and sent
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(cfg Config) *Handler { return &Handler{cfg: cfg, plans: make(chan struct{}, maxPlans)} }

// Serves reports whether a request is for a range of time, or for what is kept.
func Serves(r *http.Request) bool {
	if strings.HasSuffix(r.URL.Path, "/"+ListName) {
		return true
	}
	if q := r.URL.RawQuery; !strings.Contains(q, "from=") && !strings.Contains(q, "to=") {
		return false
	}
	q, path := r.URL.Query(), r.URL.Path
	return (q.Has("from") || q.Has("to")) && (strings.HasSuffix(path, "/"+playlistName) || strings.HasSuffix(path, "/"+framesName) || strings.HasSuffix(path, filmSuffix))
}

const playlistName = "index.m3u8"

// refusal is an answer that is none of what was asked for.
type refusal struct {
	code int
	text string
}

func (e *refusal) Error() string { return e.text }

func missing(text string) error { return &refusal{http.StatusNotFound, text} }

func bad(text string) error { return &refusal{http.StatusBadRequest, text} }

// fail answers with an error.
func fail(w http.ResponseWriter, err error) {
	var no *refusal
	var damage *index.CorruptError
	switch {
	case errors.Is(err, errMany):
		httpio.Busy(w, "too many files are being sent")
	case errors.Is(err, errRows):
		httpio.Busy(w, "too many long playlists are being sent")
	case errors.As(err, &no):
		httpio.Fail(w, no.code, no.text)
	case errors.Is(err, store.ErrNotExist), errors.Is(err, store.ErrKey), errors.Is(err, index.ErrNotFound):
		httpio.Fail(w, http.StatusNotFound, "no longer kept")
	case errors.As(err, &damage), errors.Is(err, store.ErrCorrupt):
		httpio.Fail(w, http.StatusInternalServerError, "what is kept cannot be read")
	default:
		httpio.Busy(w, "the store does not answer")
	}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !httpio.Methods(w, r) {
		return
	}
	if err := h.answer(w, r); err != nil {
		fail(w, err)
	}
}

var errMany = errors.New("replay: too many files")

var errNone = missing("no such stream")

func (h *Handler) answer(w http.ResponseWriter, r *http.Request) error {
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")
	n := len(parts)
	last := parts[n-1]
	if stem, ok := strings.CutSuffix(r.URL.Path, filmSuffix); ok && !strings.HasPrefix(last, "init-") {
		return h.download(w, r, strings.TrimPrefix(stem, "/"))
	}
	if last == ListName {
		return h.recordings(w, r, strings.Join(parts[:n-1], "/"))
	}
	if last == playlistName && n >= 2 {
		// A name may end like a rendition; what is kept decides.
		if name := strings.Join(parts[:n-1], "/"); live.CheckName(name) == nil && h.has(r, name) {
			return h.multivariant(w, r, name)
		}
	}
	if n < 3 {
		return errNone
	}
	name, rend := strings.Join(parts[:n-2], "/"), parts[n-2]
	if live.CheckName(name) != nil {
		return errNone
	}
	switch {
	case last == playlistName:
		return h.media(w, r, name, rend)
	case last == framesName:
		return h.iframes(w, r, name, rend)
	case strings.HasSuffix(last, ".m4s"):
		return h.segment(w, r, name, rend, strings.TrimSuffix(last, ".m4s"))
	case strings.HasPrefix(last, "init-"):
		return h.init(w, r, name, rend, last)
	}
	return missing("no such resource")
}

// has reports whether there is something of a stream of that name.
func (h *Handler) has(r *http.Request, name string) (found bool) {
	err := index.Pass(r.Context(), h.cfg.Index, name, time.Time{}, time.Time{}, func(*index.Entry) bool {
		found = true
		return false
	})
	return found || err != nil // whoever reads it says what is wrong
}

// segmentName names a segment for ever, as the live playlists do.
func segmentName(epoch uint32, seq int64) string {
	return strconv.FormatUint(uint64(epoch), 10) + "-" + strconv.FormatInt(seq, 10)
}

// parseSegment reads EPOCH-NUMBER, as segmentName writes it.
func parseSegment(name string) (epoch uint32, seq int64, ok bool) {
	a, b, _ := strings.Cut(name, "-")
	e, err1 := strconv.ParseUint(a, 10, 32)
	seq, err2 := strconv.ParseInt(b, 10, 64)
	return uint32(e), seq, err1 == nil && err2 == nil && seq >= 0 && name == segmentName(uint32(e), seq)
}
