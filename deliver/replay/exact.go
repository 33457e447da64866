package replay

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/index"
)

const (
	// maxExact bounds a file that is cut to the frame: where all of its samples lie is
	// found out, and told, before the first of them.
	maxExact = 2 * time.Hour
	// maxPlans is how many are planned at a time: the samples of two hours take 60 MB and
	// half a second.
	maxPlans = 4
	// leadOut is how far behind the end it is looked for the key frame behind the next:
	// pictures before the end may be decoded after the next one.
	leadOut = 12 * time.Second
)

// exact plans the film of a range that shows the frames of it and no others: those whose
// middle lies in it. It begins with the key frame before, and an edit list hides what is
// too early: a table of all samples, as players leave out nothing that is in fragments.
func (h *Handler) exact(ctx context.Context, name string, p period) (*film, error) {
	if p.From.IsZero() || p.To.IsZero() {
		return nil, bad("exact: from and to must be given")
	}
	if p.To.Sub(p.From) > maxExact {
		return nil, bad(fmt.Sprintf("exact: the range is longer than %v: ask for less at a time", maxExact))
	}
	select {
	case h.plans <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-h.plans }()
	x := &exactly{p: p, from: math.MinInt64, to: math.MaxInt64}
	f, err := h.plan(ctx, name, p, x)
	if err != nil {
		return nil, err
	}
	if err := x.lay(ctx, f); err != nil {
		return nil, err
	}
	f.cut = nil // the header has its tables
	return f, f.seal()
}

// exactly is how a film is cut to the frame.
type exactly struct {
	p        period
	from, to int64 // of the lead, in ticks of the film without delay
	behind   bool  // a key frame behind the end was met
	tables   []mp4.Table
	starts   []int64 // decode time of the first sample of each track, without delay
	first    int64   // that is shown, of the lead
	end      int64
	needed   int64 // bytes of the pieces, of which those behind are not
}

// place notes where the range begins and ends, if that is in a chunk or in a hole before it:
// that is left out, so that it is where the run begins.
func (x *exactly) place(f *film, e *index.Entry) {
	at := func(t time.Time) int64 {
		return max(f.run.at, e.Start+e.Timebase.Ticks(t.Sub(e.Wall))+f.run.at-f.run.base)
	}
	if x.from == math.MinInt64 && e.End().After(x.p.From) {
		x.from = at(x.p.From)
	}
	if x.to == math.MaxInt64 && e.End().After(x.p.To) {
		x.to = at(x.p.To)
	}
}

// lay finds all samples, and makes the header.
func (x *exactly) lay(ctx context.Context, f *film) error {
	n := f.leadTrack()
	x.tables, x.starts = make([]mp4.Table, len(f.tracks)), make([]int64, len(f.tracks))
	x.first, x.end = math.MaxInt64, math.MinInt64
	// First the lead, by which the others are cut.
	if err := x.read(ctx, f, n, n); err != nil {
		return err
	}
	if x.end <= x.first {
		return missing("no frame of that time is kept")
	}
	for i := range f.tracks {
		if i != n {
			if err := x.read(ctx, f, i, n); err != nil {
				return err
			}
		}
	}
	lead := f.tracks[n]
	var tracks []mp4.Laid
	for i, t := range f.tracks {
		if x.tables[i].Len() == 0 {
			continue
		}
		l := mp4.Laid{ID: uint32(len(tracks) + 1), Table: &x.tables[i], Start: x.starts[i]}
		l.From = max(l.Start, av.Timebase{Num: 1, Den: lead.scale}.Rescale(x.first, av.Timebase{Num: 1, Den: t.scale}))
		for _, h := range t.heads {
			l.Tracks = append(l.Tracks, h.track)
		}
		tracks = append(tracks, l)
	}
	for len(f.pieces) > 0 && f.pieces[len(f.pieces)-1].at >= x.needed {
		f.size -= f.pieces[len(f.pieces)-1].size
		f.pieces = f.pieces[:len(f.pieces)-1]
	}
	var err error
	f.plain = true
	if f.header, err = mp4.AppendLaid(nil, tracks, lead.scale, x.end-x.first, f.size); err != nil {
		return &refusal{415, err.Error()}
	}
	return nil
}

// leadTrack returns which track decides.
func (f *film) leadTrack() int {
	for i, t := range f.tracks {
		if t.video {
			return i
		}
	}
	return 0
}

// read gathers the samples of a track, up to the last that is needed.
func (x *exactly) read(ctx context.Context, f *film, n, lead int) error {
	t := f.tracks[n]
	tb, leadBase := av.Timebase{Num: 1, Den: t.scale}, av.Timebase{Num: 1, Den: f.tracks[lead].scale}
	type placed struct {
		mp4.Sample
		description uint32
	}
	var list []placed
	last := 0 // samples up to the last that is shown
	for i := range f.pieces {
		p := &f.pieces[i]
		if int(p.track) != n {
			continue
		}
		err := f.samples(ctx, p, func(s mp4.Sample) {
			s.DTS, s.PTS, s.Offset = s.DTS+p.shift, s.PTS+p.shift, s.Offset+p.at
			list = append(list, placed{s, p.description})
			middle := s.PTS + s.Dur/2
			switch {
			case n == lead && middle >= x.from && middle < x.to:
				x.first, x.end, last = min(x.first, s.PTS), max(x.end, s.PTS+s.Dur), len(list)
			case n != lead && tb.Compare(s.PTS+s.Dur, leadBase, x.first) > 0 && tb.Compare(s.PTS, leadBase, x.end) < 0:
				last = len(list)
			}
		})
		if err != nil {
			return err
		}
	}
	first := 0
	for n != lead && first < last && tb.Compare(list[first].PTS+list[first].Dur, leadBase, x.first) <= 0 {
		first++ // every one of the others can be decoded by itself
	}
	if t.video {
		first = 0
	}
	for i := first; i < last; i++ {
		s := &list[i]
		if x.tables[n].Len() == 0 {
			x.starts[n] = s.DTS
		}
		x.tables[n].Add(s.Sample, s.description)
		x.needed = max(x.needed, s.Offset+s.Size)
	}
	return nil
}

// samples calls f with the samples of a piece; their offsets count from its beginning.
func (f *film) samples(ctx context.Context, p *piece, each func(mp4.Sample)) error {
	if p.data != nil {
		return fragments(p.data, func(list []mp4.Sample) error {
			for _, s := range list {
				each(s)
			}
			return nil
		})
	}
	o, err := f.h.cfg.Store.Open(ctx, p.object)
	if err != nil {
		return err
	}
	defer o.Close()
	var list []mp4.Sample
	for off := int64(0); off < p.size; {
		at, moof, err := readMoof(o, p.off+off, p.size-off)
		if err == nil && moof != nil {
			list, _, err = mp4.AppendSamples(list[:0], moof, p.size-off-at)
		}
		if err != nil {
			return &index.CorruptError{Path: p.object, Offset: p.off + off, Why: err.Error()}
		}
		if moof == nil {
			return nil
		}
		end := at + int64(len(moof))
		for _, s := range list {
			s.Offset += off + at
			each(s)
			end = max(end, s.Offset+s.Size-off)
		}
		off += end
	}
	return nil
}

// readMoof returns the first moof in size bytes from off on, and where it begins; nil if
// there is none.
func readMoof(o io.ReaderAt, off, size int64) (int64, []byte, error) {
	b := make([]byte, min(headRead, size))
	if err := readFull(o, b, off); err != nil {
		return 0, nil, err
	}
	at, n := mp4.MoofSize(b)
	switch {
	case n == 0 && len(b) >= 8 && int64(binary.BigEndian.Uint32(b)) == size:
		return 0, nil, nil // one box, which is none
	case n == 0 || n > maxMoof || at+n > size:
		return 0, nil, errFragment
	case at+n > int64(len(b)):
		b = make([]byte, at+n)
		if err := readFull(o, b, off); err != nil {
			return 0, nil, err
		}
	}
	return at, b[at : at+n], nil
}
