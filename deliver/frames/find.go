package frames

import (
	"context"
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/live"
)

// spot is where a key frame lies.
type spot struct {
	segments []*live.Segment // of the rendition, newest first
	at       int             // its own among them
	part     int
	sample   int
}

// newestFirst lists what there is of a rendition.
func newestFirst(x *live.Rendition) []*live.Segment {
	list := make([]*live.Segment, 0, len(x.Past)+len(x.Segments)+1)
	if o := x.Open; o != nil && len(o.Parts) > 0 {
		list = append(list, o)
	}
	for _, kept := range [...][]live.Segment{x.Segments, x.Past} {
		for i := len(kept) - 1; i >= 0; i-- {
			if s := &kept[i]; !s.Gap && len(s.Parts) > 0 {
				list = append(list, s)
			}
		}
	}
	return list
}

// window returns where what there is begins and ends.
func (f *spot) window() [2]mark {
	oldest, newest := f.segments[len(f.segments)-1], f.segments[0]
	start := oldest.Start
	if len(oldest.Keys) > 0 {
		start = oldest.Keys[0].PTS // leading pictures before it are none of it
	}
	return [2]mark{{start, timebase(oldest)}, {end(newest), timebase(newest)}}
}

// end returns where a segment ends so far.
func end(s *live.Segment) int64 {
	last := &s.Parts[len(s.Parts)-1]
	return last.DTS + last.Dur
}

func timebase(s *live.Segment) av.Timebase { return av.Timebase{Num: 1, Den: s.Timescale} }

// find returns the key frame asked for: a *refusal if there is none.
func (h *Handler) find(ctx context.Context, x *live.Rendition, p place) (spot, error) {
	f := spot{segments: newestFirst(x)}
	if len(f.segments) == 0 {
		return f, later("there is no key frame yet")
	}
	switch p.kind {
	case numbered:
		return h.number(ctx, f, p.n)
	case beforeEdge:
		edge := f.segments[0]
		p.at = timebase(edge).Duration(end(edge)) - p.at
	}
	back := p.n
	for ; f.at < len(f.segments); f.at++ {
		seg := f.segments[f.at]
		limit := int64(1<<63 - 1)
		if p.kind == atTime || p.kind == beforeEdge {
			// To the nearest tick: who asks may have rounded what a header said.
			if limit = timebase(seg).Ticks(p.at); seg.Start > limit {
				continue
			}
		}
		found, err := h.within(ctx, &f, limit, &back)
		if err != nil || found {
			return f, err
		}
	}
	return f, missing("that is older than what is kept")
}

// within looks for a key frame presented at limit or before in f's segment, of which
// back newer ones are to be passed over. Parts are read from the newest on, and none
// that begins too late.
func (h *Handler) within(ctx context.Context, f *spot, limit int64, back *int64) (bool, error) {
	seg := f.segments[f.at]
	r, err := h.open(ctx, seg)
	if err != nil {
		return false, err
	}
	defer r.Close()
	for f.part = len(seg.Parts) - 1; f.part >= 0; f.part-- {
		if seg.Parts[f.part].DTS > limit {
			continue
		}
		list, _, err := r.samples(f.part)
		if err != nil {
			return false, err
		}
		for f.sample = len(list) - 1; f.sample >= 0; f.sample-- {
			if s := &list[f.sample]; !s.Sync || s.PTS > limit {
				continue
			}
			if *back == 0 {
				return true, nil
			}
			*back--
		}
	}
	return false, nil
}

// number finds the key frame that the playlist of key frames gives the number n.
func (h *Handler) number(ctx context.Context, f spot, n int64) (spot, error) {
	first := f.segments[0]
	if n >= first.FirstKey+int64(len(first.Keys)) {
		return f, missing("there is no key frame of that number yet")
	}
	for ; f.at < len(f.segments); f.at++ {
		seg := f.segments[f.at]
		i := n - seg.FirstKey
		if i < 0 || i >= int64(len(seg.Keys)) {
			continue
		}
		key := &seg.Keys[i]
		f.part = slices.IndexFunc(seg.Parts, func(p live.Part) bool { return key.Offset >= p.Offset && key.Offset < p.Offset+p.Size })
		if f.part < 0 {
			break
		}
		r, err := h.open(ctx, seg)
		if err != nil {
			return f, err
		}
		defer r.Close()
		list, _, err := r.samples(f.part)
		f.sample = slices.IndexFunc(list, func(s mp4.Sample) bool { return s.PTS == key.PTS })
		if err == nil && f.sample < 0 {
			break
		}
		return f, err
	}
	return f, missing("that is older than what is kept")
}
