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
	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/store"
)

// place names a segment, or a part of one.
type place struct {
	epoch     uint32
	msn, part int64 // part -1: the segment
}

// parsePlace reads EPOCH-NUMBER or EPOCH-NUMBER.PART, as segmentURI and partURI write
// them: no place has two names.
func parsePlace(name string) (p place, ok bool) {
	epoch, number, _ := strings.Cut(name, "-")
	number, part, isPart := strings.Cut(number, ".")
	e, err1 := strconv.ParseUint(epoch, 10, 32)
	msn, err2 := strconv.ParseInt(number, 10, 64)
	p = place{uint32(e), msn, -1}
	want := fmt.Sprintf("%d-%d", e, msn)
	var err3 error
	if isPart {
		p.part, err3 = strconv.ParseInt(part, 10, 32)
		want = fmt.Sprintf("%s.%d", want, p.part)
	}
	return p, err1 == nil && err2 == nil && err3 == nil && name == want && msn >= 0 && (!isPart || p.part >= 0)
}

// segment answers with a segment or a part. The part that was announced by
// EXT-X-PRELOAD-HINT, and the one after it, is waited for; a segment that is open is
// sent as it grows.
func (h *Handler) segment(w http.ResponseWriter, r *http.Request, s *live.Stream, rend, name string) {
	p, ok := parsePlace(name)
	e := s.Edge()
	x := e.Rendition(rend)
	if !ok || x == nil {
		h.older(w, r, "no such segment")
		return
	}
	if p.part >= 0 {
		if x = h.awaitPart(w, r, s, e, x, p); x == nil {
			return
		}
	}
	if p.part < 0 && !x.Whole(p.msn) {
		h.grow(w, r, s, x, p)
		return
	}
	seg := x.Segment(p.epoch, p.msn)
	if seg == nil && p.part < 0 {
		h.older(w, r, "it has left the window, or was never there")
		return
	}
	if seg == nil || seg.Gap || p.part >= int64(len(seg.Parts)) {
		httpio.Fail(w, http.StatusNotFound, "it has left the window, or was never there")
		return
	}
	if p.part < 0 {
		h.serve(w, r, x.Track.Kind, seg, tagOf(r, seg, name), 0, seg.Size, seg.Retain())
		return
	}
	part := &seg.Parts[p.part]
	var held []*mem.Block
	if b := part.Retain(); b != nil {
		held = []*mem.Block{b}
	}
	h.serve(w, r, x.Track.Kind, seg, strconv.Quote(name), part.Offset, part.Size, held)
}

// awaitPart waits for a part that comes next, and returns the rendition when it is
// there, or will not come. It answers itself, and returns nil, if it did not come in
// time.
func (h *Handler) awaitPart(w http.ResponseWriter, r *http.Request, s *live.Stream, e *live.Edge, x *live.Rendition, p place) *live.Rendition {
	if !upcoming(x, p) || e.Ended || e.PartTarget == 0 {
		return x
	}
	leave := deliver.Wait(w, r, h.cfg.Hub)
	if leave == nil {
		return nil
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Duration(e.TargetDuration)*time.Second)
	defer cancel()
	e, err := s.Await(ctx, x.Name, p.msn, p.part)
	if err != nil {
		httpio.Busy(w, "the part did not come in time")
		return nil
	}
	if x = e.Rendition(x.Name); x == nil {
		httpio.Fail(w, http.StatusNotFound, "no such rendition")
	}
	return x
}

// upcoming reports whether p is not there, but the next part of the segment that is
// open, or the first of the one after it.
func upcoming(x *live.Rendition, p place) bool {
	last, have := x.Last(), int64(0)
	if o := x.Open; o != nil {
		if o.Epoch != p.epoch {
			return false
		}
		last, have = o.MSN-1, int64(len(o.Parts))
	} else if n := len(x.Segments); n == 0 || x.Segments[n-1].Epoch != p.epoch {
		return false
	}
	return p.msn == last+1 && (p.part == have || p.part == have+1) || p.msn == last+2 && p.part == 0
}

// init answers with an initialization section.
func (h *Handler) init(w http.ResponseWriter, r *http.Request, s *live.Stream, rend, name string) {
	x := s.Edge().Rendition(rend)
	if x == nil {
		h.older(w, r, "no such rendition")
		return
	}
	if b := s.Init(name); b != nil {
		describe(w, x.Track.Kind, strconv.Quote(name))
		defer httpio.Expire(w, int64(len(b)))()
		http.ServeContent(w, httpio.IgnoreRange(r), "", time.Time{}, strings.NewReader(string(b)))
		return
	}
	h.stored(w, r, x.Track.Kind, strconv.Quote(name), s.Name()+"/"+name, 0, -1)
}

// describe sets the headers of media, which never changes under its name.
func describe(w http.ResponseWriter, kind av.Kind, tag string) {
	w.Header().Set("Content-Type", kind.String()+"/mp4")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Etag", tag)
}

// serve answers with size bytes of a segment from off on: those of held, which it
// releases, or if there are none the store's.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, kind av.Kind, seg *live.Segment, tag string, off, size int64, held []*mem.Block) {
	if held == nil {
		key, at, ok := seg.Stored()
		if !ok {
			httpio.Fail(w, http.StatusNotFound, "it was lost")
			return
		}
		h.stored(w, r, kind, tag, key, at+off, size)
		return
	}
	body := mem.NewBlockReader(held)
	defer body.Close()
	describe(w, kind, tag)
	defer httpio.Expire(w, size)()
	if plain(r) {
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		if r.Method == http.MethodHead {
			return
		}
		_, _ = body.WriteTo(w) // a client that is gone, or too slow, needs no answer
		return
	}
	httpio.ServeReader(w, r, time.Time{}, body)
}

// plain reports whether a request has no conditions and asks for everything.
func plain(r *http.Request) bool {
	for _, name := range [...]string{"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	return true
}

// stored answers with bytes of an object in the store; size -1 is all of it.
func (h *Handler) stored(w http.ResponseWriter, r *http.Request, kind av.Kind, tag, key string, off, size int64) {
	if !httpio.FewRanges(w, r) {
		return
	}
	o, err := h.cfg.Store.Open(r.Context(), key)
	switch {
	case errors.Is(err, store.ErrNotExist), errors.Is(err, store.ErrKey):
		httpio.Fail(w, http.StatusNotFound, "no longer kept")
		return
	case err != nil:
		httpio.Busy(w, "the store does not answer")
		return
	}
	defer o.Close()
	if size < 0 {
		size = o.Size()
	}
	describe(w, kind, tag)
	defer httpio.Expire(w, size)()
	if f, ok := o.(store.Filer); ok {
		httpio.ServeFile(w, r, time.Time{}, f.Descriptor(), off, size)
		return
	}
	http.ServeContent(w, httpio.IgnoreRange(r), "", time.Time{}, io.NewSectionReader(o, off, size))
}
