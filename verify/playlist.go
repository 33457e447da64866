package verify

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// playlist is a media playlist that is checked.
type playlist struct {
	name  string
	role  string // "video", "audio", "subtitles", "iframes"; of a lone one "video"
	lines []hls.Line
	m     *hls.Media
	// What its segments turned out to be.
	tracks   []*trackState
	sizes    []int64 // of the segments; -1 not loaded
	looked   bool    // segments were looked into
	isMP4    bool
	isTS     bool
	duration time.Duration
}

func (p *playlist) at(line int) Place { return Place{File: p.name, Line: line, group: p.name} }

// find returns the first line with a tag, or 0.
func (p *playlist) line(tag string) int {
	for i := range p.lines {
		if p.lines[i].Tag == tag {
			return p.lines[i].Number
		}
	}
	return 0
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// rounded is a duration as TARGETDURATION is compared with it.
func rounded(ns int64) int64 { return (ns + 5e8) / 1e9 }

// limits of what is read: a VOD of a day has more than a live window.
func reader(fault func(*hls.LineError)) *hls.Reader {
	return &hls.Reader{MaxBytes: 64 << 20, MaxEntries: 500000, Fault: fault}
}

// readMedia reads a media playlist and checks what its text alone says.
func (c *checker) readMedia(name, role string, text []byte, vars map[string]string) *playlist {
	p := &playlist{name: name, role: role}
	c.count(1, 0, 0)
	r := reader(func(e *hls.LineError) {
		c.find(faultRule(e), Place{File: name, Line: e.Line, group: name}, "%s", faultText(e))
	})
	r.Import, r.Query = vars, c.query
	c.saw("S1", "H1")
	lines, err := r.Lines(text)
	if err == nil {
		p.lines = lines
		p.m, err = r.MediaLines(lines)
	}
	if err != nil {
		c.find("S1", p.at(0), "%v", err)
		return nil
	}
	c.checkHead(p)
	c.checkSegments(p)
	c.checkDates(p)
	c.checkKeys(p)
	c.checkRanges(p)
	c.checkParts(p)
	c.checkControl(p)
	c.checkHints(p)
	for i := range p.m.Segments {
		p.duration += time.Duration(p.m.Segments[i].Span.Dur)
	}
	return p
}

// faultRule names the rule that a fault of the text breaks.
func faultRule(e *hls.LineError) string {
	switch {
	case errors.Is(e, hls.ErrNoDuration):
		return "H5"
	case errors.Is(e, hls.ErrNoOffset) && e.Tag == "EXT-X-MAP":
		return "H10"
	case errors.Is(e, hls.ErrNoOffset) && e.Tag == "EXT-X-PART":
		return "L16"
	case errors.Is(e, hls.ErrNoOffset):
		return "H9"
	}
	switch e.Tag {
	case "EXT-X-TARGETDURATION":
		return "H1"
	case "EXT-X-PROGRAM-DATE-TIME":
		return "H12"
	case "EXT-X-DATERANGE":
		return "H13"
	case "EXT-X-KEY":
		return "H16"
	case "EXT-X-PART-INF":
		return "L1"
	case "EXT-X-RENDITION-REPORT":
		return "L27"
	case "EXT-X-BITRATE":
		return "H17"
	}
	return "S1"
}

func faultText(e *hls.LineError) string {
	if e.Tag == "" {
		return e.Err.Error()
	}
	return e.Tag + ": " + e.Err.Error()
}

// checkHead checks the tags of the whole playlist and their order.
func (c *checker) checkHead(p *playlist) {
	c.saw("H7", "H8")
	seen := map[string]int{}
	segment, discont := 0, 0
	for _, l := range p.lines {
		seen[l.Tag]++
		switch l.Tag {
		case "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE":
			if segment > 0 {
				c.find("H7", p.at(l.Number), "%s behind the first segment of line %d", l.Tag, segment)
			} else if discont > 0 && l.Tag == "EXT-X-DISCONTINUITY-SEQUENCE" {
				c.find("H7", p.at(l.Number), "%s behind the EXT-X-DISCONTINUITY of line %d", l.Tag, discont)
			}
		case "EXT-X-DISCONTINUITY":
			if discont == 0 {
				discont = l.Number
			}
		case "", "EXT-X-PART":
			if segment == 0 {
				segment = l.Number
			}
		case "EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-MEDIA", "EXT-X-SESSION-DATA", "EXT-X-SESSION-KEY", "EXT-X-CONTENT-STEERING":
			c.find("H8", p.at(l.Number), "%s belongs in a multivariant playlist", l.Tag)
		}
	}
	if n := seen["EXT-X-TARGETDURATION"]; n > 1 {
		c.find("H1", p.at(p.line("EXT-X-TARGETDURATION")), "EXT-X-TARGETDURATION stands %d times", n)
	}
	for _, tag := range [...]string{"EXT-X-VERSION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE", "EXT-X-PLAYLIST-TYPE", "EXT-X-SERVER-CONTROL", "EXT-X-PART-INF", "EXT-X-ENDLIST", "EXTM3U"} {
		if seen[tag] > 1 {
			c.find("S1", p.at(p.line(tag)), "%s stands %d times", tag, seen[tag])
		}
	}
	c.checkVersion(p)
	if p.m.EndList {
		c.saw("A12")
		if p.m.Type == hls.Live && p.m.Sequence <= 1 && !c.live {
			c.find("A12", p.at(p.line("EXT-X-ENDLIST")), "the playlist has ended and nothing was removed from it, but there is no EXT-X-PLAYLIST-TYPE")
		}
	}
}

// checkVersion compares EXT-X-VERSION with what the tags need (section 8).
func (c *checker) checkVersion(p *playlist) {
	c.saw("H6")
	need, line, why := 1, 0, ""
	raise := func(v int, l hls.Line, what string) {
		if v > need {
			need, line, why = v, l.Number, what
		}
	}
	for _, l := range p.lines {
		switch l.Tag {
		case "EXTINF":
			if length, _, _ := strings.Cut(l.Value, ","); strings.Contains(length, ".") {
				raise(3, l, "EXTINF with a fraction")
			}
		case "EXT-X-BYTERANGE", "EXT-X-I-FRAMES-ONLY":
			raise(4, l, l.Tag)
		case "EXT-X-MAP":
			if p.m.IFramesOnly {
				raise(5, l, l.Tag)
			} else {
				raise(6, l, l.Tag)
			}
		case "EXT-X-KEY":
			a, _ := hls.ParseAttributes(l.Value)
			if _, ok := a.Lookup("IV"); ok {
				raise(2, l, "IV of EXT-X-KEY")
			}
			if a.Get("KEYFORMAT") != "" || a.Get("KEYFORMATVERSIONS") != "" || strings.HasPrefix(a.Get("METHOD"), "SAMPLE-AES") {
				raise(5, l, "KEYFORMAT or SAMPLE-AES of EXT-X-KEY")
			}
		case "EXT-X-DEFINE":
			raise(8, l, l.Tag)
		case "EXT-X-SKIP":
			raise(9, l, l.Tag)
			if strings.Contains(l.Value, "RECENTLY-REMOVED-DATERANGES") {
				raise(10, l, "RECENTLY-REMOVED-DATERANGES of EXT-X-SKIP")
			}
		}
	}
	if p.m.Version < need {
		c.find("H6", p.at(line), "%s needs version %d, the playlist says %d", why, need, p.m.Version)
	}
}

// checkSegments checks each segment's tags.
func (c *checker) checkSegments(p *playlist) {
	td := p.m.TargetDuration
	for i := range p.m.Segments {
		s := &p.m.Segments[i]
		if s.URI == "" {
			continue
		}
		c.saw("H2", "H5", "A4")
		if got := rounded(s.Span.Dur); td > 0 && got > td {
			c.find("H2", p.at(s.Line), "EXTINF %.6g s rounds to %d, TARGETDURATION is %d", seconds(s.Span.Dur), got, td)
		}
		if td > 0 && s.Span.Dur > td*1e9+5e8 {
			c.find("A4", p.at(s.Line), "EXTINF %.6g s is %.3f s more than TARGETDURATION %d", seconds(s.Span.Dur), seconds(s.Span.Dur-td*1e9), td)
		}
	}
	if p.m.Version >= 3 {
		return
	}
	for _, l := range p.lines {
		if length, _, _ := strings.Cut(l.Value, ","); l.Tag == "EXTINF" && strings.Contains(length, ".") {
			c.find("H5", p.at(l.Number), "EXTINF:%s is a fraction in version %d", length, p.m.Version)
		}
	}
}

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

func has(list []*hls.DateRange, id string) bool {
	for _, d := range list {
		if d.ID == id {
			return true
		}
	}
	return false
}

// checkKeys checks EXT-X-KEY.
func (c *checker) checkKeys(p *playlist) {
	for i := range p.m.Segments {
		s := &p.m.Segments[i]
		for k := range s.Keys {
			key := &s.Keys[k]
			c.saw("H16")
			where := p.at(key.Line)
			switch {
			case key.Method == "NONE" && (key.URI != "" || key.IV != nil || key.Format != "" || key.Versions != ""):
				c.find("H16", where, "METHOD=NONE with other attributes")
			case key.Method == "SAMPLE-AES-CTR" && key.IV != nil:
				c.find("H16", where, "METHOD=SAMPLE-AES-CTR with an IV")
			case key.IV != nil && len(key.IV) != 16:
				c.find("H16", where, "IV of %d bytes, not 16", len(key.IV))
			case key.Method != "NONE" && key.Method != "AES-128" && key.Method != "SAMPLE-AES" && key.Method != "SAMPLE-AES-CTR":
				c.find("H16", where, "METHOD=%.40s is unknown", key.Method)
			}
			if m := c.mapOf(p, i); key.Method == "AES-128" && key.IV == nil && m.URI != "" {
				c.find("H16", where, "AES-128 without IV, and EXT-X-MAP follows: the initialization section has no sequence number to take the IV from")
			}
		}
	}
}

// mapOf is the initialization section that applies to segment i.
func (c *checker) mapOf(p *playlist, i int) hls.Map {
	for ; i >= 0; i-- {
		if p.m.Segments[i].Map.URI != "" {
			return p.m.Segments[i].Map
		}
	}
	return p.m.Map
}

// keyOf is the method that applies to segment i.
func (p *playlist) keyOf(i int) string {
	for ; i >= 0; i-- {
		if k := p.m.Segments[i].Keys; len(k) > 0 {
			return k[0].Method
		}
	}
	return "NONE"
}

// checkRanges checks that I-frame ranges leave the initialization section out.
func (c *checker) checkRanges(p *playlist) {
	for i := range p.m.Segments {
		s := &p.m.Segments[i]
		if s.Range.Length > 0 {
			c.saw("H9")
		}
		m := c.mapOf(p, i)
		if m.URI != "" && m.Range.Length > 0 {
			c.saw("H10")
		}
		if !p.m.IFramesOnly {
			continue
		}
		c.saw("H10", "A29")
		if s.URI == m.URI && m.Range.Length > 0 && s.Range.Offset < m.Range.Offset+m.Range.Length && m.Range.Offset < s.Range.Offset+s.Range.Length {
			c.find("H10", p.at(s.Line), "bytes %s of the I-frame overlap the initialization section, %s", span(s.Range), span(m.Range))
		}
	}
}

func span(r hls.ByteRange) string { return fmt.Sprintf("%d-%d", r.Offset, r.Offset+r.Length-1) }
