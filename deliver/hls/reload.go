package hls

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

// directives are the delivery directives of a request (RFC 8216bis 6.2.5).
type directives struct {
	msn, part int64 // -1: not given
	skip      bool
}

// parseDirectives reads them from a query. A part without its segment, and what is no
// number, is an error.
func parseDirectives(q url.Values) (d directives, err error) {
	d = directives{msn: -1, part: -1, skip: q.Get("_HLS_skip") == "YES" || q.Get("_HLS_skip") == "v2"}
	for _, f := range [...]struct {
		name string
		to   *int64
	}{{"_HLS_msn", &d.msn}, {"_HLS_part", &d.part}} {
		if !q.Has(f.name) {
			continue
		}
		n, err := strconv.ParseInt(q.Get(f.name), 10, 64)
		if err != nil || n < 0 {
			return d, fmt.Errorf("%s is not a number of 0 to 2^63-1", f.name)
		}
		*f.to = n
	}
	if d.part >= 0 && d.msn < 0 {
		return d, errors.New("_HLS_part without _HLS_msn")
	}
	return d, nil
}

// ahead reports whether a request is for what no client can know of: more than two
// segments beyond the last one, or more parts than last three seconds.
func (d *directives) ahead(e *live.Edge, r *live.Rendition) bool {
	last := r.Last()
	if d.msn > last+2 {
		return true
	}
	if d.part < 0 || d.msn <= last || e.PartTarget <= 0 {
		return false
	}
	limit := int64(3)
	if e.PartTarget < time.Second {
		limit = int64((3*time.Second + e.PartTarget - 1) / e.PartTarget)
	}
	have := int64(0) // parts of the segment asked for
	if o := r.Open; o != nil && o.MSN == d.msn {
		have = int64(o.Listed)
	}
	return d.part >= have+limit
}

// await returns the edge that answers a request for a rendition's playlist, or answers
// with an error itself, and returns nil.
func (h *Handler) await(w http.ResponseWriter, r *http.Request, s *live.Stream, rend string) (*live.Edge, directives) {
	d, err := parseDirectives(r.URL.Query())
	e := h.ready(w, r, s)
	if e == nil || e.Ended { // 6.2.5.2: directives are ignored when ENDLIST is there
		return e, directives{msn: -1, part: -1}
	}
	if err != nil {
		httpio.Fail(w, http.StatusBadRequest, err.Error())
		return nil, d
	}
	x := e.Rendition(rend)
	if x == nil || d.msn < 0 {
		return e, d
	}
	if d.ahead(e, x) {
		httpio.Fail(w, http.StatusBadRequest, fmt.Sprintf("segment %d, part %d is too far ahead of segment %d", d.msn, d.part, x.Last()))
		return nil, d
	}
	if x.Reached(d.msn, d.part) {
		return e, d
	}
	leave := deliver.Wait(w, r, h.cfg.Hub)
	if leave == nil {
		return nil, d
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Duration(e.TargetDuration)*time.Second)
	defer cancel()
	e, err = s.Await(ctx, rend, d.msn, d.part)
	if err != nil {
		httpio.Busy(w, "the stream has not come to this segment in time")
		return nil, d
	}
	return e, d
}

// ready returns the first edge that has segments, or answers with an error itself. A
// stream that has just begun is waited for.
func (h *Handler) ready(w http.ResponseWriter, r *http.Request, s *live.Stream) *live.Edge {
	return deliver.Ready(w, r, h.cfg.Hub, s, h.cfg.Wait)
}
