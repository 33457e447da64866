package hls

import (
	"fmt"
	"strings"

	"github.com/cleave-video/cleave/av"
	text "github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/live"
)

// segmentURI names a segment for ever: the epoch is in it.
func segmentURI(s *live.Segment) string { return fmt.Sprintf("%d-%d.m4s", s.Epoch, s.MSN) }

// media is the playlist of a rendition's window.
func media(e *live.Edge, r *live.Rendition) []byte {
	m := &text.Media{
		TargetDuration: e.TargetDuration, DiscontinuitySequence: r.Discontinuities, EndList: e.Ended, IndependentSegments: independent(r),
	}
	for i := range r.Segments {
		s := &r.Segments[i]
		m.Segments = append(m.Segments, text.Segment{
			URI: segmentURI(s), Span: span(r, i), Discontinuity: s.Discontinuity, Gap: s.Gap,
			ProgramDateTime: s.Date, Map: text.Map{URI: s.Init},
		})
	}
	if len(r.Segments) > 0 {
		m.Sequence = r.Segments[0].MSN
	}
	return m.Append(nil)
}

// span lasts up to the next segment, where that follows on. The last one's line
// must not change later, so it is what its own packets say.
func span(r *live.Rendition, i int) text.Span {
	s := &r.Segments[i]
	return text.Span{Start: s.Start, Dur: s.Dur, Timebase: av.Timebase{Num: 1, Den: s.Timescale}}
}

func independent(r *live.Rendition) bool {
	for i := range r.Segments {
		if !r.Segments[i].Independent {
			return false
		}
	}
	return true
}

// multivariant offers each video with each audio.
func multivariant(e *live.Edge) []byte {
	m := &text.Multivariant{}
	var audioPeak, audioMean int64
	var codecs []string
	var videos []*live.Rendition
	for i := range e.Renditions {
		r := &e.Renditions[i]
		if r.Track.Kind == av.Video {
			videos = append(videos, r)
			continue
		}
		peak, mean := rates(r)
		audioPeak, audioMean = max(audioPeak, peak), max(audioMean, mean)
		codecs = appendNew(codecs, r.Info.String)
		m.Media = append(m.Media, rendition(r, len(m.Media) == 0))
	}
	if len(videos) == 0 {
		return audioOnly(m, audioPeak, audioMean, codecs)
	}
	for _, v := range videos {
		peak, mean := rates(v)
		x := text.Variant{
			URI: v.Name + "/index.m3u8", Bandwidth: peak + audioPeak, AverageBandwidth: mean + audioMean,
			Codecs: strings.Join(append([]string{v.Info.String}, codecs...), ","),
			Width:  v.Info.Width, Height: v.Info.Height, FrameRate: v.FrameRate,
		}
		if len(m.Media) > 0 {
			x.Audio = m.Media[0].GroupID
		}
		m.Variants = append(m.Variants, x)
	}
	return m.Append(nil)
}

func audioOnly(m *text.Multivariant, peak, mean int64, codecs []string) []byte {
	if len(m.Media) > 0 {
		v := text.Variant{URI: m.Media[0].URI, Bandwidth: peak, AverageBandwidth: mean, Codecs: strings.Join(codecs, ",")}
		if len(m.Media) > 1 {
			v.Audio = m.Media[0].GroupID
		} else {
			m.Media = nil
		}
		m.Variants = []text.Variant{v}
	}
	return m.Append(nil)
}

func rendition(r *live.Rendition, first bool) text.Rendition {
	out := text.Rendition{
		Type: "AUDIO", GroupID: "audio", Name: r.Name, Default: first, Autoselect: true, URI: r.Name + "/index.m3u8",
	}
	if out.Language = r.Track.Language; out.Language == "" {
		out.Language = "und" // Apple's rule 8.10: each rendition has a LANGUAGE
	}
	if r.Info.Channels > 0 {
		out.Channels = fmt.Sprint(r.Info.Channels)
	}
	return out
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// rates returns the peak and the mean bit rate of the window, not zero.
func rates(r *live.Rendition) (peak, mean int64) {
	var bytes, ticks int64
	for i := range r.Segments {
		s := &r.Segments[i]
		bytes, ticks = bytes+s.Size, ticks+s.Dur
		peak = max(peak, s.Size*8*int64(s.Timescale)/s.Dur)
	}
	if ticks > 0 {
		mean = bytes * 8 * int64(r.Segments[0].Timescale) / ticks
	}
	return max(peak, mean, 1), max(mean, 1)
}
