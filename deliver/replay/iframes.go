package replay

import (
	"io"
	"iter"
	"net/http"

	text "github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/httpio"
)

const framesName = "iframes.m3u8"

// iframes answers with the playlist of a rendition's key frames in a range, each of which
// lasts up to the next.
func (h *Handler) iframes(w http.ResponseWriter, r *http.Request, name, rend string) error {
	p, err := h.period(r, name)
	if err != nil {
		return err
	}
	s := &scan{only: rend, keys: true}
	defer h.release(s)
	if err := h.scan(r.Context(), name, p, s); err != nil {
		return err
	}
	if len(s.marks) == 0 {
		return missing("no such rendition at that time, or one without key frames")
	}
	segments, err := h.list(name, s)
	if err != nil {
		return err
	}
	h.cfg.Hub.Promise(r.Context(), name, s.span.From, s.span.To)
	list := s.frames(segments)
	m := &text.Media{TargetDuration: s.target, Type: text.VOD, EndList: true, IFramesOnly: true}
	for x := range list {
		m.TargetDuration = max(m.TargetDuration, rounded(x.Span.Timebase.Duration(x.Span.Dur)))
	}
	return httpio.StreamText(w, r, httpio.Text{Type: mediaType, CacheControl: "no-cache"}, &h.zip, func(w io.Writer) error {
		return m.StreamAs(w, s.version(h.cfg.Hub.Sealing(name)), list)
	})
}

// frames yields the key frames of segments.
func (s *scan) frames(segments iter.Seq[text.Segment]) iter.Seq[text.Segment] {
	return func(yield func(text.Segment) bool) {
		i, k := 0, 0
		broke := false // the discontinuity of a segment without a key frame
		var keys []text.Key
		for t := range segments {
			x := &s.segments[i]
			broke = broke || t.Discontinuity
			if len(t.Keys) > 0 {
				keys = t.Keys
			}
			for ; k < len(s.marks) && s.marks[k].segment == i; k++ {
				m := &s.marks[k]
				end := x.start + x.dur
				if k+1 < len(s.marks) && s.marks[k+1].segment == i {
					end = s.marks[k+1].at
				}
				f := t
				f.Span, f.Range = x.span(m.at, max(1, end-m.at)), text.ByteRange{Length: m.size, Offset: m.off}
				f.Discontinuity, f.Keys = broke, keys
				f.ProgramDateTime = t.ProgramDateTime.Add(f.Span.Timebase.Duration(m.at - x.start))
				if !yield(f) {
					return
				}
				broke = false
			}
			i++
		}
	}
}
