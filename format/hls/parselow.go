package hls

import (
	"fmt"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
)

// lowLatency reads a tag of low latency.
func (p *mediaReader) lowLatency(l Line) error {
	v, err := attributes(l.Value)
	if err != nil {
		return err
	}
	m := p.m
	switch l.Tag {
	case "EXT-X-PART":
		return p.addPart(l, v)
	case "EXT-X-PART-INF":
		if m.PartTarget = v.seconds("PART-TARGET", true); m.PartTarget == 0 {
			v.fail("PART-TARGET", "%w: 0", av.ErrInvalid)
		}
	case "EXT-X-SERVER-CONTROL":
		m.Control = ServerControl{
			CanBlockReload: v.yes("CAN-BLOCK-RELOAD"), CanSkipUntil: v.seconds("CAN-SKIP-UNTIL", false), HoldBack: v.seconds("HOLD-BACK", false),
			PartHoldBack: v.seconds("PART-HOLD-BACK", false), CanSkipDateRanges: v.yes("CAN-SKIP-DATERANGES"),
		}
	case "EXT-X-SKIP":
		m.Skipped = v.whole("SKIPPED-SEGMENTS", 0, true)
		if s := v.text("RECENTLY-REMOVED-DATERANGES", false); s != "" {
			m.Removed = strings.Split(s, "\t")
		}
	case "EXT-X-PRELOAD-HINT":
		h := PreloadHint{
			Type: v.word("TYPE", true), URI: v.text("URI", true), Start: v.whole("BYTERANGE-START", 0, false),
			Length: v.whole("BYTERANGE-LENGTH", 0, false), Line: l.Number,
		}
		m.Hints = append(m.Hints, h)
	case "EXT-X-RENDITION-REPORT":
		r := RenditionReport{
			URI: v.text("URI", true), LastMSN: v.whole("LAST-MSN", 0, false), LastPart: v.whole("LAST-PART", -1, false), Line: l.Number,
		}
		m.Reports = append(m.Reports, r)
	}
	return v.err
}

func (p *mediaReader) addPart(l Line, v *values) error {
	d := v.seconds("DURATION", true)
	part := Part{
		URI: v.text("URI", true), Independent: v.yes("INDEPENDENT"), Gap: v.yes("GAP"),
		Span: Span{Start: p.pos + p.part, Dur: int64(d), Timebase: av.Nanosecond}, Line: l.Number,
	}
	if s := v.text("BYTERANGE", false); s != "" {
		r, err := parseRange(s)
		if err == nil {
			err = p.placePart(&r, part.URI)
		}
		if err != nil {
			v.fail("BYTERANGE", "%w", err)
		}
		part.Range = r
	}
	if p.part += int64(d); p.pos+p.part > longest {
		return fmt.Errorf("%w: more than %d s", av.ErrTooLarge, int64(longest/time.Second))
	}
	p.seg.Parts = append(p.seg.Parts, part)
	p.seg.Line, p.pending = l.Number, true
	return v.err
}

// placePart is place for a part, which follows parts of its own segment only, or
// begins its resource (4.4.4.9).
func (p *mediaReader) placePart(r *ByteRange, uri string) error {
	if r.Offset >= 0 {
		return nil
	}
	if n := len(p.seg.Parts); n > 0 && p.seg.Parts[n-1].URI == uri && p.seg.Parts[n-1].Range.Length > 0 {
		last := p.seg.Parts[n-1].Range
		r.Offset = last.Offset + last.Length
		return nil
	}
	r.Offset = 0
	return fmt.Errorf("range of %d bytes of %.60q: %w", r.Length, uri, ErrNoOffset)
}
