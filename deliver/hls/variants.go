package hls

import (
	"fmt"
	"strings"

	"github.com/cleave-video/cleave/av"
	text "github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/live"
)

// multivariant offers each video with each audio; query is what media playlists are asked
// for with.
func multivariant(e *live.Edge, query string) []byte {
	m := &text.Multivariant{SessionKeys: sessionKeys(e)}
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
		m.Media = append(m.Media, rendition(r, len(m.Media) == 0, query))
	}
	if len(videos) == 0 {
		return audioOnly(m, audioPeak, audioMean, codecs)
	}
	for _, v := range videos {
		peak, mean := rates(v)
		x := text.Variant{
			URI: v.Name + "/index.m3u8" + query, Bandwidth: peak + audioPeak, AverageBandwidth: mean + audioMean,
			Codecs: strings.Join(append([]string{v.Info.String}, codecs...), ","),
			Width:  v.Info.Width, Height: v.Info.Height, FrameRate: v.FrameRate,
		}
		if len(m.Media) > 0 {
			x.Audio = m.Media[0].GroupID
		}
		m.Variants = append(m.Variants, x)
		if firstKeys(v) != nil {
			peak, mean := keyRates(v)
			m.IFrames = append(m.IFrames, text.Variant{
				URI: v.Name + "/iframes.m3u8", Bandwidth: peak, AverageBandwidth: mean, Codecs: v.Info.String, Width: v.Info.Width, Height: v.Info.Height,
			})
		}
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

func rendition(r *live.Rendition, first bool, query string) text.Rendition {
	out := text.Rendition{
		Type: "AUDIO", GroupID: "audio", Name: r.Name, Default: first, Autoselect: true, URI: r.Name + "/index.m3u8" + query,
	}
	// Apple 8.10 wants a language of everything that is not video.
	if out.Language = r.Track.Language; out.Language == "" {
		out.Language = "und"
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

// keyRates is rates of the key frames alone.
func keyRates(r *live.Rendition) (peak, mean int64) {
	var bytes, ticks int64
	for i := range r.Segments {
		s := &r.Segments[i]
		size := int64(0)
		for k := range s.Keys {
			size += s.Keys[k].Size
		}
		bytes, ticks = bytes+size, ticks+s.Dur
		peak = max(peak, size*8*int64(s.Timescale)/s.Dur)
	}
	return max(peak, 1), max(1, bytes*8*int64(r.Segments[0].Timescale)/max(1, ticks))
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
