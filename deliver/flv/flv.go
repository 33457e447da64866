// Package flv delivers live streams as FLV over HTTP.
package flv

import (
	"fmt"
	"slices"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver/feed"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/live"
)

// Format is FLV as a feed: the first video and the first audio track that FLV or
// Enhanced RTMP carries.
func Format() feed.Format {
	return feed.Format{Suffix: ".flv", ContentType: "video/x-flv", New: func() live.Renderer { return new(renderer) }}
}

type renderer struct {
	tracks []av.Track
	kinds  []byte // tag type of each track; 0: it is left out
	offset int64  // ms
	newest uint32 // timestamp
	head   []byte
}

// Begin implements live.Renderer.
func (r *renderer) Begin(tracks []av.Track, offset time.Duration) error {
	r.tracks, r.offset = tracks, offset.Milliseconds()
	r.kinds = flv.Select(tracks)
	if !slices.Contains(r.kinds, flv.TypeVideo) && !slices.Contains(r.kinds, flv.TypeAudio) {
		return fmt.Errorf("flv: %w: none of the %d tracks can be carried", av.ErrUnsupported, len(tracks))
	}
	return nil
}

// Header implements live.Renderer.
func (r *renderer) Header(dst []byte, first bool) []byte {
	at := r.newest
	if first {
		at = 0
		dst = flv.AppendHeader(dst, slices.Contains(r.kinds, flv.TypeVideo), slices.Contains(r.kinds, flv.TypeAudio))
		dst = flv.AppendTag(dst, flv.TypeScript, 0, nil, flv.AppendMetadata(nil, r.tracks, r.kinds))
	}
	for i, kind := range r.kinds {
		if kind == 0 {
			continue
		}
		// Select has tried it.
		if body, err := flv.AppendSequenceStart(nil, &r.tracks[i]); err == nil && len(body) > 0 {
			dst = flv.AppendTag(dst, kind, at, nil, body)
		}
	}
	return dst
}

// Append implements live.Renderer.
func (r *renderer) Append(dst []byte, p *av.Packet) []byte {
	if p.Track >= len(r.kinds) || r.kinds[p.Track] == 0 {
		return dst
	}
	t := &r.tracks[p.Track]
	dts := t.Timebase.Rescale(p.DTS, av.Millisecond)
	pts := t.Timebase.Rescale(p.PTS, av.Millisecond)
	r.head = flv.AppendFrameHead(r.head[:0], t, p.Flags, pts-dts)
	r.newest = uint32(dts + r.offset)
	return flv.AppendTag(dst, r.kinds[p.Track], r.newest, r.head, p.Data)
}
