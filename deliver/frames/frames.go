// Package frames answers HTTP requests with frames: any key frame or GOP of a live
// stream's window, and what is known of each frame as it comes, with or without its
// payload.
package frames

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store"
)

// Config is what a Handler is made of.
type Config struct {
	Hub   *live.Hub
	Store store.Store
	// FFmpeg is the program that makes JPEG pictures; empty: there are none.
	FFmpeg string
}

// Bounds of answers.
const (
	maxRanges = 8        // of one request
	maxCopied = 64 << 20 // bytes that all answers hold of what the store gave
	// A client must take slowest bytes a second, after patience: until then it holds
	// what the memory of a stream is needed for.
	slowest  = 32 << 10
	patience = 5 * time.Second
)

// Handler answers GET and HEAD of
//
//	/NAME/keyframe   a key frame: at=SECONDS or index=N, format=annexb, mp4 or jpeg
//	/NAME/gop        it and what follows up to the next: at, index, format=annexb or mp4
//	/NAME/frames     what is known of one frame, of each as it comes if text/event-stream
//	                 is accepted, and with payload=1 the frames themselves
type Handler struct {
	cfg      Config
	copied   atomic.Int64
	pictures chan struct{} // holds one of each decoder that runs
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(cfg Config) *Handler {
	return &Handler{cfg: cfg, pictures: make(chan struct{}, maxDecoders)}
}

// Serves reports whether a path is one of a Handler's.
func Serves(path string) bool {
	_, last := split(path)
	return last == "keyframe" || last == "gop" || last == "frames"
}

func split(path string) (name, last string) {
	path = strings.TrimPrefix(path, "/")
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !methods(w, r) {
		return
	}
	if !Serves(r.URL.Path) {
		fail(w, missing("no such resource"))
		return
	}
	name, last := split(r.URL.Path)
	s, leave := deliver.Enter(w, r, h.cfg.Hub, name)
	if s == nil {
		return
	}
	defer leave()
	var err error
	if last == "frames" {
		err = h.list(w, r, s)
	} else {
		err = h.clip(w, r, s, last == "gop")
	}
	if err != nil {
		fail(w, err)
	}
}

// methods lets GET and HEAD through and answers the others. Pages of any origin may
// read what is served.
func methods(w http.ResponseWriter, r *http.Request) bool {
	head := w.Header()
	head.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		head.Set(exposedHeader, "Content-Length, Content-Range, Date, Etag")
		head.Set("Timing-Allow-Origin", "*")
		return true
	case http.MethodOptions:
		head.Set("Access-Control-Allow-Methods", "GET, HEAD")
		head.Set("Access-Control-Allow-Headers", "Accept, Range, If-None-Match, Cache-Control, Last-Event-ID")
		head.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	default:
		head.Set("Allow", "GET, HEAD, OPTIONS")
		fail(w, &refusal{http.StatusMethodNotAllowed, "only GET and HEAD"})
	}
	return false
}

// refusal is an answer that is none of what was asked for.
type refusal struct {
	code int
	text string
}

func (e *refusal) Error() string { return e.text }

func missing(text string) error { return &refusal{http.StatusNotFound, text} }

// later says that the same request may succeed in a moment.
func later(text string) error { return &refusal{http.StatusServiceUnavailable, text} }

func bad(err error) error { return &refusal{http.StatusBadRequest, err.Error()} }

// fail answers with an error that no cache keeps.
func fail(w http.ResponseWriter, err error) {
	var no *refusal
	switch {
	case errors.As(err, &no):
	case errors.Is(err, errLost):
		no = &refusal{http.StatusNotFound, errLost.Error()}
	case errors.Is(err, store.ErrTransient):
		no = &refusal{http.StatusServiceUnavailable, "the store does not answer"}
	default:
		no = &refusal{http.StatusInternalServerError, "it cannot be read"}
	}
	if no.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, no.text, no.code)
}

// video returns the first rendition of video.
func video(e *live.Edge) (*live.Rendition, error) {
	for i := range e.Renditions {
		if e.Renditions[i].Track.Kind == av.Video {
			return &e.Renditions[i], nil
		}
	}
	if len(e.Renditions) == 0 {
		return nil, later("the stream has not begun to be listed")
	}
	return nil, missing("the stream has no video")
}

// begun returns the first rendition of video when there is something of it: the first
// key frame of a stream that has just begun is waited for.
func begun(ctx context.Context, s *live.Stream) (*live.Rendition, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		e := s.Edge()
		x, err := video(e)
		if err == nil && len(newestFirst(x)) > 0 || e.Ready() || e.Ended {
			return x, err
		}
		select {
		case <-e.Changed():
		case <-ctx.Done():
			return nil, later("there is no key frame yet")
		}
	}
}

// clip answers with a key frame or a GOP.
func (h *Handler) clip(w http.ResponseWriter, r *http.Request, s *live.Stream, gop bool) error {
	q := r.URL.Query()
	place, err := parsePlace(q)
	if err != nil {
		return bad(err)
	}
	format, err := parseFormat(q, !gop)
	if err != nil {
		return bad(err)
	}
	if strings.Count(r.Header.Get("Range"), ",") >= maxRanges {
		return &refusal{http.StatusRequestedRangeNotSatisfiable, fmt.Sprintf("at most %d ranges", maxRanges)}
	}
	if format == jpeg && h.cfg.FFmpeg == "" {
		return &refusal{http.StatusNotImplemented, "there is no ffmpeg here to make JPEG pictures: use format=annexb or format=mp4"}
	}
	x, err := begun(r.Context(), s)
	if err != nil {
		return err
	}
	spot, err := h.find(r.Context(), x, place)
	if err != nil {
		return err
	}
	c, err := h.cut(r.Context(), s, spot, gop)
	if err != nil {
		return err
	}
	defer c.release()
	return h.write(w, r, c, format, gop)
}

// write answers with a clip in a format.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, c *clip, f format, gop bool) error {
	if f == anyFormat {
		if f = mp4File; hasAnnexB(c.track.Codec) {
			f = annexB
		}
	}
	var body pieces
	var kind, suffix string
	var err error
	switch f {
	case annexB:
		if !hasAnnexB(c.track.Codec) {
			return &refusal{http.StatusNotAcceptable, c.track.Codec.String() + " has no byte stream: use format=mp4"}
		}
		kind, suffix = "video/"+strings.ToUpper(c.track.Codec.String()), "."+strings.Replace(c.track.Codec.String(), "h", "", 1) // RFC 6184 8.1, RFC 7798 7.1
		body, err = c.annexB()
	case mp4File:
		kind, suffix = `video/mp4; codecs="`+c.info.String+`"`, ".mp4"
		body = c.mp4()
	case jpeg:
		kind, suffix = "image/jpeg", ".jpg"
	}
	if err != nil {
		return err
	}
	tag := strconv.Quote(c.name + suffix)
	if f == jpeg && strings.TrimPrefix(r.Header.Get("If-None-Match"), "W/") != tag { // else the answer is 304
		picture, err := h.picture(r.Context(), c)
		if err != nil {
			return err
		}
		body.add(picture)
	}
	head := w.Header()
	head.Set("Content-Type", kind)
	// The same question has another answer soon; its name has not.
	head.Set("Cache-Control", "no-cache")
	head.Set("Etag", tag)
	head.Set("Content-Disposition", `inline; filename="`+c.name+suffix+`"`)
	if gop {
		head.Set("X-Gop-Frames", strconv.Itoa(len(c.packets)))
		head.Set("X-Gop-Open", strconv.FormatBool(c.open)) // more of it may come
		head.Set(exposedHeader, head.Get(exposedHeader)+", X-Gop-Frames, X-Gop-Open")
	}
	send := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer expire(w, body.size)()
		http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(&body, 0, body.size))
	})
	Describe(send).ServeHTTP(w, r.WithContext(WithMeta(r.Context(), c.meta)))
	return nil
}

// expire bounds how long an answer of size bytes may take, up to the call of done.
func expire(w http.ResponseWriter, size int64) (done func()) {
	c := http.NewResponseController(w)
	// What cannot have a deadline is a connection of a test.
	_ = c.SetWriteDeadline(time.Now().Add(patience + time.Duration(size)*time.Second/slowest))
	return func() {
		if c.Flush() == nil {
			_ = c.SetWriteDeadline(time.Time{})
		}
	}
}
