package hls

import (
	"fmt"
	"time"

	"github.com/cleave-video/cleave/av"
	text "github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/live"
)

// segmentURI names a segment for ever: the epoch is in it.
func segmentURI(s *live.Segment) string { return fmt.Sprintf("%d-%d.m4s", s.Epoch, s.MSN) }

func partURI(epoch uint32, msn int64, part int) string {
	return fmt.Sprintf("%d-%d.%d.m4s", epoch, msn, part)
}

// control is what a media playlist promises, in every rendition the same.
func control(e *live.Edge) text.ServerControl {
	td := time.Duration(e.TargetDuration) * time.Second
	c := text.ServerControl{CanBlockReload: true, CanSkipUntil: 6 * td, HoldBack: 3 * td}
	if e.PartTarget > 0 {
		c.PartHoldBack = 3 * e.PartTarget // Apple 14.3; the RFC alone asks for twice
	}
	return c
}

// media is the playlist of a rendition's window, and what comes before that, without the
// first skip segments.
func media(e *live.Edge, r *live.Rendition, past history, skip int64) []byte {
	m := &text.Media{
		TargetDuration: e.TargetDuration, DiscontinuitySequence: r.Discontinuities, EndList: e.Ended, IndependentSegments: independent(r),
		PartTarget: e.PartTarget, Skipped: skip,
	}
	if !e.Ended {
		m.Control = control(e)
	}
	if len(r.Segments) > 0 {
		m.Sequence = r.Segments[0].MSN - int64(len(past.Segments))
	}
	m.DiscontinuitySequence -= past.Discontinuities
	m.IndependentSegments = m.IndependentSegments && (past.Independent || len(past.Segments) == 0)
	older := min(skip, int64(len(past.Segments)))
	m.Segments = append(m.Segments, past.Segments[older:]...)
	parts := partsFrom(e, r)
	for i := int(skip - older); i < len(r.Segments); i++ {
		s := &r.Segments[i]
		x := segment(s)
		x.URI, x.Gap, x.Keys = segmentURI(s), s.Gap || gone(s), segmentKeys(e, s)
		if i >= parts && s.Listed == len(s.Parts) { // they add up to it, or are not listed
			x.Parts = listParts(s)
		}
		m.Segments = append(m.Segments, x)
	}
	if o := r.Open; o != nil && o.Listed > 0 && !e.Ended {
		x := segment(o)
		x.Parts, x.Keys = listParts(o), segmentKeys(e, o)
		m.Segments = append(m.Segments, x)
	}
	if e.PartTarget > 0 && !e.Ended {
		if uri := hint(e, r); uri != "" && e.Live {
			m.Hints = []text.PreloadHint{{Type: "PART", URI: uri}}
		}
	}
	if !e.Ended {
		m.Reports = reports(e, r, past.query)
	}
	return m.Append(nil)
}

func segment(s *live.Segment) text.Segment {
	return text.Segment{Span: span(s, s.DTS, s.Dur), Discontinuity: s.Discontinuity, ProgramDateTime: s.Date, Map: text.Map{URI: s.Init}}
}

func span(s *live.Segment, dts, dur int64) text.Span {
	return text.Span{Start: dts, Dur: dur, Timebase: av.Timebase{Num: 1, Den: s.Timescale}}
}

// gone reports whether a segment is neither in the store nor in memory.
func gone(s *live.Segment) bool {
	if !s.Lost() {
		return false
	}
	held := s.Retain()
	for _, b := range held {
		b.Release()
	}
	return held == nil
}

func listParts(s *live.Segment) []text.Part {
	out := make([]text.Part, s.Listed)
	for i := range out {
		p := &s.Parts[i]
		out[i] = text.Part{URI: partURI(s.Epoch, s.MSN, i), Span: span(s, p.DTS, p.Dur), Independent: p.Independent}
	}
	return out
}

// partsFrom returns the first segment whose parts are listed: all of them are within
// three target durations of the end (RFC 8216bis 6.2.2), and, since there are clients
// that count segments instead, and the one hinted at, it is one of the last two.
func partsFrom(e *live.Edge, r *live.Rendition) int {
	if e.PartTarget == 0 || e.Ended {
		return len(r.Segments)
	}
	left, most := 3*time.Duration(e.TargetDuration)*time.Second, 2
	if o := r.Open; o != nil {
		left -= o.Duration()
	}
	i := len(r.Segments)
	for ; i > 0 && most > 0; most-- {
		if left -= r.Segments[i-1].Duration(); left < 0 {
			break
		}
		i--
	}
	return i
}

// skippable counts the oldest segments that are farther from the end of the playlist
// than CAN-SKIP-UNTIL (RFC 8216bis 6.2.5.1).
func skippable(e *live.Edge, r *live.Rendition) int64 {
	if e.Ended {
		return 0
	}
	left := control(e).CanSkipUntil
	if o := r.Open; o != nil && o.Listed > 0 {
		left -= av.Timebase{Num: 1, Den: o.Timescale}.Duration(o.Parts[o.Listed-1].DTS + o.Parts[o.Listed-1].Dur - o.DTS)
	}
	for i := len(r.Segments) - 1; i >= 0; i-- {
		if left <= 0 {
			return int64(i + 1)
		}
		left -= r.Segments[i].Duration()
	}
	return 0
}

// hint names the part that follows. Whether a segment goes on is known only when the
// next key frame comes; one as long as the two before it is taken to be over, until it
// is longer.
func hint(e *live.Edge, r *live.Rendition) string {
	n := len(r.Segments)
	o := r.Open
	if o == nil {
		if n == 0 {
			return ""
		}
		return partURI(r.Segments[n-1].Epoch, r.Segments[n-1].MSN+1, 0)
	}
	over := o.Listed < len(o.Parts) // nothing more of it is listed
	if n >= 2 && o.Listed > 0 {
		a, b := r.Segments[n-1].Duration(), r.Segments[n-2].Duration()
		alike := max(a-b, b-a) < e.PartTarget/2
		// One that is longer than those before does not end where it was expected to.
		now := o.Duration()
		over = over || alike && now+e.PartTarget/4 >= a && now < a+e.PartTarget/2
	}
	if over {
		return partURI(o.Epoch, o.MSN+1, 0)
	}
	return partURI(o.Epoch, o.MSN, o.Listed)
}

// reports tell how far the other renditions are.
func reports(e *live.Edge, r *live.Rendition, query string) (out []text.RenditionReport) {
	for i := range e.Renditions {
		x := &e.Renditions[i]
		if x.Name == r.Name || len(x.Segments) == 0 {
			continue
		}
		last := &x.Segments[len(x.Segments)-1]
		if o := x.Open; o != nil && o.Listed > 0 {
			last = o
		}
		out = append(out, text.RenditionReport{URI: "../" + x.Name + "/index.m3u8" + query, LastMSN: last.MSN, LastPart: int64(last.Listed) - 1})
	}
	return out
}

func independent(r *live.Rendition) bool {
	for i := range r.Segments {
		if !r.Segments[i].Independent {
			return false
		}
	}
	return r.Open == nil || r.Open.Listed == 0 || r.Open.Independent
}

// firstKeys returns the first segment that has key frames, or nil.
func firstKeys(r *live.Rendition) *live.Segment {
	for i := range r.Segments {
		if len(r.Segments[i].Keys) > 0 {
			return &r.Segments[i]
		}
	}
	return nil
}

// lastKey returns the number of the newest key frame of a whole segment.
func lastKey(r *live.Rendition) int64 {
	n := len(r.Segments)
	if n == 0 {
		return -1
	}
	s := &r.Segments[n-1]
	return s.FirstKey + int64(len(s.Keys)) - 1
}

// iframes is the playlist of a rendition's key frames, each of which lasts up to the
// next. Its numbers count key frames.
func iframes(e *live.Edge, r *live.Rendition) []byte {
	m := &text.Media{TargetDuration: e.TargetDuration, DiscontinuitySequence: r.Discontinuities, EndList: e.Ended, IFramesOnly: true}
	if !e.Ended {
		m.Control = control(e)
	}
	if first := firstKeys(r); first != nil {
		m.Sequence = first.FirstKey
	}
	broke := false // the discontinuity of a segment without a key frame
	for i := range r.Segments {
		s := &r.Segments[i]
		broke = broke || s.Discontinuity
		// Keys are on the line of presentation; the segment's, of decoding.
		shift := int64(0)
		if len(s.Keys) > 0 {
			shift = s.Keys[0].PTS - s.DTS
		}
		for k := range s.Keys {
			key := &s.Keys[k]
			end := s.End()
			if k+1 < len(s.Keys) {
				end = s.Keys[k+1].PTS - shift
			}
			at := key.PTS - shift
			m.Segments = append(m.Segments, text.Segment{
				URI: segmentURI(s), Span: span(s, at, max(1, end-at)), Range: text.ByteRange{Length: key.Size, Offset: key.Offset},
				Discontinuity: broke, Map: text.Map{URI: s.Init}, Keys: segmentKeys(e, s),
				ProgramDateTime: s.Date.Add(av.Timebase{Num: 1, Den: s.Timescale}.Duration(at - s.DTS)),
			})
			broke = false
		}
	}
	return m.Append(nil)
}
