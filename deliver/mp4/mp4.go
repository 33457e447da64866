// Package mp4 delivers live streams as fragmented MP4 over HTTP.
package mp4

import (
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/deliver/feed"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/live"
)

// Format is fragmented MP4 as a feed: every track that CMAF has a sample entry for, and
// a fragment for each frame, so that none waits for the next.
func Format() feed.Format {
	return feed.Format{Suffix: ".mp4", ContentType: "video/mp4", New: func() live.Renderer { return new(renderer) }}
}

type renderer struct {
	movie    []byte // ftyp and moov
	tracks   []track
	sequence uint32
	one      [1]av.Packet
}

// track is one of the stream's.
type track struct {
	carried bool
	factor  int64
	offset  int64 // ticks of the timescale
	last    int64 // decode time of the packet before
	usual   int64 // distance of the last two packets, for those whose Dur is not known
	begun   bool
}

// Begin implements live.Renderer.
func (r *renderer) Begin(tracks []av.Track, offset time.Duration) (err error) {
	if r.movie, err = mp4.AppendMovie(r.movie[:0], tracks); err != nil {
		return err
	}
	r.tracks = make([]track, len(tracks))
	for i := range tracks {
		t := &tracks[i]
		scale, factor := t.Timebase.Timescale()
		r.tracks[i] = track{carried: mp4.Fits(t) == nil, factor: factor, usual: usual(t), offset: int64(offset/time.Second) * int64(scale)}
	}
	return nil
}

// usual is the distance of the frames that the track's configuration declares, in ticks;
// 1 if it declares none.
func usual(t *av.Track) int64 {
	info, err := codec.Describe(t)
	switch {
	case err != nil:
	case info.FrameRate.Num > 0 && info.FrameRate.Den > 0:
		return max(1, av.Timebase{Num: uint32(info.FrameRate.Den), Den: uint32(info.FrameRate.Num)}.Rescale(1, t.Timebase))
	case info.FrameSamples > 0 && info.SampleRate > 0:
		return max(1, av.Timebase{Num: 1, Den: uint32(info.SampleRate)}.Rescale(int64(info.FrameSamples), t.Timebase))
	}
	return 1
}

// Header implements live.Renderer. Who has had one header gets another when the tracks
// change: what Media Source Extensions take for a new initialization segment.
func (r *renderer) Header(dst []byte, _ bool) []byte { return append(dst, r.movie...) }

// Append implements live.Renderer.
func (r *renderer) Append(dst []byte, p *av.Packet) []byte {
	if p.Track >= len(r.tracks) || !r.tracks[p.Track].carried || len(p.Data) == 0 {
		return dst
	}
	t := &r.tracks[p.Track]
	if d := p.DTS - t.last; t.begun && d > 0 {
		t.usual = d
	}
	t.last, t.begun = p.DTS, true
	r.one[0] = *p
	if p.Dur <= 0 {
		r.one[0].Dur = t.usual
	}
	r.sequence++
	f := mp4.Fragment{Sequence: r.sequence, TrackID: uint32(p.Track + 1), Factor: t.factor, Offset: t.offset, Packets: r.one[:]}
	dst = append(f.Append(dst), p.Data...)
	r.one[0].Data = nil
	return dst
}
