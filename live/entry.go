package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/index"
)

// entry is what the index keeps of a closed chunk, and its object says of itself: at is
// where each lane's segment begins in the object. False: the chunk's segments are not
// there to be described.
func (p *publisher) entry(o *opened, at []int64) (index.Entry, bool) {
	c := o.c
	e := index.Entry{
		Epoch: p.s.epoch, Seq: int64(c.Seq), Object: o.object.key, Discontinuity: c.Discont, Independent: c.Independent, Reason: c.Why, Gap: true,
	}
	lead := false
	for i, l := range p.lanes {
		s := l.r.Segment(l.epoch, int64(c.Seq))
		if s == nil {
			return e, false
		}
		e.Tracks = append(e.Tracks, index.Track{
			Name: l.r.Name, Init: s.Init, Timescale: s.Timescale, Start: s.Start, Duration: s.Dur, Offset: at[i], Size: s.Size,
			Gap: s.Gap, Independent: s.Independent,
		})
		e.Gap = e.Gap && s.Gap
		if lead || l.track != c.Lead && i < len(p.lanes)-1 {
			continue
		}
		lead = true
		e.Timebase, e.Start, e.Duration, e.Wall = av.Timebase{Num: 1, Den: s.Timescale}, s.Start, s.Dur, s.Date
		for _, k := range s.Keys {
			e.Keys = append(e.Keys, index.Key{Time: k.PTS, Offset: at[i] + k.Offset, Size: k.Size})
		}
	}
	return e, lead && e.Validate() == nil
}

// enlist puts a stored chunk into the index. Its failure is no failure of the stream:
// the object says of itself what the index would.
func (s *Stream) enlist(ctx context.Context, e *index.Entry) {
	ix := s.hub.cfg.Index
	if ix == nil || e == nil {
		return
	}
	if err := ix.Add(ctx, s.name, *e); err != nil {
		s.hub.cfg.Log.Error("chunk not in the index", "stream", s.name, "key", e.Object, "error", err)
	}
}

// resumeIndex continues numbers behind what the index has, and returns when that ended.
func (s *Stream) resumeIndex(ctx context.Context) (ended time.Time, _ error) {
	if s.hub.cfg.Index == nil {
		return time.Time{}, nil
	}
	last, err := s.hub.cfg.Index.Last(ctx, s.name)
	switch {
	case errors.Is(err, index.ErrNotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, fmt.Errorf("live: %s: %w", s.name, err)
	}
	s.epoch, s.seq = max(s.epoch, last.Epoch), max(s.seq, last.Seq+1)
	return last.End(), nil
}

// drop takes what of a stream ended by a time out of the index.
func (h *Hub) drop(ctx context.Context, stream string, ended time.Time) {
	if h.cfg.Index == nil || ended.IsZero() {
		return
	}
	if err := h.cfg.Index.Drop(ctx, stream, ended); err != nil && !errors.Is(err, index.ErrNotFound) {
		h.cfg.Log.Warn("index", "stream", stream, "error", err)
	}
}
