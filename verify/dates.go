package verify

import (
	"strings"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// drift is how far a date may be from where the durations put it, before players
// show it: half the shortest part in use.
const drift = 100 * time.Millisecond

// checkDates checks dates and date ranges.
func (c *checker) checkDates(p *playlist) {
	var last *hls.Segment
	dated := false
	for i := range p.m.Segments {
		s := &p.m.Segments[i]
		if s.ProgramDateTime.IsZero() {
			if last != nil && s.Discontinuity && s.URI != "" {
				c.should("H12", p.at(s.Line), "the segment behind EXT-X-DISCONTINUITY has no EXT-X-PROGRAM-DATE-TIME, others have")
			}
			continue
		}
		dated = true
		c.saw("H12")
		if last != nil {
			c.compareDates(p, last, s, p.m.Segments[:i])
		}
		last = s
	}
	for _, l := range p.lines {
		if l.Tag != "EXT-X-PROGRAM-DATE-TIME" {
			continue
		}
		_, clock, _ := strings.Cut(l.Value, "T")
		if !strings.ContainsAny(clock, "Z+-") {
			c.should("H12", p.at(l.Number), "%s has no time zone", l.Value)
		}
		if !strings.Contains(clock, ".") {
			c.should("H12", p.at(l.Number), "%s has no milliseconds", l.Value)
		}
	}
	c.checkRangesOfDates(p, dated)
}

func (c *checker) compareDates(p *playlist, last, s *hls.Segment, before []hls.Segment) {
	expected := last.ProgramDateTime.Add(time.Duration(s.Span.Start - last.Span.Start))
	off := s.ProgramDateTime.Sub(expected)
	broke := s.Discontinuity
	for i := len(before) - 1; i >= 0 && &before[i] != last; i-- {
		broke = broke || before[i].Discontinuity
	}
	switch {
	case s.ProgramDateTime.Before(last.ProgramDateTime):
		c.find("H12", p.at(s.Line), "EXT-X-PROGRAM-DATE-TIME goes back by %s: two segments have the same date", last.ProgramDateTime.Sub(s.ProgramDateTime))
	case !broke && off.Abs() > drift:
		c.should("H12", p.at(s.Line), "EXT-X-PROGRAM-DATE-TIME is %s off what the durations since the last one say", off)
	}
}

func (c *checker) checkRangesOfDates(p *playlist, dated bool) {
	ids := map[string]*hls.DateRange{}
	var out, in []*hls.DateRange
	for i := range p.m.Dates {
		d := &p.m.Dates[i]
		c.saw("H13")
		if !dated && p.m.Skipped == 0 {
			c.find("H13", p.at(d.Line), "EXT-X-DATERANGE %q, and no EXT-X-PROGRAM-DATE-TIME in the playlist", d.ID)
		}
		first := ids[d.ID]
		c.checkDateRange(p, d, first)
		if first == nil {
			ids[d.ID] = d
		}
		if d.Out != nil {
			out = append(out, d)
		}
		if d.In != nil {
			in = append(in, d)
		}
	}
	if len(out)+len(in) == 0 {
		return
	}
	c.saw("H14")
	for _, d := range in {
		if p.m.EndList && !has(out, d.ID) {
			c.find("H14", p.at(d.Line), "SCTE35-IN of %q, and no SCTE35-OUT with that ID", d.ID)
		}
	}
}

// checkDateRange checks one date range; first is the first with its ID.
func (c *checker) checkDateRange(p *playlist, d, first *hls.DateRange) {
	if d.Start.IsZero() && first == nil {
		c.find("H13", p.at(d.Line), "EXT-X-DATERANGE %q has no START-DATE", d.ID)
	}
	if !d.End.IsZero() && d.End.Before(d.Start) {
		c.find("H13", p.at(d.Line), "END-DATE of %q is %s before START-DATE", d.ID, d.Start.Sub(d.End))
	}
	if d.Duration != nil && !d.End.IsZero() && !d.Start.Add(*d.Duration).Equal(d.End) {
		c.find("H13", p.at(d.Line), "END-DATE of %q is not START-DATE + DURATION: %s", d.ID, d.End.Sub(d.Start.Add(*d.Duration)))
	}
	if d.EndOnNext && (d.Class == "" || d.Duration != nil || !d.End.IsZero()) {
		c.find("H13", p.at(d.Line), "END-ON-NEXT of %q needs a CLASS and neither DURATION nor END-DATE", d.ID)
	}
	if first != nil && !d.Start.IsZero() && !d.Start.Equal(first.Start) {
		c.find("H13", p.at(d.Line), "ID %q has another START-DATE than in line %d", d.ID, first.Line)
	}
}

func has(list []*hls.DateRange, id string) bool {
	for _, d := range list {
		if d.ID == id {
			return true
		}
	}
	return false
}

// compareRanges checks that date ranges stay what they were, and stay listed while
// they lie beside listed segments (RFC 8216bis 4.4.5.1, 6.2.1).
func (f *follow) compareRanges(a, b *version) {
	c, y := f.c, b.p.m
	first := time.Time{}
	for i := range y.Segments {
		if first = y.Segments[i].ProgramDateTime; !first.IsZero() {
			break
		}
	}
	for i := range a.p.m.Dates {
		was := &a.p.m.Dates[i]
		is := rangeOfID(y, was)
		c.saw("H13")
		if is != nil {
			f.compareRange(b, was, is)
		} else if y.Skipped == 0 && !first.IsZero() && end(was).After(first) {
			c.find("H13", b.p.at(0), "date range %q was removed, and lasts until %s; the playlist begins at %s", was.ID, end(was).Format(time.RFC3339Nano), first.Format(time.RFC3339Nano))
		}
	}
}

// rangeOfID returns the date range of m with the ID of another, before others that
// with the same start; nil if there is none.
func rangeOfID(m *hls.Media, was *hls.DateRange) (is *hls.DateRange) {
	for i := range m.Dates {
		if d := &m.Dates[i]; d.ID == was.ID && (is == nil || d.Start.Equal(was.Start)) {
			is = d
		}
	}
	return is
}

// compareRange compares the attributes that a date range had and has.
func (f *follow) compareRange(b *version, was, is *hls.DateRange) {
	where := b.p.at(is.Line)
	switch {
	case !is.Start.IsZero() && !is.Start.Equal(was.Start):
		f.c.find("H13", where, "START-DATE of %q was %s and is %s", was.ID, was.Start.Format(time.RFC3339Nano), is.Start.Format(time.RFC3339Nano))
	case is.Class != was.Class && was.Class != "" && is.Class != "":
		f.c.find("H13", where, "CLASS of %q was %q and is %q", was.ID, was.Class, is.Class)
	case is.Duration != nil && was.Duration != nil && *is.Duration != *was.Duration:
		f.c.find("H13", where, "DURATION of %q was %s and is %s", was.ID, *was.Duration, *is.Duration)
	}
}

// end is when a date range ends as far as it says.
func end(d *hls.DateRange) time.Time {
	switch {
	case !d.End.IsZero():
		return d.End
	case d.Duration != nil:
		return d.Start.Add(*d.Duration)
	}
	return d.Start
}
