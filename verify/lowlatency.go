package verify

import (
	"strings"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

func (p *playlist) low() bool { return p.m.PartTarget > 0 || p.line("EXT-X-PART") > 0 }

// checkParts checks the lengths of parts and the order of tags around them.
func (c *checker) checkParts(p *playlist) {
	m := p.m
	if !p.low() {
		return
	}
	c.saw("L1", "L2", "L3", "L29")
	if m.PartTarget == 0 {
		c.find("L1", p.at(p.line("EXT-X-PART")), "EXT-X-PART, and no EXT-X-PART-INF")
	}
	dated := false
	for i := range m.Segments {
		s := &m.Segments[i]
		dated = dated || !s.ProgramDateTime.IsZero()
		var sum int64
		for k := range s.Parts {
			sum += s.Parts[k].Span.Dur
			c.checkPart(p, s, k)
		}
		if len(s.Parts) == 0 || s.URI == "" || s.Gap {
			continue
		}
		c.saw("L12")
		// Each part and the segment are rounded alone: half of the last digit each.
		tolerance := int64(len(s.Parts)+1) * max(precision(p, s.Line), 1000)
		if off := sum - s.Span.Dur; off > tolerance || -off > tolerance {
			c.find("L12", p.at(s.Line), "%d parts sum to %.6f s, EXTINF is %.6f s", len(s.Parts), seconds(sum), seconds(s.Span.Dur))
		}
	}
	if !dated {
		c.find("L29", p.at(0), "no EXT-X-PROGRAM-DATE-TIME in a low-latency playlist")
	}
	c.checkTagOrder(p)
}

// precision is half of the last digit of the EXTINF above line, in nanoseconds.
func precision(p *playlist, line int) int64 {
	digits := 0
	for _, l := range p.lines {
		if l.Number > line {
			break
		}
		if l.Tag == "EXTINF" {
			length, _, _ := strings.Cut(l.Value, ",")
			_, frac, _ := strings.Cut(length, ".")
			digits = len(frac)
		}
	}
	half := int64(5e8)
	for range min(digits, 9) {
		half /= 10
	}
	return half
}

func (c *checker) checkPart(p *playlist, s *hls.Segment, k int) {
	part, target := &s.Parts[k], int64(p.m.PartTarget)
	if part.Range.Length > 0 {
		c.saw("L16")
	}
	if target == 0 {
		return
	}
	if part.Span.Dur > target {
		c.find("L2", p.at(part.Line), "part of %.6f s, PART-TARGET is %.6f s", seconds(part.Span.Dur), seconds(target))
	}
	last := k == len(s.Parts)-1 // of an open segment another may follow
	short := part.Span.Dur*100 < target*85
	switch {
	case !short, part.Independent, part.Gap, last:
	case s.Parts[k+1].Gap:
	default:
		c.find("L3", p.at(part.Line), "part of %.6f s is %.0f %% of PART-TARGET %.6f s, and not the last of its segment", seconds(part.Span.Dur), float64(part.Span.Dur)*100/float64(target), seconds(target))
	}
}

// checkTagOrder checks that what applies to a segment stands before its parts.
func (c *checker) checkTagOrder(p *playlist) {
	c.saw("L9")
	part := 0
	for _, l := range p.lines {
		switch l.Tag {
		case "EXT-X-PART":
			if part == 0 {
				part = l.Number
			}
		case "":
			part = 0
		case "EXT-X-DISCONTINUITY", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME":
			if part > 0 {
				c.find("L9", p.at(l.Number), "%s behind the segment's first EXT-X-PART in line %d", l.Tag, part)
			}
		}
	}
}

// checkControl checks EXT-X-SERVER-CONTROL.
func (c *checker) checkControl(p *playlist) {
	m, td := p.m, time.Duration(p.m.TargetDuration)*time.Second
	line := p.line("EXT-X-SERVER-CONTROL")
	if p.low() && m.PartTarget > 0 {
		c.saw("L5", "A36")
		switch hold := m.Control.PartHoldBack; {
		case hold == 0:
			c.find("L5", p.at(line), "parts, and no PART-HOLD-BACK")
		case hold < 2*m.PartTarget:
			c.find("L5", p.at(line), "PART-HOLD-BACK %s is less than twice PART-TARGET %s", hold, m.PartTarget)
		case hold < 3*m.PartTarget:
			c.find("A36", p.at(line), "PART-HOLD-BACK %s is less than three times PART-TARGET %s", hold, m.PartTarget)
		}
	}
	if line == 0 {
		return
	}
	if m.Control.HoldBack > 0 {
		c.saw("L6")
		if m.Control.HoldBack < 3*td {
			c.find("L6", p.at(line), "HOLD-BACK %s is less than three times TARGETDURATION %s", m.Control.HoldBack, td)
		}
	}
	if m.Control.CanSkipUntil > 0 {
		c.saw("L7")
		if m.Control.CanSkipUntil < 6*td {
			c.find("L7", p.at(line), "CAN-SKIP-UNTIL %s is less than six times TARGETDURATION %s", m.Control.CanSkipUntil, td)
		}
	}
	if p.low() {
		var window time.Duration
		for i := range m.Segments {
			window += time.Duration(m.Segments[i].Span.Dur)
		}
		if window > 2*time.Minute {
			c.saw("A37")
			if m.Control.CanSkipUntil == 0 {
				c.find("A37", p.at(line), "a window of %s, and no CAN-SKIP-UNTIL", window.Round(time.Second))
			}
		}
	}
}

// checkHints checks preload hints and rendition reports.
func (c *checker) checkHints(p *playlist) {
	seen := map[string]int{}
	for i := range p.m.Hints {
		h := &p.m.Hints[i]
		c.saw("L13")
		if line := seen[h.Type]; line > 0 {
			c.should("L13", p.at(h.Line), "a second EXT-X-PRELOAD-HINT of TYPE=%s; the first is in line %d", h.Type, line)
		}
		seen[h.Type] = h.Line
		if p.m.EndList {
			c.find("L13", p.at(h.Line), "EXT-X-PRELOAD-HINT in a playlist that has ended")
		}
		if h.Type != "PART" && h.Type != "MAP" {
			c.find("L13", p.at(h.Line), "TYPE=%.20s is neither PART nor MAP", h.Type)
		}
	}
	for i := range p.m.Reports {
		r := &p.m.Reports[i]
		c.saw("L27")
		if strings.Contains(r.URI, "://") {
			c.find("L27", p.at(r.Line), "URI %q is not relative", r.URI)
		}
	}
}
