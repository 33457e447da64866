package replay

import (
	"cmp"
	"context"
	"time"

	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/index"
)

// History returns the segments of a rendition from a time on up to chunk number next, as
// a live playlist lists them before its own: their numbers go on without a hole up to it,
// and none is longer than what is promised, in seconds.
func (h *Handler) History(ctx context.Context, name, rend string, from time.Time, next, target int64) (deliver.Past, error) {
	s := &scan{only: rend, alone: true}
	defer h.release(s)
	if from = from.Add(slack); from.Before(h.cfg.Hub.Horizon(name)) {
		from = h.cfg.Hub.Horizon(name)
	}
	var failed error
	err := index.Pass(ctx, h.cfg.Index, name, from, time.Time{}, func(e *index.Entry) bool {
		if e.Seq >= next {
			return false
		}
		if n := len(s.segments); n > 0 && e.Seq != s.segments[n-1].seq+1 {
			s.segments = s.segments[:0] // the list begins behind the hole
		}
		s.target = 1
		if s.add(e); s.target > target {
			s.segments = s.segments[:0]
		}
		failed = h.take(s)
		return failed == nil
	})
	err = cmp.Or(err, failed)
	past := deliver.Past{Independent: s.alone}
	if n := len(s.segments); err != nil || n == 0 || s.segments[n-1].seq != next-1 {
		return past, err
	}
	s.segments[0].discontinuity = false // its number is that of what follows, with it or without
	segments, err := h.list(name, s)
	if err != nil {
		return past, err
	}
	past.Segments = make([]hls.Segment, 0, len(s.segments))
	for x := range segments {
		if past.Segments = append(past.Segments, x); x.Discontinuity {
			past.Discontinuities++
		}
	}
	return past, nil
}
