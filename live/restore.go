package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/index"
)

// restore returns the stream of that name, or nil if it is over.
func (h *Hub) restore(ctx context.Context, name string, left salvaged) (*Stream, error) {
	s := newStream(h, name)
	state, ok, err := s.readState(ctx)
	if !ok || err != nil || state.TargetDuration == 0 { // nobody has seen a playlist
		return nil, err
	}
	last, err := h.cfg.Index.Last(ctx, name)
	if errors.Is(err, index.ErrNotFound) {
		return nil, nil
	}
	now := h.now()
	if err != nil || now.Sub(last.End()) > h.cfg.Grace+h.cfg.Window {
		return nil, err
	}
	state.Next = left.next(name, &state, last.Seq)
	w := &restored{s: s, state: state, now: now, inits: left.inits, breaks: make(map[int64]bool), infos: make(map[string]*codec.Info), tracks: make(map[string]av.Track)}
	list, err := w.window(ctx, last.End())
	if err != nil || len(list) == 0 {
		return nil, err
	}
	if err := w.build(ctx, list); err != nil {
		return nil, err
	}
	w.enlistGaps(ctx)
	w.show()
	s.keep(ctx, s.state(s.seq))
	return s, s.expireBefore(ctx, list[0].Wall)
}

// restored is a stream that is being restored.
type restored struct {
	s      *Stream
	state  index.State
	now    time.Time
	breaks map[int64]bool // numbers of chunks behind a discontinuity
	total  int64          // discontinuities, gaps included
	// unknown is the first number of which nothing was noted.
	unknown int64
	lanes   []Rendition
	date    time.Time
	in      *Stretch
	inits   map[string][]byte      // that need not be read
	infos   map[string]*codec.Info // by the name of the initialization section
	tracks  map[string]av.Track
}

// maxLost is how many numbers in a row are listed as gaps: after more, players have
// nothing left to join to.
const maxLost = 64

// window returns the entries to list: as many as the window is long, of the tracks that
// the last one has, and without too large holes.
func (w *restored) window(ctx context.Context, end time.Time) (list []index.Entry, _ error) {
	h := w.s.hub
	td := time.Duration(w.state.TargetDuration) * time.Second
	length := max(h.cfg.Window, 3*td)
	for e, err := range h.cfg.Index.Range(ctx, w.s.name, end.Add(-length), time.Time{}) {
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	first := len(list)
	for first > 0 && list[first-1].Seq >= w.state.First && w.joins(list, first-1) {
		first--
	}
	list = list[first:]
	n := len(list)
	if n == 0 || w.state.Next-list[n-1].Seq > maxLost {
		return nil, nil
	}
	// What was lost was listed, too, so that the list began later than without it.
	length -= time.Duration(w.state.Next-list[n-1].Seq-1) * (td + roundsDown)
	for first = n; first > 0 && (length > 0 || n-first < 1); {
		first--
		length -= list[first].Timebase.Duration(list[first].Duration)
	}
	return list[first:], nil
}

// joins reports whether entry i can be listed before the one behind it.
func (w *restored) joins(list []index.Entry, i int) bool {
	e := &list[i]
	if len(e.Tracks) == 0 || len(w.state.Breaks) >= maxBreaks && e.Seq < w.state.Breaks[0] {
		return false
	}
	if i == len(list)-1 {
		return true
	}
	next := &list[i+1]
	if next.Seq-e.Seq > maxLost || len(e.Tracks) < len(Received(next.Tracks)) || len(e.Tracks) > len(next.Tracks) {
		return false
	}
	// A rendition that a stage makes may have begun later.
	return slices.EqualFunc(e.Tracks, next.Tracks[:len(e.Tracks)], func(a, b index.Track) bool { return a.Name == b.Name })
}

// Received returns the tracks of a chunk without those that stages made, which are behind
// them.
func Received(tracks []index.Track) []index.Track {
	for i := range tracks {
		if MadeOf(tracks[i].Name) != "" {
			return tracks[:i]
		}
	}
	return tracks
}

// build makes the renditions.
func (w *restored) build(ctx context.Context, list []index.Entry) error {
	for _, t := range list[len(list)-1].Tracks {
		w.lanes = append(w.lanes, Rendition{Name: t.Name})
	}
	w.countBreaks(list)
	w.unknown = w.state.Next
	for i := range list {
		e := &list[i]
		if i > 0 {
			before := &list[i-1]
			w.lose(before.Seq+1, e.Seq, before.Epoch, e.Wall)
		}
		if err := w.describe(ctx, e); err != nil {
			return err
		}
		w.add(e)
	}
	last := &list[len(list)-1]
	w.unknown = last.Seq + 1
	w.lose(last.Seq+1, w.state.Next, last.Epoch, w.now)
	for i := range w.lanes {
		r := &w.lanes[i]
		name := last.Tracks[i].Init
		r.Info, r.Track = *w.infos[name], w.tracks[name]
		source := w.lanes[0].Segments
		for k := range source[:len(source)-len(r.Segments)] { // it began later
			if source[k].Discontinuity {
				r.Discontinuities++
			}
		}
	}
	return nil
}

// countBreaks finds the discontinuities: those that were noted, and those that came
// after that and stand in entries.
func (w *restored) countBreaks(list []index.Entry) {
	newest := int64(-1)
	for _, msn := range w.state.Breaks {
		w.breaks[msn] = true
		newest = msn
	}
	w.total = w.state.Discontinuities
	for i := range list {
		e := &list[i]
		parts := i > 0 && (list[i-1].Epoch != e.Epoch || !slices.EqualFunc(Received(list[i-1].Tracks), Received(e.Tracks), unbroken))
		if e.Seq > newest && (e.Discontinuity || parts) {
			w.breaks[e.Seq] = true
			w.total++
		}
	}
	after := int64(0)
	for msn := range w.breaks {
		if msn >= list[0].Seq {
			after++
		}
	}
	for i := range w.lanes {
		w.lanes[i].Discontinuities = w.total - after
	}
}

// unbroken reports whether a track's share of a chunk had no discontinuity before it. What a
// stage made is not asked: it has those of its source, and may have another header behind a
// gap.
func unbroken(a, b index.Track) bool { return a.Init == b.Init || a.KeyID != b.KeyID }

// describe reads the initialization sections of an entry, unless they are known.
func (w *restored) describe(ctx context.Context, e *index.Entry) error {
	for _, t := range e.Tracks {
		if w.infos[t.Init] != nil {
			continue
		}
		key := w.s.name + "/" + t.Init
		b, err := w.read(ctx, key)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		track, info, err := ReadInit(b)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		w.infos[t.Init], w.tracks[t.Init] = &info, track
		w.s.headers.put(t.Init, b)
	}
	return nil
}

// ReadInit reads an initialization section as streams have them, encrypted or not.
func ReadInit(b []byte) (track av.Track, info codec.Info, err error) {
	plain, err := mp4.Unseal(b)
	if err != nil {
		return track, info, err
	}
	d := mp4.New(newBytes(plain), int64(len(plain)))
	_, err = d.ReadPacket(av.Heap{})
	tracks := d.Tracks()
	d.Close()
	if len(tracks) != 1 {
		return track, info, fmt.Errorf("%d tracks: %w", len(tracks), err)
	}
	info, err = codec.Describe(&tracks[0])
	return tracks[0], info, err
}

// read returns an initialization section.
func (w *restored) read(ctx context.Context, key string) ([]byte, error) {
	if b := w.inits[key]; b != nil {
		return b, nil
	}
	o, err := w.s.hub.cfg.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	return io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
}

// add lists an entry.
func (w *restored) add(e *index.Entry) {
	breaks := w.breaks[e.Seq]
	if w.in == nil || breaks {
		w.in = &Stretch{First: e.Seq, Start: e.Start, Timescale: e.Timebase.Den, Date: e.Wall.Truncate(time.Millisecond)}
	}
	o := &object{key: e.Object, digest: e.Digest}
	o.state.Store(stored)
	if e.Object == "" {
		o.state.Store(failed)
	}
	for _, t := range e.Tracks {
		o.at = append(o.at, t.Offset)
	}
	begins := e.Timebase.Duration(e.Start)
	for i, t := range e.Tracks {
		tb := av.Timebase{Num: 1, Den: t.Timescale}
		s := Segment{
			MSN: e.Seq, Epoch: e.Epoch, Init: t.Init, Info: w.infos[t.Init], DTS: t.Start, Dur: max(t.Duration, 1), Start: t.Start, Timescale: t.Timescale,
			Size: t.Size, Date: e.Wall.Add(tb.Duration(t.Start) - begins), Stretch: w.in, Discontinuity: breaks, Gap: t.Gap, Independent: t.Independent,
			FirstKey: w.state.Keys, object: o, section: i,
		}
		if t.KeyID != [16]byte{} {
			s.Sealed = &Sealed{KeyID: t.KeyID, IV: t.IV}
		}
		w.lanes[i].Segments = append(w.lanes[i].Segments, s)
		w.reach(&s)
	}
}

// reach notes how far the stream has come.
func (w *restored) reach(s *Segment) {
	if end := s.Date.Add(s.Duration()); end.After(w.date) {
		w.date = end
	}
	tb := av.Timebase{Num: 1, Den: s.Timescale}
	w.s.end = max(w.s.end, tb.Duration(s.End()))
}

// lose lists gaps for the numbers from first up to next, whose chunks were shown, if at
// all, from memory. They fill the time up to until, as far as the promise allows.
func (w *restored) lose(first, next int64, before uint32, until time.Time) {
	if first >= next {
		return
	}
	each := until.Sub(w.date) / time.Duration(next-first)
	each = max(time.Millisecond, min(each, time.Duration(w.state.TargetDuration)*time.Second))
	for msn := first; msn < next; msn++ {
		epoch := before
		if msn >= w.state.Begun {
			epoch = w.state.Epoch
		}
		w.gap(msn, epoch, each)
	}
}

// gap lists one. What comes behind all that is known may have begun with a
// discontinuity; it does now, so that no number of a discontinuity is given twice.
func (w *restored) gap(msn int64, epoch uint32, length time.Duration) {
	if !w.breaks[msn] && msn >= w.unknown {
		w.breaks[msn] = true
		w.total++
	}
	if w.breaks[msn] || w.in == nil {
		w.in = &Stretch{First: msn, Timescale: 1000, Date: w.date.Truncate(time.Millisecond)}
	}
	o := &object{}
	o.state.Store(failed)
	date := w.date
	lead := &w.lanes[0].Segments[len(w.lanes[0].Segments)-1]
	at, leadBase := lead.End(), av.Timebase{Num: 1, Den: lead.Timescale}
	for i := range w.lanes {
		r := &w.lanes[i]
		if len(r.Segments) == 0 {
			continue // it began later
		}
		last := &r.Segments[len(r.Segments)-1]
		tb := av.Timebase{Num: 1, Den: last.Timescale}
		start := leadBase.Rescale(at, tb)
		s := Segment{
			MSN: msn, Epoch: epoch, Init: last.Init, Info: last.Info, DTS: start, Start: start, Dur: max(1, tb.Ticks(length)), Timescale: last.Timescale,
			Date: date.Add(tb.Duration(start) - leadBase.Duration(at)), Stretch: w.in, Discontinuity: w.breaks[msn], Gap: true, Independent: true, FirstKey: w.state.Keys, object: o, section: i,
		}
		r.Segments = append(r.Segments, s)
		w.reach(&s)
	}
	if end := date.Add(length); end.After(w.date) {
		w.date = end
	}
}

// enlistGaps puts the gaps at the end into the index, so that they stay what they are
// now.
func (w *restored) enlistGaps(ctx context.Context) {
	var list []index.Entry
	for k := range w.lanes[0].Segments {
		s := &w.lanes[0].Segments[k]
		if s.MSN < w.unknown {
			continue
		}
		e := index.Entry{
			Epoch: s.Epoch, Seq: s.MSN, Timebase: av.Timebase{Num: 1, Den: s.Timescale}, Start: s.Start, Duration: s.Dur, Wall: s.Date,
			Gap: true, Discontinuity: s.Discontinuity, Reason: chunk.Crash,
		}
		for i := range w.lanes {
			x := &w.lanes[i].Segments[k-len(w.lanes[0].Segments)+len(w.lanes[i].Segments)] // all end together
			e.Tracks = append(e.Tracks, index.Track{Name: w.lanes[i].Name, Init: x.Init, Timescale: x.Timescale, Start: x.Start, Duration: x.Dur, Gap: true, Independent: true})
		}
		list = append(list, e)
	}
	for i := range list {
		w.s.enlist(ctx, &list[i])
	}
}

// show gives the stream what it is to go on with.
func (w *restored) show() {
	s := w.s
	s.started = true
	s.epoch, s.seq = w.state.Epoch, w.state.Next
	s.account = account{begun: w.state.Begun, total: w.total, keys: w.state.Keys, resumed: true}
	s.account.breaks = slices.Sorted(maps.Keys(w.breaks))
	s.clock = clock{begun: true, zero: w.date.Add(-s.end), media: s.end}
	s.memory.reach(time.Duration(w.state.TargetDuration) * time.Second)
	part := w.state.PartTarget
	if s.hub.cfg.Part < 0 {
		part = 0
	}
	s.change(func(e *Edge) { e.Renditions, e.TargetDuration, e.PartTarget = w.lanes, w.state.TargetDuration, part })
	s.hub.cfg.Log.Info("restored", "stream", s.name, "epoch", s.epoch, "next", s.seq, "segments", len(w.lanes[0].Segments))
}
