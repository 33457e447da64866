package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/live"
)

// maxPeriod bounds a playlist, and a file: what is longer is asked for in pieces.
const maxPeriod = 25 * time.Hour

const (
	// maxRows bounds the segments and key frames of all playlists that are made and sent, of
	// some 100 bytes each: those of 48 days of chunks of two seconds.
	maxRows = 1 << 21
	// maxMarks bounds the key frames of one.
	maxMarks = 1 << 18
)

var errRows = errors.New("replay: too many long playlists")

// scan is what is found out of the chunks of a range, in one pass.
type scan struct {
	only string // the rendition whose segments are wanted; empty: those of none
	keys bool   // and its key frames

	segments   []segment // of that rendition, one for each chunk
	marks      []mark    // its key frames
	inits      []string  // that segments name by number
	renditions []*rendition
	target     int64 // EXT-X-TARGETDURATION
	span       period
	alone      bool // every segment can be decoded by itself

	before chain
	until  time.Time // up to where it is likely to go on
	taken  int64     // of Handler.rows
}

// take counts what s has among the rows of all, until release; an error if there are too
// many.
func (h *Handler) take(s *scan) error {
	if len(s.marks) > maxMarks {
		return bad(fmt.Sprintf("there are more than %d key frames: ask for less at a time", maxMarks))
	}
	n := int64(len(s.segments) + len(s.marks))
	if n <= s.taken {
		return nil
	}
	n += 1<<10 - s.taken // not for each
	s.taken += n
	if h.rows.Add(n) > maxRows {
		return errRows
	}
	return nil
}

// release gives back what take counted.
func (h *Handler) release(s *scan) {
	h.rows.Add(-s.taken)
	s.taken = 0
}

// segment is a rendition's share of a chunk.
type segment struct {
	seq           int64
	wall          int64 // Unix nanoseconds of its beginning
	start, dur    int64 // ticks of scale
	scale         uint32
	epoch         uint32
	init          int32 // -1: as before
	discontinuity bool
	gap           bool
	sealed        bool
	keyID, iv     [16]byte
}

// mark is a key frame of a segment.
type mark struct {
	segment   int
	at        int64 // of its presentation, ticks of the segment
	off, size int64 // in the segment
}

// rendition is what is known of a track in all chunks of the range.
type rendition struct {
	name         string
	inits        []string // in the order of their use
	bytes        int64
	length, peak float64 // seconds, bits a second
	keys         [][16]byte
	frames       int64   // bytes of key frames
	framesPeak   float64 // bits a second
}

// chain finds where chunks do not go on from those before.
type chain struct {
	some   bool
	epoch  uint32
	seq    int64
	tracks []link
}

type link struct {
	name, init string
	key        [16]byte
}

// next takes the next chunk and reports whether a discontinuity stands before it: that was
// noted, or numbers are missing, another epoch begins, or tracks change, but for the
// keys in their initialization sections. What stages made has those of its source.
func (c *chain) next(e *index.Entry) bool {
	tracks := live.Received(e.Tracks)
	same := slices.EqualFunc(c.tracks, tracks, func(a link, b index.Track) bool {
		return a.name == b.Name && (a.init == b.Init || a.key != b.KeyID)
	})
	broke := c.some && (e.Discontinuity || e.Epoch != c.epoch || e.Seq != c.seq+1 || !same)
	if !same || changed(c.tracks, tracks) {
		c.tracks = c.tracks[:0]
		for i := range tracks {
			c.tracks = append(c.tracks, link{tracks[i].Name, tracks[i].Init, tracks[i].KeyID})
		}
	}
	c.some, c.epoch, c.seq = true, e.Epoch, e.Seq
	return broke
}

// changed reports whether a key, or what names it, has.
func changed(a []link, b []index.Track) bool {
	for i := range a {
		if a[i].init != b[i].Init || a[i].key != b[i].KeyID {
			return true
		}
	}
	return false
}

// scan passes through the chunks of a range of a stream. The error is a *refusal if there
// is nothing. What it takes is released by the caller, also after an error.
func (h *Handler) scan(ctx context.Context, name string, p period, s *scan) error {
	s.alone, s.target = true, 1
	if kept := h.cfg.Hub.Horizon(name); p.From.Before(kept) {
		p.From = kept
	}
	if !p.From.IsZero() {
		p.From = p.From.Add(slack)
	}
	s.until = p.To
	if now := h.cfg.Hub.Now(); s.until.IsZero() || s.until.After(now) {
		s.until = now
	}
	var failed error
	err := index.Pass(ctx, h.cfg.Index, name, p.From, p.To, func(e *index.Entry) bool {
		s.add(e)
		if failed = h.take(s); failed == nil && s.span.To.Sub(s.span.From) > maxPeriod {
			failed = bad(fmt.Sprintf("the range is longer than %v: ask for less at a time", maxPeriod))
		}
		return failed == nil
	})
	switch err = cmp.Or(err, failed); {
	case err != nil:
		return err
	case s.span.From.IsZero():
		return h.nothing(ctx, name, p)
	}
	return nil
}

// nothing says why a range has nothing.
func (h *Handler) nothing(ctx context.Context, name string, p period) error {
	var all period
	err := index.Pass(ctx, h.cfg.Index, name, h.cfg.Hub.Horizon(name), time.Time{}, func(e *index.Entry) bool {
		all.From = e.Wall
		return false
	})
	switch last, lerr := h.lastOf(ctx, name); {
	case err != nil:
		return err
	case all.From.IsZero():
		return errNone
	case lerr != nil:
		return lerr
	default:
		all.To = last
	}
	return missing(fmt.Sprintf("nothing is kept of that time: what there is begins at %s and ends at %s", shown(all.From), shown(all.To)))
}

// lastOf returns when a stream ended of which something is kept.
func (h *Handler) lastOf(ctx context.Context, name string) (time.Time, error) {
	e, err := h.cfg.Index.Last(ctx, name)
	return e.End(), err
}

// add notes a chunk.
func (s *scan) add(e *index.Entry) {
	broke := s.before.next(e)
	if s.span.From.IsZero() {
		s.span.From = e.Wall
	}
	if end := e.End(); end.After(s.span.To) {
		s.span.To = end
	}
	s.target = max(s.target, rounded(e.Timebase.Duration(e.Duration)))
	x := segment{
		seq: e.Seq, epoch: e.Epoch, wall: e.Wall.UnixNano(), start: e.Start, dur: max(e.Duration, 1), scale: e.Timebase.Den, init: -1, discontinuity: broke, gap: true,
	}
	begins, n := e.Timebase.Duration(e.Start), lead(e)
	for i := range e.Tracks {
		t := &e.Tracks[i]
		tb := av.Timebase{Num: 1, Den: t.Timescale}
		length := tb.Duration(max(t.Duration, 1))
		s.target = max(s.target, rounded(length))
		gap := t.Gap || e.Object == ""
		s.alone = s.alone && (t.Independent || gap)
		r := s.rendition(t.Name)
		if !gap {
			r.add(t, length)
		}
		if i == n && !gap {
			r.addKeys(e.Keys, length)
		}
		if t.Name != s.only {
			continue
		}
		x.wall += int64(tb.Duration(t.Start) - begins)
		x.start, x.dur, x.scale, x.gap = t.Start, max(t.Duration, 1), t.Timescale, gap
		if !gap {
			x.init, x.keyID, x.iv = s.init(t.Init), t.KeyID, t.IV
			x.sealed = t.KeyID != [16]byte{}
		}
		if s.keys && i == n && !gap {
			for _, k := range e.Keys {
				s.marks = append(s.marks, mark{len(s.segments), k.Time, k.Offset - t.Offset, k.Size})
			}
		}
	}
	if s.only != "" {
		s.segments = append(room(s.segments, e, s.span.From, s.until), x)
	}
}

// room returns list with room for one more, and where it is full for as many as are likely
// to come up to a time, if those before tell.
func room[T any](list []T, e *index.Entry, from, until time.Time) []T {
	n := len(list)
	if n < cap(list) || n < 64 || until.IsZero() {
		return list
	}
	done, all := e.Wall.Sub(from), min(until.Sub(from), maxPeriod)
	if done <= 0 || all <= done {
		return list
	}
	return slices.Grow(list, int(min(float64(n)*(float64(all)/float64(done)-1)+64, 1<<17)))
}

// init returns the number of an initialization section.
func (s *scan) init(name string) int32 {
	if n := len(s.inits); n > 0 && s.inits[n-1] == name {
		return int32(n - 1)
	}
	s.inits = append(s.inits, name)
	return int32(len(s.inits) - 1)
}

// rendition returns the one of that name.
func (s *scan) rendition(name string) *rendition {
	for _, r := range s.renditions {
		if r.name == name {
			return r
		}
	}
	r := &rendition{name: name}
	s.renditions = append(s.renditions, r)
	return r
}

func (r *rendition) add(t *index.Track, length time.Duration) {
	if n := len(r.inits); n == 0 || r.inits[n-1] != t.Init {
		r.inits = append(r.inits, t.Init)
	}
	if n := len(r.keys); t.KeyID != [16]byte{} && (n == 0 || r.keys[n-1] != t.KeyID) {
		r.keys = append(r.keys, t.KeyID)
	}
	r.bytes += t.Size
	r.length += length.Seconds()
	r.peak = max(r.peak, float64(t.Size)*8/length.Seconds())
}

func (r *rendition) addKeys(keys []index.Key, length time.Duration) {
	sum := int64(0)
	for i := range keys {
		sum += keys[i].Size
	}
	r.frames += sum
	r.framesPeak = max(r.framesPeak, float64(sum)*8/length.Seconds())
}

// frameRates are rates of the key frames alone.
func (r *rendition) frameRates() (peak, mean int64) {
	mean = int64(float64(r.frames) * 8 / max(r.length, 0.001))
	return above(r.framesPeak, mean), max(mean, 1)
}

// above is a bit rate that is no less than a peak that was measured: players measure it
// by what they are told of the length.
func above(peak float64, mean int64) int64 { return max(int64(peak*1.001)+1, mean) }

// rates are the peak and the mean of the bits a second, not zero.
func (r *rendition) rates() (peak, mean int64) {
	if r.length > 0 {
		mean = int64(float64(r.bytes) * 8 / r.length)
	}
	return above(r.peak, mean), max(mean, 1)
}

// rounded is a duration as EXT-X-TARGETDURATION compares it (RFC 8216bis 4.4.3.1).
func rounded(d time.Duration) int64 { return int64((d + time.Second/2) / time.Second) }
