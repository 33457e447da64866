package replay

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/live"
)

// ListName is the last part of the path of the list of what is kept of a stream.
const ListName = "recordings.json"

// Recording is what is kept of a stream and can be asked for.
type Recording struct {
	Stream string `json:"stream"`
	Live   bool   `json:"live"` // somebody publishes it
	Bytes  int64  `json:"bytes"`
	Chunks int    `json:"chunks"`
	Spans  []Span `json:"spans"`
}

// Span is a stretch of time without a hole.
type Span struct {
	From            time.Time `json:"from"`
	To              time.Time `json:"to"`
	Seconds         float64   `json:"seconds"`
	Bytes           int64     `json:"bytes"`
	Chunks          int       `json:"chunks"`
	Gaps            int       `json:"gaps"` // chunks that were not stored
	Discontinuities int       `json:"discontinuities"`
}

// hole is the least time without a chunk between two spans.
const hole = time.Second

// recordings answers with the list of a stream.
func (h *Handler) recordings(w http.ResponseWriter, r *http.Request, name string) error {
	if live.CheckName(name) != nil {
		return errNone
	}
	p, err := parsePeriod(r.URL.Query(), h.cfg.Hub.Now())
	if err != nil {
		return err
	}
	list, err := h.recording(r.Context(), name, p)
	if err != nil {
		return err
	}
	if list.Chunks == 0 && h.cfg.Hub.Lookup(name) == nil {
		return errNone
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	httpio.WriteText(w, r, httpio.Text{Type: "application/json", CacheControl: "no-cache", Plain: b, Zip: func() []byte { return h.zip.Compress(b) }})
	return nil
}

// All lists what is kept, by name.
func (h *Handler) All(ctx context.Context) ([]Recording, error) {
	streams, ok := h.cfg.Index.(index.Streamer)
	if !ok {
		return nil, errors.New("replay: the index does not list its streams")
	}
	all := []Recording{}
	for name, err := range streams.Streams(ctx) {
		if err != nil {
			return nil, err
		}
		list, err := h.recording(ctx, name, period{})
		if err != nil {
			return nil, err
		}
		if list.Chunks > 0 {
			all = append(all, list)
		}
	}
	slices.SortFunc(all, func(a, b Recording) int { return strings.Compare(a.Stream, b.Stream) })
	return all, nil
}

// recording lists a range of a stream.
func (h *Handler) recording(ctx context.Context, name string, p period) (Recording, error) {
	out := Recording{Stream: name, Spans: []Span{}}
	if s := h.cfg.Hub.Lookup(name); s != nil {
		out.Live = s.Edge().Live
	}
	if kept := h.cfg.Hub.Horizon(name); p.From.Before(kept) {
		p.From = kept
	}
	var before chain
	err := index.Pass(ctx, h.cfg.Index, name, p.From, p.To, func(e *index.Entry) bool {
		broke := before.next(e)
		n := len(out.Spans)
		if n == 0 || e.Wall.Sub(out.Spans[n-1].To) > hole {
			out.Spans = append(out.Spans, Span{From: e.Wall.UTC()})
			n++
		} else if broke {
			out.Spans[n-1].Discontinuities++
		}
		s := &out.Spans[n-1]
		if end := e.End().UTC(); end.After(s.To) {
			s.To = end
		}
		if e.Gap {
			s.Gaps++
		}
		s.Bytes, s.Chunks = s.Bytes+e.Size, s.Chunks+1
		out.Bytes, out.Chunks = out.Bytes+e.Size, out.Chunks+1
		return true
	})
	for i := range out.Spans {
		s := &out.Spans[i]
		s.Seconds = s.To.Sub(s.From).Seconds()
	}
	return out, err
}
