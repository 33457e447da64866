package dash

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	text "github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/live"
)

// The rates at which players may come to the latency they are asked to keep: what
// nobody hears.
const (
	slowest = 0.95
	fastest = 1.05
)

// leap is TAI less UTC since 2017, and so what players have for today. It stands for 1970,
// too: times count seconds of POSIX, in which no leap second ever was, and nobody is to
// correct them by any.
const leap = 37

// presentation says what e has. All times count from 1970, so that restarts of the
// server do not move availabilityStartTime. Periods begin when their first packet came,
// so it is no news when media were made, and ProducerReferenceTime is left out:
// shaka-player takes its wallClockTime less its presentationTime for the beginning of
// the presentation, which is true only where media time is the presentation's.
func (s *said) presentation(e *live.Edge, window time.Duration) *text.Presentation {
	td := time.Duration(e.TargetDuration) * time.Second
	p := &text.Presentation{MinBuffer: td, Live: &text.Live{
		Start: time.Unix(0, 0), Ended: e.Ended, Update: td / 2, TimeShift: window, Delay: 3 * td,
		Clock: text.Clock{Scheme: text.ClockISO, Value: "manifest.mpd?time"}, Leap: leap,
	}}
	b := &builder{said: s, e: e, lead: lead(e)}
	if b.foretell(); b.next > 0 {
		part := e.PartTarget
		target := max(6*part, time.Second)
		p.MinBuffer = 2 * part
		p.Live.Update = min(2*part, td/2)
		p.Live.Latency = &text.Latency{Target: target, Min: 3 * part, Max: 3 * target, Slowest: slowest, Fastest: fastest}
	}
	p.Periods = b.periods()
	return p
}

// lead is the rendition that decides where chunks end.
func lead(e *live.Edge) *live.Rendition {
	for i := range e.Renditions {
		if e.Renditions[i].Track.Kind == av.Video {
			return &e.Renditions[i]
		}
	}
	return &e.Renditions[0]
}

// builder makes the Periods of an edge.
type builder struct {
	*said
	e    *live.Edge
	lead *live.Rendition
	next int64 // ticks that the lead's open segment is foretold to last; 0: it is not announced
}

// foretell decides whether segments are announced while they grow: if parts are listed,
// and the lead's last two segments were alike, and as long as segments are to be, which
// those of the beginning are not. Whoever is told of a segment is told how long it will
// last (5.3.9.6).
func (b *builder) foretell() {
	list := b.lead.Segments
	n := len(list)
	if b.e.PartTarget <= 0 || !b.e.Live || b.e.Ended || n < 2 || list[n-1].Gap || list[n-2].Gap {
		return
	}
	x, y := list[n-1].Duration(), list[n-2].Duration()
	if max(x-y, y-x) < b.e.PartTarget/2 && x >= time.Duration(b.e.TargetDuration)*time.Second-time.Second/2 && x > b.e.PartTarget {
		b.next = list[n-1].Dur
	}
}

// missing reports whether a segment has nothing to be loaded.
func missing(s *live.Segment) bool {
	if s.Gap || !s.Lost() {
		return s.Gap
	}
	held := s.Retain()
	for _, b := range held {
		b.Release()
	}
	return held == nil
}

// listed are the segments of a rendition that are announced, by number.
func (b *builder) listed(r *live.Rendition) []*live.Segment {
	out := make([]*live.Segment, 0, len(r.Segments)+1)
	for i := range r.Segments {
		out = append(out, &r.Segments[i])
	}
	if o := r.Open; o != nil && b.next > 0 && len(o.Parts) > 0 {
		out = append(out, o)
	}
	return out
}

// split lets Periods begin where they must: with a stretch; where a rendition comes to a
// gap or out of it, since a timeline has a segment for every number; and with a key,
// since a Period has one default_KID.
func (b *builder) split(rows [][]*live.Segment) {
	least, most := int64(-1), int64(-1)
	for _, list := range rows {
		if least < 0 || list[0].MSN < least {
			least = list[0].MSN
		}
		most = max(most, list[len(list)-1].MSN)
	}
	x := &splitter{gaps: make([]bool, len(rows)), known: make([]bool, len(rows))}
	var in *live.Stretch
	for msn := least; msn <= most; msn++ {
		at, breaks := x.look(rows, msn)
		if at == nil || at.Stretch == nil {
			continue
		}
		if at.Stretch != in {
			in = at.Stretch
			b.begin(&period{in, in.First, in.Start})
			clear(x.known)
			for k, list := range rows {
				i := msn - list[0].MSN
				x.known[k] = i >= 0 && i < int64(len(list))
			}
		} else if breaks {
			tb := av.Timebase{Num: 1, Den: at.Timescale}
			b.begin(&period{in, msn, tb.RescaleFloor(at.DTS+at.Shift, av.Timebase{Num: 1, Den: in.Timescale})})
		}
	}
	for len(b.said.periods) > 1 && b.said.periods[1].first <= least {
		b.said.periods = slices.Delete(b.said.periods, 0, 1)
	}
}

// splitter is what split has seen of each row, and of keys.
type splitter struct {
	gaps, known []bool
	key         [16]byte
}

// look returns a segment of that number, one that is there if any is, and whether it
// cannot be in the Period of those before.
func (x *splitter) look(rows [][]*live.Segment, msn int64) (at *live.Segment, breaks bool) {
	for k, list := range rows {
		i := msn - list[0].MSN
		if i < 0 || i >= int64(len(list)) {
			continue
		}
		s := list[i]
		gap := missing(s)
		breaks = breaks || x.known[k] && gap != x.gaps[k]
		x.gaps[k], x.known[k] = gap, true
		if at == nil || at.Gap {
			at = s
		}
	}
	if at != nil && at.Sealed != nil {
		breaks = breaks || at.Sealed.KeyID != x.key
		x.key = at.Sealed.KeyID
	}
	return at, breaks
}

// begin adds a Period unless it is there.
func (b *builder) begin(p *period) {
	i, found := slices.BinarySearchFunc(b.said.periods, p.first, func(x *period, first int64) int { return cmp.Compare(x.first, first) })
	if !found {
		b.said.periods = slices.Insert(b.said.periods, i, p)
	}
}

// periods returns the Periods that have segments.
func (b *builder) periods() (out []text.Period) {
	var rows [][]*live.Segment
	var of []*live.Rendition
	for i := range b.e.Renditions {
		r := &b.e.Renditions[i]
		if r.Track.Kind == av.Video || r.Track.Kind == av.Audio {
			rows, of = append(rows, b.listed(r)), append(of, r)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	b.split(rows)
	told := b.tell(of, rows)
	for n, p := range b.said.periods {
		until := int64(1<<63 - 1)
		if n+1 < len(b.said.periods) {
			until = b.said.periods[n+1].first
		}
		if n > 0 && !b.e.Ended && lags(rows, p.first) {
			break // players join Periods track by track: one that is not there yet would be missed
		}
		tb := av.Timebase{Num: 1, Den: p.stretch.Timescale}
		x := text.Period{ID: fmt.Sprint(p.first), Start: p.stretch.Date.Sub(time.Unix(0, 0)) + tb.Duration(p.start-p.stretch.Start)}
		for k, r := range of {
			if set, end := b.set(p, until, r, rows[k], told[k]); set != nil {
				x.Sets = join(x.Sets, set, r.Of())
				if b.e.Ended && until == 1<<63-1 {
					x.Duration = max(x.Duration, (end - tb.Duration(p.start) + time.Millisecond - 1).Truncate(time.Millisecond))
				}
			}
		}
		if len(x.Sets) > 0 {
			out = append(out, x)
		}
	}
	return out
}

// join adds a set, or what is in it to that of the rendition that it was made of, if the
// codec is the same: players may switch between them (ISO 23000-19 7.3.4).
func join(sets []text.Set, set *text.Set, of string) []text.Set {
	for i := range sets {
		if x := &sets[i]; of != "" && x.Representation.ID == of && sampleEntry(x) == sampleEntry(set) {
			x.More = append(x.More, set.Representation)
			x.StartsWithSAP = min(x.StartsWithSAP, set.StartsWithSAP)
			return sets
		}
	}
	return append(sets, *set)
}

// sampleEntry is the name of a set's codec without its particulars, "avc1".
func sampleEntry(s *text.Set) string {
	name, _, _ := strings.Cut(s.Representation.Codecs, ".")
	return name
}

// lags reports whether a row has not come to segment first.
func lags(rows [][]*live.Segment, first int64) bool {
	return slices.ContainsFunc(rows, func(list []*live.Segment) bool { return list[len(list)-1].MSN < first })
}

// tell returns what is said of each segment: the lead's first, whose end is that of the
// others' open ones. A dur of 0 is not said.
func (b *builder) tell(of []*live.Rendition, rows [][]*live.Segment) [][]entry {
	told := make([][]entry, len(rows))
	order := make([]int, 0, len(rows))
	for k, r := range of {
		if order = append(order, k); r == b.lead {
			order = slices.Insert(order[:k], 0, k)
		}
	}
	for _, k := range order {
		r := of[k]
		x := b.said.rows[r.Name]
		if x == nil {
			x = &row{}
			b.said.rows[r.Name] = x
		}
		x.forget(rows[k][0].MSN)
		x.bandwidth = max(x.bandwidth, bandwidth(r))
		tolerance := frame(r)
		told[k] = make([]entry, len(rows[k]))
		for i, s := range rows[k] {
			t := times(s, tolerance)
			if s == r.Open && !b.grown(r, &t) || missing(s) {
				continue
			}
			joins := i > 0 && rows[k][i-1].Stretch == s.Stretch
			told[k][i] = x.tell(t, joins, tolerance)
		}
	}
	return told
}

// grown sets how long an open segment will last. It reports false if that is not known.
func (b *builder) grown(r *live.Rendition, t *entry) bool {
	have := t.dur
	if r == b.lead {
		t.dur = max(b.next, have)
		return true
	}
	row := b.said.rows[b.lead.Name]
	if row == nil {
		return false
	}
	cut := row.find(t.msn)
	if cut == nil {
		return false
	}
	from, to := b.lead.Segments[0].Timescale, r.Open.Timescale
	end := av.Timebase{Num: 1, Den: from}.Rescale(cut.end(), av.Timebase{Num: 1, Den: to})
	t.dur = max(whole(r, end-t.start), have)
	return t.dur > 0
}

// whole rounds the ticks between a segment's start and a cut to whole frames: a frame is
// before a cut if half of it is.
func whole(r *live.Rendition, ticks int64) int64 {
	if r.Track.Codec != av.AAC || r.Info.SampleRate <= 0 {
		return ticks
	}
	frame := av.Timebase{Num: 1024, Den: uint32(r.Info.SampleRate)}
	tb := av.Timebase{Num: 1, Den: r.Segments[0].Timescale}
	return frame.Rescale(tb.Rescale(ticks, frame), tb)
}

// times are when a segment is presented. Segments follow on where nothing is missing:
// to that keeps the time of decoding, put off by what presentation is behind it. Where
// the first picture is farther from there than a frame, it says when it is shown.
func times(s *live.Segment, tolerance int64) entry {
	x := entry{s.MSN, s.DTS + s.Shift, max(s.Dur, 1)}
	switch off := s.Start - x.start; {
	case off > tolerance:
		x.start, x.dur = s.Start, max(x.dur-off, 1)
	case off < -tolerance:
		x.start = s.Start
	}
	return x
}

// frame is about as long as a frame, in ticks: where a cut falls on an audio track, and
// how far stamps that were rounded are off, is within it.
func frame(r *live.Rendition) int64 {
	scale := int64(r.Segments[0].Timescale)
	switch f := r.FrameRate; {
	case r.Track.Kind == av.Video && f.Num > 0 && f.Den > 0:
		return scale*int64(f.Den)/int64(f.Num) + 1
	case r.Track.Kind == av.Audio && r.Info.SampleRate > 0:
		return scale*1024/int64(r.Info.SampleRate) + 1
	}
	return scale/25 + 1
}

// bandwidth is the highest rate of the window, rounded up to two digits: it hardly ever
// changes. Segments that were cut short by an end are mostly key frame, and do not count.
func bandwidth(r *live.Rendition) int64 {
	peak, longest := int64(1), int64(0)
	for i := range r.Segments {
		longest = max(longest, r.Segments[i].Dur)
	}
	for i := range r.Segments {
		if s := &r.Segments[i]; !s.Gap && s.Dur > longest/4 {
			peak = max(peak, s.Size*8*int64(s.Timescale)/s.Dur)
		}
	}
	unit := int64(1)
	for peak/unit >= 100 {
		unit *= 10
	}
	return (peak + unit - 1) / unit * unit
}

// set is the AdaptationSet of a rendition in a Period, up to the number until, and when
// its last segment ends; nil if there is nothing of it.
func (b *builder) set(p *period, until int64, r *live.Rendition, list []*live.Segment, told []entry) (*text.Set, time.Duration) {
	var first *live.Segment
	sap := uint32(1)
	var segments []text.Segment
	var end int64
	for i, s := range list {
		if s.MSN < p.first || s.MSN >= until || told[i].dur == 0 || s.Stretch != p.stretch {
			continue
		}
		if first == nil {
			first = s
		}
		if !s.Independent && s != r.Open {
			sap = 0
		}
		segments = append(segments, text.Segment{Start: told[i].start, Dur: told[i].dur})
		end = told[i].end()
	}
	if first == nil {
		return nil, 0
	}
	tb := av.Timebase{Num: 1, Den: first.Timescale}
	rep := text.Representation{
		ID: r.Name, Codecs: first.Info.String, Bandwidth: b.said.rows[r.Name].bandwidth, SampleRate: first.Info.SampleRate, Channels: first.Info.Channels,
		Width: first.Info.Width, Height: first.Info.Height, SAR: first.Info.SAR, Timescale: first.Timescale,
		TimeOffset: av.Timebase{Num: 1, Den: p.stretch.Timescale}.RescaleFloor(p.start, tb),
		Init:       r.Name + "/" + first.Init, Media: fmt.Sprintf("%s/%d-$Number$.m4s", r.Name, first.Epoch), StartNumber: int(first.MSN), Segments: segments,
	}
	if newest := r.Segments[len(r.Segments)-1].Info; first.Info == newest {
		rep.FrameRate = r.FrameRate
	}
	if b.next > 0 && until == 1<<63-1 {
		lead := av.Timebase{Num: 1, Den: b.lead.Segments[0].Timescale}
		rep.Chunks = &text.Chunks{Early: lead.Duration(b.next) - b.e.PartTarget, Dur: tb.Ticks(b.e.PartTarget)}
	}
	set := &text.Set{Kind: r.Track.Kind, StartsWithSAP: sap, Representation: rep, Protection: b.protection(first)}
	if lang := r.Track.Language; lang != "und" {
		set.Language = lang
	}
	return set, tb.Duration(end)
}
