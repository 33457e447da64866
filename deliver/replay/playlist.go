package replay

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver"
	text "github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/seal"
)

// period returns what a request asks for; without from and to, the last time that the
// stream was published.
func (h *Handler) period(r *http.Request, name string) (period, error) {
	q := r.URL.Query()
	if q.Has("from") || q.Has("to") {
		return parsePeriod(q, h.cfg.Hub.Now())
	}
	return h.last(r.Context(), name)
}

const mediaType = "application/vnd.apple.mpegurl"

// multivariant answers with the multivariant playlist of a range. Those that it names
// have the range as it was found, so that all have the same.
func (h *Handler) multivariant(w http.ResponseWriter, r *http.Request, name string) error {
	p, err := h.period(r, name)
	if err != nil {
		return err
	}
	s := &scan{}
	if err := h.scan(r.Context(), name, p, s); err != nil {
		return err
	}
	query := "?" + s.span.query()
	if r.URL.RawQuery == "" {
		query = ""
	}
	m, err := h.variants(r.Context(), name, s, query)
	if err != nil {
		return err
	}
	b := m.Append(nil)
	httpio.WriteText(w, r, httpio.Text{Type: mediaType, CacheControl: "no-cache", Plain: b, Zip: func() []byte { return h.zip.Compress(b) }})
	return nil
}

// variants offers each video with each audio.
func (h *Handler) variants(ctx context.Context, name string, s *scan, query string) (*text.Multivariant, error) {
	m := &text.Multivariant{}
	var sound text.Variant // the most that it takes
	var codecs []string    // of sound
	for _, r := range s.renditions {
		if len(r.inits) == 0 {
			continue // it has gaps only
		}
		v, head, list, err := h.variant(ctx, name, r)
		if err != nil {
			return nil, err
		}
		v.URI = r.name + "/" + playlistName + query
		if head.track.Kind == av.Video {
			m.Variants = append(m.Variants, v)
			if r.frames > 0 {
				v.URI = r.name + "/" + framesName + query
				v.Bandwidth, v.AverageBandwidth = r.frameRates()
				m.IFrames = append(m.IFrames, v)
			}
			continue
		}
		sound.Bandwidth, sound.AverageBandwidth = max(sound.Bandwidth, v.Bandwidth), max(sound.AverageBandwidth, v.AverageBandwidth)
		for _, c := range list {
			if !slices.Contains(codecs, c) {
				codecs = append(codecs, c)
			}
		}
		m.Media = append(m.Media, audio(r, head, v.URI, len(m.Media) == 0))
	}
	switch {
	case len(m.Variants) == 0 && len(m.Media) == 0:
		return nil, missing("nothing of that time was stored: there are gaps only")
	case len(m.Variants) == 0:
		sound.URI = m.Media[0].URI
		m.Variants = []text.Variant{sound}
		if len(m.Media) == 1 {
			m.Media = nil
		}
	}
	for i := range m.Variants {
		v := &m.Variants[i]
		if v.URI != sound.URI {
			v.Bandwidth, v.AverageBandwidth = v.Bandwidth+sound.Bandwidth, v.AverageBandwidth+sound.AverageBandwidth
		}
		v.Codecs = strings.TrimPrefix(strings.Join(append([]string{v.Codecs}, codecs...), ","), ",")
		if len(m.Media) > 0 {
			v.Audio = m.Media[0].GroupID
		}
	}
	var err error
	if m.SessionKeys, err = h.sessionKeys(name, s); err != nil {
		return nil, err
	}
	return m, m.Check()
}

// variant describes a rendition by all initialization sections that it has in the range.
func (h *Handler) variant(ctx context.Context, name string, r *rendition) (v text.Variant, last *head, codecs []string, err error) {
	v.Bandwidth, v.AverageBandwidth = r.rates()
	for _, init := range r.inits {
		if last, err = h.head(ctx, name, init); err != nil {
			return v, nil, nil, err
		}
		if !slices.Contains(codecs, last.info.String) {
			codecs = append(codecs, last.info.String)
		}
		v.Width, v.Height = max(v.Width, last.info.Width), max(v.Height, last.info.Height)
	}
	v.Codecs, v.FrameRate = strings.Join(codecs, ","), last.info.FrameRate
	return v, last, codecs, nil
}

func audio(r *rendition, head *head, uri string, first bool) text.Rendition {
	out := text.Rendition{Type: "AUDIO", GroupID: "audio", Name: r.name, Default: first, Autoselect: true, URI: uri, Language: head.track.Language}
	if out.Language == "" {
		out.Language = "und" // Apple 8.10 wants one
	}
	if head.info.Channels > 0 {
		out.Channels = fmt.Sprint(head.info.Channels)
	}
	return out
}

// media answers with a rendition's playlist of a range.
func (h *Handler) media(w http.ResponseWriter, r *http.Request, name, rend string) error {
	p, err := h.period(r, name)
	if err != nil {
		return err
	}
	s := &scan{only: rend}
	defer h.release(s)
	if err := h.scan(r.Context(), name, p, s); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.renditions, func(x *rendition) bool { return x.name == rend }) {
		return missing("no such rendition at that time")
	}
	segments, err := h.list(name, s)
	if err != nil {
		return err
	}
	h.cfg.Hub.Promise(r.Context(), name, s.span.From, s.span.To)
	m := &text.Media{
		TargetDuration: s.target, Sequence: s.segments[0].seq, Type: text.VOD, EndList: true, IndependentSegments: s.alone,
	}
	return httpio.StreamText(w, r, httpio.Text{Type: mediaType, CacheControl: "no-cache"}, &h.zip, func(w io.Writer) error { return m.StreamAs(w, s.version(h.cfg.Hub.Sealing(name)), segments) })
}

// version is what the playlist of the segments needs.
func (s *scan) version(x *live.Sealing) int {
	m := text.Media{Segments: []text.Segment{{URI: "s", Map: text.Map{URI: "i"}}}}
	if slices.ContainsFunc(s.segments, func(x segment) bool { return x.sealed }) {
		k := deliver.PlaylistKey(x, [16]byte{}, "")
		k.IV = make([]byte, 16)
		m.Segments[0].Keys = []text.Key{k}
	}
	return m.Need()
}

// list yields the segments as a playlist has them.
func (h *Handler) list(name string, s *scan) (iter.Seq[text.Segment], error) {
	sealing := h.cfg.Hub.Sealing(name)
	for i := range s.segments {
		if x := &s.segments[i]; x.sealed {
			if err := decrypts(sealing, x.iv); err != nil {
				return nil, err
			}
		}
	}
	none := []text.Key{{Method: text.MethodNone}}
	return func(yield func(text.Segment) bool) {
		var keys []text.Key
		var id, iv [16]byte
		for i := range s.segments {
			x := &s.segments[i]
			t := text.Segment{
				URI: segmentName(x.epoch, x.seq) + ".m4s", Span: x.span(x.start, x.dur),
				Discontinuity: x.discontinuity, Gap: x.gap, ProgramDateTime: time.Unix(0, x.wall),
			}
			if x.init >= 0 {
				t.Map.URI = s.inits[x.init]
			}
			switch {
			case x.sealed:
				if keys == nil || id != x.keyID || iv != x.iv {
					id, iv = x.keyID, x.iv
					keys = []text.Key{deliver.PlaylistKey(sealing, x.keyID, "../")}
					if iv != [16]byte{} {
						keys[0].Method, keys[0].IV = text.MethodAES128, x.iv[:]
					}
				}
				t.Keys = slices.Clone(keys)
			case keys != nil && !x.gap:
				t.Keys, keys = none, nil
			}
			if !yield(t) {
				return
			}
		}
	}, nil
}

func (x *segment) span(start, dur int64) text.Span {
	return text.Span{Start: start, Dur: dur, Timebase: av.Timebase{Num: 1, Den: x.scale}}
}

// decrypts returns why nobody can be told how to decrypt a segment, if that is so.
func decrypts(x *live.Sealing, iv [16]byte) error {
	if x == nil || (x.Scheme == seal.AES128) != (iv != [16]byte{}) {
		return &refusal{http.StatusConflict, "it was encrypted in another way than the server now encrypts the stream, and cannot be played"}
	}
	return nil
}

// maxSessionKeys bounds the keys that the multivariant playlist announces.
const maxSessionKeys = 16

// sessionKeys are the first keys that are needed.
func (h *Handler) sessionKeys(name string, s *scan) (out []text.Key, err error) {
	sealing := h.cfg.Hub.Sealing(name)
	for _, r := range s.renditions {
		for _, id := range r.keys {
			if sealing == nil {
				return nil, decrypts(nil, id)
			}
			k := deliver.PlaylistKey(sealing, id, "")
			if len(out) < maxSessionKeys && !slices.ContainsFunc(out, func(o text.Key) bool { return o.URI == k.URI }) {
				out = append(out, k)
			}
		}
	}
	return out, nil
}
