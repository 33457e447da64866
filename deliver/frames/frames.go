// Package frames answers HTTP requests with frames: any key frame or GOP of a live
// stream's window or of a stored file, and what is known of each frame as it comes, with or without its
// payload.
package frames

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/store"
)

// Config is what a Handler is made of.
type Config struct {
	Hub   *live.Hub
	Store store.Store
	Files *Files // stored files; nil: there are none. Not closed.
	// Worker is cleave-av, the program that makes JPEG pictures; empty: there are none.
	Worker string
	// Route is how answers that go on are written; nil: one of its own, direct.
	Route *httpio.Route
}

// maxCopied bounds the bytes that all answers hold of what the store gave.
const maxCopied = 64 << 20

// Handler answers GET and HEAD of
//
//	/NAME/keyframe   a key frame: at=SECONDS or index=N, format=annexb, mp4, frames or jpeg
//	/NAME/gop        it and what follows up to the next: at, index, format=annexb, mp4 or frames
//	/NAME/frames     of a stream: what is known of one frame, of each as it comes if text/event-stream
//	                 is accepted, and with payload=1 the frames themselves
type Handler struct {
	cfg      Config
	copied   atomic.Int64
	pictures chan struct{} // holds one of each decoder that runs
}

var _ http.Handler = (*Handler)(nil)

// New returns a Handler.
func New(cfg Config) *Handler {
	if cfg.Route == nil {
		cfg.Route = httpio.NewRoute("frames", httpio.Direct, 0)
	}
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
	isClip := last == "keyframe" || last == "gop"
	if !h.cfg.Hub.Known(name) && h.cfg.Files.Has(name) {
		err := missing("a file has no frames as they come: use keyframe and gop")
		if isClip {
			err = h.clip(w, r, &storedFile{h, name}, last == "gop")
		}
		if err != nil {
			fail(w, err)
		}
		return
	}
	s, leave := deliver.Enter(w, r, h.cfg.Hub, name)
	if s == nil {
		return
	}
	defer leave()
	var err error
	switch {
	case s.Guarded() != nil:
		err = &refusal{http.StatusForbidden, deliver.Encrypted}
	case s.Sealing() != nil && isClip:
		err = &refusal{http.StatusForbidden, "the stream is encrypted, and so are the segments that key frames and GOPs are taken from"}
	case isClip && !s.Edge().Ready(): // the first key frame may be waited for
		if out := deliver.Wait(w, r, h.cfg.Hub); out != nil {
			defer out()
			err = h.clip(w, r, &liveStream{h, s}, last == "gop")
		}
	case isClip:
		err = h.clip(w, r, &liveStream{h, s}, last == "gop")
	default:
		err = h.list(w, r, s)
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
func (h *Handler) clip(w http.ResponseWriter, r *http.Request, o origin, gop bool) error {
	q := r.URL.Query()
	place, err := parsePlace(q)
	if err != nil {
		return bad(err)
	}
	format, err := parseFormat(q, !gop)
	if err != nil {
		return bad(err)
	}
	if !httpio.FewRanges(w, r) {
		return nil
	}
	if format == jpeg && h.cfg.Worker == "" {
		return &refusal{http.StatusNotImplemented, "there is no cleave-av here to make JPEG pictures: use format=annexb or format=mp4"}
	}
	c, err := o.cut(r.Context(), place, gop)
	if err != nil {
		return err
	}
	return h.write(w, r, c, format, gop)
}

// write answers with a clip in a format, and sees to its release.
func (h *Handler) write(w http.ResponseWriter, r *http.Request, c *clip, f format, gop bool) error {
	if f == anyFormat {
		if f = mp4File; hasAnnexB(c.track.Codec) {
			f = annexB
		}
	}
	body, err := c.body(f)
	if err != nil {
		return err
	}
	defer func() { body.Close() }()
	kind, suffix := c.kind(f)
	tag := strconv.Quote(c.name + suffix)
	if f == jpeg && strings.TrimPrefix(r.Header.Get("If-None-Match"), "W/") != tag { // else the answer is 304
		picture, err := h.picture(r.Context(), body, c.track.Rotation)
		if err != nil {
			return err
		}
		body.Close()
		body = mem.NewReader([][]byte{picture}, nil)
	}
	head := w.Header()
	head.Set("Content-Type", kind)
	// The same question has another answer soon; its name has not.
	head.Set("Cache-Control", "no-cache")
	head.Set("Etag", tag)
	head.Set("Content-Disposition", `inline; filename="`+c.name+suffix+`"`)
	c.around(head, gop)
	send := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer httpio.Expire(w, body.Size())()
		httpio.ServeReader(w, r, c.modified, body)
	})
	Describe(send).ServeHTTP(w, r.WithContext(WithMeta(r.Context(), c.meta)))
	return nil
}

// kind returns the media type of a format, and what ends its names.
func (c *clip) kind(f format) (kind, suffix string) {
	switch f {
	case annexB: // RFC 6184 8.1, RFC 7798 7.1
		return "video/" + strings.ToUpper(c.track.Codec.String()), "." + strings.Replace(c.track.Codec.String(), "h", "", 1)
	case frameMessages:
		return messagesType, ".frames"
	case jpeg:
		return "image/jpeg", ".jpg"
	}
	return `video/mp4; codecs="` + c.info.String + `"`, ".mp4"
}

// body returns the clip in a format; for JPEG what is to be decoded. It takes the clip's
// memory over.
func (c *clip) body(f format) (*mem.Reader, error) {
	var list pieces
	var err error
	switch {
	case f == annexB && !hasAnnexB(c.track.Codec):
		err = &refusal{http.StatusNotAcceptable, c.track.Codec.String() + " has no byte stream: use format=mp4"}
	case f == annexB:
		list, err = c.annexB()
	case f == frameMessages:
		list = c.messages()
	case f == jpeg:
		list, err = c.coded()
	default:
		list = c.mp4()
	}
	if err != nil {
		c.release()
		return nil, err
	}
	return mem.NewReader(list, c.release), nil
}

// around sets the headers that say where else there is something.
func (c *clip) around(head http.Header, gop bool) {
	set := func(name, value string) {
		head.Set(name, value)
		head.Set(exposedHeader, head.Get(exposedHeader)+", "+name)
	}
	set("X-Window-Start", nanoseconds(c.window[0]))
	set("X-Window-End", nanoseconds(c.window[1]))
	if !gop {
		return
	}
	set("X-Gop-Frames", strconv.Itoa(len(c.packets)))
	set("X-Gop-Open", strconv.FormatBool(c.open)) // more of it may come
	if c.next != nil {
		set("X-Gop-Next-Pts", nanoseconds(*c.next))
	}
}

func nanoseconds(m mark) string { return strconv.FormatInt(int64(m.tb.Duration(m.ticks)), 10) }
