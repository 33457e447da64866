package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/store"
)

// entry is what the index keeps of a closed chunk, and its object says of itself; its size
// is that of the segments, one behind the other. With sofar the chunk may be open, and is
// described as if it ended with the parts that it has. False: the chunk's segments are not
// there to be described.
func (p *publisher) entry(o *opened, sofar bool) (index.Entry, bool) {
	c := o.c
	e := index.Entry{
		Epoch: p.s.epoch, Seq: int64(c.Seq), Object: o.object.key, Discontinuity: c.Discont, Independent: c.Independent, Reason: c.Why, Gap: true,
	}
	lead := false
	for i, l := range p.lanes {
		s := l.r.Segment(l.epoch, int64(c.Seq))
		if l.in == o {
			s = &l.seg
		}
		if s == nil && sofar {
			s = l.nothing(o)
		}
		if s == nil {
			return e, false
		}
		gap := len(s.Parts) == 0
		t := index.Track{
			Name: l.r.Name, Init: s.Init, Timescale: s.Timescale, Start: s.Start, Duration: max(s.Dur, 1), Offset: e.Size, Size: s.Size,
			Gap: gap, Independent: c.Independent || l.r.Track.Kind != av.Video,
		}
		if x := s.Sealed; x != nil && !gap {
			t.KeyID, t.IV = x.KeyID, x.IV
		}
		e.Tracks = append(e.Tracks, t)
		e.Size += s.Size
		e.Gap = e.Gap && gap
		if lead || l.track != c.Lead && i < len(p.lanes)-1 {
			continue
		}
		lead = true
		e.Timebase, e.Start, e.Duration, e.Wall = av.Timebase{Num: 1, Den: s.Timescale}, s.Start, max(s.Dur, 1), s.Date
		for _, k := range s.Keys {
			e.Keys = append(e.Keys, index.Key{Time: k.PTS, Offset: t.Offset + k.Offset, Size: k.Size})
		}
	}
	return e, lead && e.Validate() == nil
}

// nothing is the segment of an open chunk of which the lane has had nothing.
func (l *lane) nothing(o *opened) *Segment {
	c := o.c
	start := c.Span.Timebase.Rescale(c.Span.Start, l.tb)*l.factor + l.off
	return &Segment{Init: o.inits[l.section].name, Timescale: l.scale, DTS: start, Start: start, Dur: 1}
}

// maxUnlisted is how many entries wait for an index that takes none for the moment. More
// are found in the store when the server starts.
const maxUnlisted = 1024

// enlist puts a stored chunk into the index, behind those that are not there yet. Its
// failure is no failure of the stream: the object says of itself what the index would.
func (s *Stream) enlist(ctx context.Context, e *index.Entry) {
	ix := s.hub.cfg.Index
	if ix == nil || e == nil {
		return
	}
	if len(s.unlisted) == maxUnlisted {
		s.unlisted = s.unlisted[1:]
	}
	s.unlisted = append(s.unlisted, *e)
	for len(s.unlisted) > 0 {
		first := &s.unlisted[0]
		err := ix.Add(ctx, s.name, *first)
		if err != nil {
			s.hub.cfg.Log.Error("chunk not in the index", "stream", s.name, "number", first.Seq, "waiting", len(s.unlisted), "error", err)
		}
		if errors.Is(err, store.ErrFull) || errors.Is(err, store.ErrTransient) {
			return
		}
		s.unlisted = s.unlisted[1:]
	}
}

// resumeState continues numbers behind those that were claimed in the index, and lets
// the chunks expire that are in it. It reports whether there were any.
func (s *Stream) resumeState(ctx context.Context) (bool, error) {
	state, ok, err := s.readState(ctx)
	if !ok || err != nil {
		return false, err
	}
	lost := state.Next
	last, err := s.hub.cfg.Index.Last(ctx, s.name)
	switch {
	case errors.Is(err, index.ErrNotFound):
	case err != nil:
		return false, fmt.Errorf("live: %s: %w", s.name, err)
	default:
		lost = max(0, state.Next-last.Seq-1)
		s.epoch, s.seq = last.Epoch, last.Seq+1
		s.clock.resume(last.End())
	}
	s.epoch, s.seq = max(s.epoch, state.Epoch), max(s.seq, state.Next)
	// Any chunk that was lost may have begun with a discontinuity.
	s.account = account{begun: s.seq, total: state.Discontinuities + lost, keys: state.Keys, resumed: true}
	return true, s.expireBefore(ctx, time.Time{})
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

// drop takes what ended by a time out of the index.
func (s *Stream) drop(ctx context.Context, ended time.Time) {
	if s.hub.cfg.Index == nil || ended.IsZero() {
		return
	}
	if err := s.hub.cfg.Index.Drop(ctx, s.name, ended); err != nil && !errors.Is(err, index.ErrNotFound) {
		s.hub.cfg.Log.Warn("index", "stream", s.name, "error", err)
	}
}
