package verify

import (
	"time"

	"github.com/cleave-video/cleave/av"
)

// checkTogether checks what media playlists of one presentation owe each other.
func (c *checker) checkTogether(x *multi, list []*playlist) {
	var main []*playlist // without I-frame playlists and subtitles
	independent := x.m.IndependentSegments
	for _, p := range list {
		if p.role != "iframes" && p.role != "subtitles" {
			main = append(main, p)
		}
	}
	for _, p := range main {
		c.saw("A24")
		if !independent && !p.m.IndependentSegments {
			c.find("A24", p.at(0), "no EXT-X-INDEPENDENT-SEGMENTS, here or in the multivariant playlist")
		}
	}
	for i, p := range main {
		if i > 0 {
			c.compare(main[0], p)
		}
	}
	for _, p := range list {
		if p.role == "iframes" {
			c.checkIFrames(p, main)
		}
	}
	c.compareReports(main)
}

// checkIFrames checks an I-frame playlist, and what it owes the others of a live
// presentation.
func (c *checker) checkIFrames(p *playlist, main []*playlist) {
	c.saw("A29")
	if !p.m.IFramesOnly {
		c.find("A29", p.at(0), "no EXT-X-I-FRAMES-ONLY")
	}
	if p.m.EndList || len(main) == 0 {
		return
	}
	first := main[0]
	if p.m.TargetDuration != first.m.TargetDuration {
		c.find("A29", p.at(p.line("EXT-X-TARGETDURATION")), "TARGETDURATION is %d, that of %s %d", p.m.TargetDuration, first.name, first.m.TargetDuration)
	}
	if first.m.Control.CanBlockReload {
		c.saw("L30")
		if !p.m.Control.CanBlockReload {
			c.find("L30", p.at(p.line("EXT-X-SERVER-CONTROL")), "no CAN-BLOCK-RELOAD, which %s has", first.name)
		}
	}
}

// compare checks a playlist against the first.
func (c *checker) compare(a, b *playlist) {
	c.saw("H4", "H33")
	if a.m.TargetDuration != b.m.TargetDuration {
		id := "H4"
		if a.role != b.role {
			c.saw("A9")
			id = "A9"
		}
		c.find(id, b.at(b.line("EXT-X-TARGETDURATION")), "TARGETDURATION is %d, that of %s %d", b.m.TargetDuration, a.name, a.m.TargetDuration)
	} else if a.role != b.role {
		c.saw("A9")
	}
	if a.m.Control != b.m.Control {
		c.find("H33", b.at(b.line("EXT-X-SERVER-CONTROL")), "EXT-X-SERVER-CONTROL is not that of %s", a.name)
	}
	c.compareBreaks(a, b)
	c.saw("H12")
	if dated(a) != dated(b) {
		c.find("H12", b.at(0), "EXT-X-PROGRAM-DATE-TIME is in one of %s and %s only", a.name, b.name)
	}
	if a.m.EndList && b.m.EndList {
		c.compareRanges(a, b)
	}
}

func dated(p *playlist) bool {
	for i := range p.m.Segments {
		if !p.m.Segments[i].ProgramDateTime.IsZero() {
			return true
		}
	}
	return len(p.m.Segments) == 0
}

// breaks returns where discontinuities are, from the start of the playlist.
func breaks(p *playlist) (out []int64, lines []int) {
	for i := range p.m.Segments {
		if s := &p.m.Segments[i]; s.Discontinuity && i > 0 {
			out, lines = append(out, s.Span.Start), append(lines, s.Line)
		}
	}
	return out, lines
}

func (c *checker) compareBreaks(a, b *playlist) {
	x, _ := breaks(a)
	y, lines := breaks(b)
	if len(x)+len(y) == 0 {
		return
	}
	c.saw("A16")
	if !a.m.EndList || !b.m.EndList {
		return // windows of a live stream need not begin together
	}
	if len(x) != len(y) {
		c.find("A16", b.at(0), "%d EXT-X-DISCONTINUITY, %s has %d", len(y), a.name, len(x))
		return
	}
	for i := range x {
		if off := x[i] - y[i]; off > 1e9 || -off > 1e9 {
			c.find("A16", b.at(lines[i]), "EXT-X-DISCONTINUITY at %.3f s, that of %s at %.3f s", seconds(y[i]), a.name, seconds(x[i]))
		}
	}
}

// compareRanges checks that both cover the same time.
func (c *checker) compareRanges(a, b *playlist) {
	c.saw("A10", "A13")
	off := (a.duration - b.duration).Abs()
	longest := time.Duration(max(a.m.TargetDuration, b.m.TargetDuration)) * time.Second
	switch {
	case off > longest:
		c.find("A10", b.at(0), "lasts %.3f s, %s lasts %.3f s", b.duration.Seconds(), a.name, a.duration.Seconds())
	case off > 500*time.Millisecond:
		c.should("A10", b.at(0), "lasts %.3f s, %s lasts %.3f s", b.duration.Seconds(), a.name, a.duration.Seconds())
	}
	s, t := a.lead(), b.lead()
	if s == nil || t == nil || len(s.spans) == 0 || len(t.spans) == 0 || s.spans[0].index != 0 || t.spans[0].index != 0 || a.isTS != b.isTS {
		return
	}
	c.saw("H32")
	start := t.begins(0) - s.begins(0)
	frame := max(s.seconds(s.frame), t.seconds(t.frame))
	switch {
	case start > 0.5 || start < -0.5:
		c.find("H32", t.spans[0].place, "begins at %.3f s, %s at %.3f s", t.begins(0), a.name, s.begins(0))
	case start > 0.1+frame || start < -0.1-frame:
		c.should("H32", t.spans[0].place, "begins at %.3f s, %s at %.3f s", t.begins(0), a.name, s.begins(0))
	}
	if end := t.seconds(last(t).endPTS-t.edit) - s.seconds(last(s).endPTS-s.edit); end > longest.Seconds() || end < -longest.Seconds() {
		c.find("A13", b.at(0), "its media ends %.3f s from that of %s", end, a.name)
	}
	c.compareBoundaries(a, b, s, t, frame)
}

func last(t *trackState) *mediaSpan { return &t.spans[len(t.spans)-1] }

// compareBoundaries checks segments and headers of renditions of one kind.
func (c *checker) compareBoundaries(a, b *playlist, s, t *trackState, frame float64) {
	c.saw("A20")
	cmaf := a.isMP4 && b.isMP4 && s.kind == av.Video && t.kind == av.Video
	if cmaf {
		c.saw("C9", "C10")
		if s.scale != t.scale || family(s.codec) != family(t.codec) {
			c.should("C9", t.spans[0].place, "%s at %d ticks a second, %s is %s at %d", t.codec, t.scale, a.name, s.codec, s.scale)
		}
	}
	tolerance := frame
	if s.kind != t.kind {
		tolerance = 0.1 + frame
	}
	for i := range min(len(s.spans), len(t.spans)) {
		off := t.begins(i) - s.begins(i)
		if off <= tolerance && off >= -tolerance {
			continue
		}
		if cmaf {
			c.find("C10", t.spans[i].place, "segment %d begins %.3f s from that of %s", i, off, a.name)
		} else {
			c.find("A20", t.spans[i].place, "segment %d begins %.3f s from that of %s", i, off, a.name)
		}
		return // the ones behind it are off, too
	}
}

// compareReports checks that rendition reports name other renditions.
func (c *checker) compareReports(list []*playlist) {
	for _, p := range list {
		for i := range p.m.Reports {
			r := &p.m.Reports[i]
			name, err := c.src.resolve(p.name, r.URI)
			found := false
			for _, q := range list {
				found = found || q != p && q.name == name
			}
			if err == nil && !found {
				c.find("L27", p.at(r.Line), "%s is no other rendition of the presentation", r.URI)
			}
		}
		if p.low() && len(list) > 1 && len(p.m.Reports) == 0 && !p.m.EndList {
			c.should("L27", p.at(0), "no EXT-X-RENDITION-REPORT in a low-latency playlist")
		}
	}
}
