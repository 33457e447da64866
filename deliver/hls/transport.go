package hls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	text "github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/format/ts"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

const (
	// transportName is the folder of a stream's playlist and segments in MPEG-TS.
	transportName = "ts"
	// transportWait bounds how long the store may take to give what a segment is made of.
	transportWait = 10 * time.Second
)

// pair is what a segment of MPEG-TS holds: the first video and the first audio that it can
// carry. lead decides where segments begin; sound is nil if there is one of them only.
type pair struct{ lead, sound *live.Rendition }

// pairOf finds the pair of an edge. The error says why there is none.
func pairOf(e *live.Edge) (p pair, err error) {
	var video, audio *live.Rendition
	for i := range e.Renditions {
		r := &e.Renditions[i]
		if _, e := ts.NewMuxer([]av.Track{r.Track}); e != nil {
			err = e
			continue
		}
		switch {
		case r.Track.Kind == av.Video && video == nil:
			video = r
		case r.Track.Kind == av.Audio && audio == nil:
			audio = r
		}
	}
	switch {
	case video != nil:
		return pair{video, audio}, nil
	case audio != nil:
		return pair{audio, nil}, nil
	case err == nil:
		err = av.ErrUnsupported
	}
	return p, err
}

// last is the number of the newest segment that is whole in both.
func (p pair) last() int64 {
	n := p.lead.Last()
	if p.sound != nil {
		n = min(n, p.sound.Last())
	}
	return n
}

// transports answers with the playlist of the stream as MPEG-TS, for players that know no
// CMAF: whole segments, each made when it is asked for.
func (h *Handler) transports(w http.ResponseWriter, r *http.Request, s *live.Stream) {
	e := h.ready(w, r, s)
	if e == nil {
		return
	}
	p, err := pairOf(e)
	if err != nil {
		httpio.Fail(w, http.StatusNotAcceptable, err.Error())
		return
	}
	if e.Sealing != nil {
		httpio.Fail(w, http.StatusNotAcceptable, "the stream is encrypted, which is done in CMAF only")
		return
	}
	h.text(w, r, e, transportName, func() []byte { return p.playlist(e) }, 0)
}

func (p pair) playlist(e *live.Edge) []byte {
	r := p.lead
	m := &text.Media{
		TargetDuration: e.TargetDuration, DiscontinuitySequence: r.Discontinuities, EndList: e.Ended, IndependentSegments: independent(r),
	}
	last := p.last()
	for i := range r.Segments {
		s := &r.Segments[i]
		if i == 0 {
			m.Sequence = s.MSN
		}
		if s.MSN > last {
			break
		}
		x := segment(s)
		x.Map = text.Map{}
		x.URI, x.Gap = fmt.Sprintf("%d-%d.ts", s.Epoch, s.MSN), s.Gap || gone(s)
		m.Segments = append(m.Segments, x)
	}
	return m.Append(nil)
}

// transport answers with a segment as MPEG-TS.
func (h *Handler) transport(w http.ResponseWriter, r *http.Request, s *live.Stream, name string) {
	at, ok := parsePlace(name)
	p, err := pairOf(s.Edge())
	if err != nil || !ok || at.part >= 0 || at.msn > p.last() {
		httpio.Fail(w, http.StatusNotFound, "no such segment")
		return
	}
	lead := p.lead.Segment(at.epoch, at.msn)
	if lead == nil || lead.Gap || lead.Sealed != nil {
		httpio.Fail(w, http.StatusNotFound, "it has left the window, or was never there")
		return
	}
	segments := []*live.Segment{lead}
	if p.sound != nil {
		if sound := p.sound.Segment(at.epoch, at.msn); sound != nil && !sound.Gap {
			segments = append(segments, sound)
		}
	}
	b, err := h.made.get(s.Name()+"/"+name, func() ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), transportWait) // others wait for it, too
		defer cancel()
		return h.transmux(ctx, s, segments)
	})
	if err != nil {
		httpio.Busy(w, "the segment cannot be made: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", "video/mp2t")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("Etag", `"`+name+`.ts"`)
	defer httpio.Expire(w, int64(len(b)))()
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// errGone says that what a segment is made of is neither in memory nor in the store.
var errGone = errors.New("it is no longer kept")

// transmux makes a segment of MPEG-TS of the CMAF segments of one chunk. One that is made
// again is the same, and counters go on from the segment before.
func (h *Handler) transmux(ctx context.Context, s *live.Stream, segments []*live.Segment) ([]byte, error) {
	var tracks []av.Track
	var lists [][]av.Packet
	size := 0
	for _, seg := range segments {
		b, err := h.whole(ctx, s, seg)
		if err != nil {
			return nil, err
		}
		t, packets, err := demux(b)
		if err != nil {
			return nil, err
		}
		tracks, lists, size = append(tracks, t), append(lists, packets), size+len(b)
	}
	m, err := ts.NewMuxer(tracks)
	if err != nil {
		return nil, err
	}
	last, after := make([]int, len(lists)), make([]int, len(lists)) // packets up to the one that AppendLast is for
	for i, l := range lists {
		last[i], after[i] = ts.Last(l)
	}
	out := m.AppendHeader(make([]byte, 0, size+size/8))
	for {
		next := -1
		for i, l := range lists {
			if len(l) > 0 && (next < 0 || tracks[i].Timebase.Compare(l[0].DTS, tracks[next].Timebase, lists[next][0].DTS) < 0) {
				next = i
			}
		}
		if next < 0 {
			return m.AppendEnd(out), nil
		}
		p, tb := lists[next][0], tracks[next].Timebase
		lists[next] = lists[next][1:]
		p.Track = next
		dts, pts := tb.Rescale(p.DTS, av.Clock90k)+ts.PCRLead, tb.Rescale(p.PTS, av.Clock90k)+ts.PCRLead
		if last[next] == 0 {
			out = m.AppendLast(out, p, dts, pts, after[next])
		} else {
			out = m.AppendPacket(out, p, dts, pts)
		}
		last[next]--
	}
}

// whole returns a segment with its initialization section in front.
func (h *Handler) whole(ctx context.Context, s *live.Stream, seg *live.Segment) ([]byte, error) {
	out := bytes.Clone(s.Init(seg.Init))
	if out == nil {
		var err error
		if out, err = h.object(ctx, out, s.Name()+"/"+seg.Init, 0, -1); err != nil {
			return nil, err
		}
	}
	if held := seg.Retain(); held != nil {
		out = slices.Grow(out, int(seg.Size))
		for _, b := range held {
			out = append(out, b.Bytes()...)
			b.Release()
		}
		return out, nil
	}
	key, at, ok := seg.Stored()
	if !ok {
		return nil, errGone
	}
	return h.object(ctx, out, key, at, seg.Size)
}

// object appends size bytes of an object from off on; -1 is all.
func (h *Handler) object(ctx context.Context, dst []byte, key string, off, size int64) ([]byte, error) {
	o, err := h.cfg.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	if size < 0 {
		size = o.Size()
	}
	n := len(dst)
	dst = slices.Grow(dst, int(size))[:n+int(size)]
	if _, err := io.ReadFull(io.NewSectionReader(o, off, size), dst[n:]); err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return dst, nil
}

// demux returns the track and the packets of a file of CMAF.
func demux(b []byte) (t av.Track, packets []av.Packet, err error) {
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			t = d.Tracks()[0]
			continue
		case err != nil && len(packets) == 0:
			return t, nil, err
		case err != nil:
			return t, packets, nil
		}
		packets = append(packets, p)
	}
}

// isTransport reports whether a path's last two elements name a segment of MPEG-TS.
func isTransport(rend, last string) bool {
	return rend == transportName && strings.HasSuffix(last, ".ts")
}
