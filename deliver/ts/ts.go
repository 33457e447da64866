// Package ts delivers live streams as an MPEG transport stream over HTTP.
package ts

import (
	"fmt"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver/feed"
	"github.com/cleave-video/cleave/format/ts"
	"github.com/cleave-video/cleave/live"
)

// Format is MPEG-TS as a feed, with every track that it carries.
func Format() feed.Format {
	return feed.Format{Suffix: ".ts", ContentType: "video/mp2t", New: func() live.Renderer { return new(renderer) }}
}

type renderer struct {
	muxer  *ts.Muxer
	tracks []av.Track
	index  []int // of each track in the muxer; -1: it is left out

	offset int64 // 90 kHz
}

// Begin implements live.Renderer.
func (r *renderer) Begin(tracks []av.Track, offset time.Duration) error {
	fresh := r.muxer == nil || len(tracks) != len(r.tracks) || &tracks[0] != &r.tracks[0]
	r.offset = av.Clock90k.Ticks(offset) + ts.PCRLead // so that no PCR is negative
	if !fresh {
		r.muxer.Discontinuity()
		return nil
	}
	r.tracks, r.index = tracks, make([]int, len(tracks))
	var carried []av.Track
	for i := range tracks {
		r.index[i] = -1
		if _, err := ts.NewMuxer(tracks[i : i+1]); err == nil {
			r.index[i] = len(carried)
			carried = append(carried, tracks[i])
		}
	}
	if len(carried) == 0 {
		return fmt.Errorf("ts: %w: none of the %d tracks can be carried", av.ErrUnsupported, len(tracks))
	}
	old := r.muxer
	var err error
	if r.muxer, err = ts.NewMuxer(carried); err != nil {
		return err
	}
	if old != nil {
		r.muxer.Discontinuity()
	}
	return nil
}

// Header implements live.Renderer: nothing, for the tables come with every key frame.
func (r *renderer) Header(dst []byte, _ bool) []byte { return dst }

// Append implements live.Renderer.
func (r *renderer) Append(dst []byte, p *av.Packet) []byte {
	if p.Track >= len(r.index) || r.index[p.Track] < 0 {
		return dst
	}
	t := &r.tracks[p.Track]
	if p.Flags&av.Key != 0 && t.Kind == av.Video {
		dst = r.muxer.AppendHeader(dst)
	}
	dts := t.Timebase.Rescale(p.DTS, av.Clock90k) + r.offset
	pts := t.Timebase.Rescale(p.PTS, av.Clock90k) + r.offset
	q := *p
	q.Track = r.index[p.Track]
	return r.muxer.AppendPacket(dst, q, dts, pts)
}
