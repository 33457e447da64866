package hls

import (
	"fmt"
	"net/http"
	"time"

	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

// multivariant answers with the multivariant playlist.
func (h *Handler) multivariant(w http.ResponseWriter, r *http.Request, s *live.Stream) {
	e := h.ready(w, r, s)
	if e == nil {
		return
	}
	_, ok, err := h.shift(r.URL.Query())
	switch {
	case err != nil:
		httpio.Fail(w, http.StatusBadRequest, err.Error())
	case ok:
		b := multivariant(e, shiftQuery(r.URL.Query()))
		httpio.WriteText(w, r, httpio.Text{Type: "application/vnd.apple.mpegurl", CacheControl: "no-cache", Plain: b, Zip: func() []byte { return h.zip.Compress(b) }})
	default:
		h.text(w, r, e, "index", func() []byte { return multivariant(e, "") }, 0)
	}
}

// media answers with a rendition's playlist, or that of its key frames.
func (h *Handler) media(w http.ResponseWriter, r *http.Request, s *live.Stream, rend string, iframes bool) {
	if e := h.ready(w, r, s); e == nil {
		return
	} else if iframes {
		h.iframes(w, r, s, rend)
		return
	}
	from, shifted, err := h.shift(r.URL.Query())
	if err != nil {
		httpio.Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	e, d := h.await(w, r, s, rend)
	if e == nil {
		return
	}
	x := e.Rendition(rend)
	switch {
	case x == nil:
		httpio.Fail(w, http.StatusNotFound, "no such rendition")
		return
	case shifted:
		h.shifted(w, r, s, e, x, d, from)
		return
	}
	name, skip := rend, int64(0)
	if d.skip {
		if skip = skippable(e, x); skip > 0 {
			name = rend + " skip"
		}
	}
	h.text(w, r, e, name, func() []byte { return media(e, x, history{}, skip) }, keep(e, d))
}

// iframes answers with the playlist of a rendition's key frames. A request for a key
// frame waits for it.
func (h *Handler) iframes(w http.ResponseWriter, r *http.Request, s *live.Stream, rend string) {
	d, err := parseDirectives(r.URL.Query())
	e := s.Edge()
	if err != nil && !e.Ended {
		httpio.Fail(w, http.StatusBadRequest, err.Error())
		return
	}
	deadline := time.NewTimer(3 * time.Duration(e.TargetDuration) * time.Second)
	defer deadline.Stop()
	var leave func()
	for {
		x := e.Rendition(rend)
		if x == nil || firstKeys(x) == nil {
			httpio.Fail(w, http.StatusNotFound, "no such rendition, or one without key frames")
			return
		}
		last := lastKey(x)
		switch {
		case e.Ended, d.msn <= last:
			h.text(w, r, e, rend+" iframes", func() []byte { return iframes(e, x) }, keep(e, d))
			return
		case d.msn > last+2:
			httpio.Fail(w, http.StatusBadRequest, fmt.Sprintf("key frame %d is too far ahead of %d", d.msn, last))
			return
		}
		if leave == nil {
			if leave = deliver.Wait(w, r, h.cfg.Hub); leave == nil {
				return
			}
			defer leave()
		}
		select {
		case <-e.Changed():
			e = s.Edge()
		case <-deadline.C:
			httpio.Busy(w, "the stream has not come to this key frame in time")
			return
		case <-r.Context().Done():
			httpio.Busy(w, "the server stops")
			return
		}
	}
}

// keep is how long caches may keep the answer: that to a request for a place stays
// right, and every player asks for the same one; any other is old with the next part.
func keep(e *live.Edge, d directives) time.Duration {
	if e.Ended || d.msn < 0 {
		return 0
	}
	return 6 * time.Duration(e.TargetDuration) * time.Second
}

// text answers with a playlist, rendered and compressed at most once for this edge.
func (h *Handler) text(w http.ResponseWriter, r *http.Request, e *live.Edge, name string, build func() []byte, keep time.Duration) {
	cache := "no-cache"
	if keep > 0 {
		cache = fmt.Sprintf("public, max-age=%d", int64(keep/time.Second))
	}
	b := e.Text(name, build)
	httpio.WriteText(w, r, httpio.Text{
		Type: "application/vnd.apple.mpegurl", CacheControl: cache, Plain: b,
		Zip: func() []byte { return e.Text(name+" gzip", func() []byte { return h.zip.Compress(b) }) },
	})
}
