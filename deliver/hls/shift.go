package hls

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver"
	text "github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

// History has what was live before the window.
type History interface {
	// History returns the segments of a rendition from a time on up to number next, without
	// a hole, none of which rounds to more than target seconds.
	History(ctx context.Context, name, rend string, from time.Time, next, target int64) (deliver.Past, error)
}

// maxShift bounds how far back a live playlist goes.
const maxShift = 25 * time.Hour

// shift returns from when on a live playlist is asked for, by start=; false: it is the
// window.
func (h *Handler) shift(q url.Values) (from time.Time, ok bool, err error) {
	if h.cfg.History == nil || !q.Has("start") {
		return from, false, nil
	}
	now := h.cfg.Hub.Now()
	from, err = deliver.ParseTime(q.Get("start"), now)
	switch {
	case err != nil:
		return from, false, fmt.Errorf("start: %w", err)
	case len(q["start"]) > 1:
		return from, false, fmt.Errorf("start: given twice")
	case now.Sub(from) > maxShift:
		return from, false, fmt.Errorf("start: more than %v ago", maxShift)
	}
	return from, true, nil
}

// shiftQuery is what URIs of playlists get of a request that goes further back.
func shiftQuery(q url.Values) string {
	if !q.Has("start") {
		return ""
	}
	return "?start=" + url.QueryEscape(q.Get("start"))
}

// shifted answers with a rendition's playlist that begins before the window. It is not
// kept for others: there are too many times to begin at.
func (h *Handler) shifted(w http.ResponseWriter, r *http.Request, s *live.Stream, e *live.Edge, x *live.Rendition, d directives, from time.Time) {
	past := history{query: shiftQuery(r.URL.Query())}
	if len(x.Segments) > 0 {
		var err error
		if past.Past, err = h.cfg.History.History(r.Context(), s.Name(), x.Name, from, x.Segments[0].MSN, e.TargetDuration); err != nil {
			httpio.Busy(w, "what is kept cannot be read now")
			return
		}
	}
	skip := int64(0)
	if d.skip {
		if skip = skippable(e, x); skip > 0 {
			skip += int64(len(past.Segments))
		} else {
			skip = skippablePast(e, x, past.Segments)
		}
	}
	if len(past.Segments) > 0 {
		last := &x.Segments[len(x.Segments)-1]
		h.cfg.Hub.Promise(r.Context(), s.Name(), past.Segments[0].ProgramDateTime, last.Date.Add(last.Duration()))
	}
	b := media(e, x, past, skip)
	cache := "no-cache"
	if age := keep(e, d); age > 0 {
		cache = fmt.Sprintf("public, max-age=%d", int64(age/time.Second))
	}
	httpio.WriteText(w, r, httpio.Text{Type: "application/vnd.apple.mpegurl", CacheControl: cache, Plain: b, Zip: func() []byte { return h.zip.Compress(b) }})
}

// history is what a playlist lists before the window.
type history struct {
	deliver.Past
	query string // of URIs of other playlists
}

// skippablePast counts the segments before the window that are farther from the end than
// CAN-SKIP-UNTIL, where all of the window is nearer.
func skippablePast(e *live.Edge, r *live.Rendition, past []text.Segment) int64 {
	if e.Ended {
		return 0
	}
	left := control(e).CanSkipUntil
	if o := r.Open; o != nil && o.Listed > 0 {
		left -= av.Timebase{Num: 1, Den: o.Timescale}.Duration(o.Parts[o.Listed-1].DTS + o.Parts[o.Listed-1].Dur - o.DTS)
	}
	for i := range r.Segments {
		left -= r.Segments[i].Duration()
	}
	for i := len(past) - 1; i >= 0; i-- {
		if left <= 0 {
			return int64(i + 1)
		}
		left -= past[i].Span.Timebase.Duration(past[i].Span.Dur)
	}
	return 0
}
