package hls

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

// grow answers with a segment that is not whole: its parts as they come, each sent at
// once (chunked transfer, the low latency of DASH), up to its end. One that comes next
// is waited for. What cannot be sent to its end is cut off, so that nobody takes it for
// the segment. Ranges are ignored, as RFC 9110 14.2 allows: the size is not known.
func (h *Handler) grow(w http.ResponseWriter, r *http.Request, s *live.Stream, x *live.Rendition, p place) {
	e := s.Edge()
	if x.Segment(p.epoch, p.msn) == nil {
		if p.part = 0; e.Ended || e.PartTarget == 0 || !upcoming(x, p) {
			httpio.Fail(w, http.StatusNotFound, "it has left the window, or was never there")
			return
		}
	}
	leave := deliver.Wait(w, r, h.cfg.Hub)
	if leave == nil {
		return
	}
	defer leave()
	g := &growing{w: w, r: r, route: h.cfg.Route, s: s, rendition: x.Name, kind: x.Track.Kind, p: p}
	for {
		x = e.Rendition(g.rendition)
		done, ok := x != nil, x != nil
		if ok {
			done, ok = g.send(x)
		}
		if done && ok {
			g.end(true)
			return
		}
		if ok && !e.Ended {
			ok = g.await(r, e, 3*time.Duration(e.TargetDuration)*time.Second)
			e = s.Edge()
			if ok {
				continue
			}
		}
		switch {
		case g.out != nil:
			g.end(false)
			return
		case done:
			httpio.Fail(w, http.StatusNotFound, "it has nothing, or was never there")
			return
		}
		httpio.Busy(w, "the segment did not come in time")
		return
	}
}

// growing is an answer under way.
type growing struct {
	w         http.ResponseWriter
	r         *http.Request
	route     *httpio.Route
	s         *live.Stream
	rendition string
	kind      av.Kind
	p         place
	out       *httpio.Response // nil: the header is not sent
	sent      int              // parts
}

// send sends the parts that have come. It reports whether the segment has ended, and
// whether all went well.
func (g *growing) send(x *live.Rendition) (done, ok bool) {
	seg := x.Segment(g.p.epoch, g.p.msn)
	whole := x.Whole(g.p.msn)
	if seg == nil || seg.Gap {
		return whole, !whole && g.out == nil
	}
	if g.out == nil && len(seg.Parts) > 0 {
		describe(g.w, g.kind, strconv.Quote(strings.TrimSuffix(segmentURI(seg), ".m4s")))
		if g.r.Method == http.MethodHead {
			return true, true
		}
		var err error
		if g.out, err = httpio.Start(g.w, g.r, httpio.Options{Route: g.route, Keep: true}); err != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
	}
	for ; g.sent < len(seg.Parts); g.sent++ {
		b := seg.Parts[g.sent].Retain()
		if b == nil {
			return false, false // it has left memory: the client was too slow
		}
		err := g.out.Write([][]byte{b.Bytes()})
		b.Release()
		if err != nil {
			return false, false // the client is gone, or too slow
		}
	}
	return whole, true
}

// end ends what has begun; whole: properly.
func (g *growing) end(whole bool) {
	if g.out != nil {
		_ = g.out.Close(whole) // it is cut off if that fails
	}
}

// await waits for a newer edge, up to the time that may pass without a part. It reports
// whether there is one.
func (g *growing) await(r *http.Request, e *live.Edge, most time.Duration) bool {
	sent := g.sent
	limit := time.NewTimer(most)
	defer limit.Stop()
	for {
		select {
		case <-e.Changed():
			e = g.s.Edge()
		case <-limit.C:
			return false
		case <-r.Context().Done():
			return false
		}
		x := e.Rendition(g.rendition)
		if x == nil || e.Ended || x.Whole(g.p.msn) {
			return true
		}
		if seg := x.Segment(g.p.epoch, g.p.msn); seg != nil && len(seg.Parts) > sent {
			return true
		}
	}
}
