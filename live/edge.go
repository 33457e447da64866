package live

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/mem"
)

// Edge is what a stream offers at one moment. It is immutable; the next one, which
// comes with every part, replaces it.
type Edge struct {
	Renditions []Rendition // of a stream that began to list, at least one
	// TargetDuration, in seconds, and PartTarget are promised to players before the
	// first playlist and never change while the stream lives (RFC 8216bis 6.2.1).
	// PartTarget 0: parts are not listed.
	TargetDuration int64
	PartTarget     time.Duration
	// Sealing is how the stream is encrypted; nil: not at all. Ahead are the keys that
	// can be asked for and have no segment yet, in the order of their use.
	Sealing *Sealing
	Ahead   [][16]byte
	// Live: a publisher is connected. Ended: none came back in time.
	Live, Ended bool

	changed chan struct{} // closed when there is a newer Edge
	mu      sync.Mutex    // guards texts
	texts   map[string]*text
}

// Rendition is one track of a stream as CMAF segments.
type Rendition struct {
	Name  string // "video0"; of one that a stage made of that, "video0-360p"
	Track av.Track
	Info  codec.Info
	// FrameRate is observed, of video; Den 0 if unknown.
	FrameRate av.Rational
	Segments  []Segment // the window, oldest first; numbers without a gap
	// Past are segments that left the window, which slower players may still ask for.
	Past []Segment
	// Open is the segment that follows, with the parts it has so far; nil if it has
	// not begun.
	Open *Segment
	// Discontinuities came before the first segment's own (EXT-X-DISCONTINUITY-SEQUENCE).
	Discontinuities int64
}

// Segment is a track's share of a chunk: its parts, one behind the other. It is
// listed when it is whole, which is before it is in the store.
type Segment struct {
	MSN   int64
	Epoch uint32
	Init  string // name of its initialization section, which contains its hash
	// Sealed says with which key it is encrypted; nil: it is in the clear.
	Sealed *Sealed
	Info   *codec.Info
	// DTS is its first decode time and Dur the sum of its samples, in ticks of
	// Timescale; the next segment's DTS follows on unless something is missing.
	DTS, Dur int64
	Start    int64 // least presentation time
	Shift    int64 // presentation behind decoding, the same from one discontinuity to the next
	// Timescale is the ticks a second, also of Parts and Keys.
	Timescale     uint32
	Size          int64
	Date          time.Time // wall-clock time of its first sample
	Stretch       *Stretch
	Discontinuity bool
	Gap           bool // the track has nothing in this chunk
	Independent   bool
	// Parts are those that are rendered; the first Listed of them keep what is
	// promised and may stand in playlists (RFC 8216bis 4.4.4.9).
	Parts  []Part
	Listed int
	// Keys are the key frames that begin a part. FirstKey is the number of the first
	// of them, counted over the rendition's life.
	Keys     []Key
	FirstKey int64

	object  *object
	section int    // of the object
	base    string // as the lane's
}

// Stretch is a run of chunks, the same for all renditions, on one line of time without a
// discontinuity: a Period of DASH. It also ends where its clock has gone too far from
// that of the dates.
type Stretch struct {
	First int64 // number of its first chunk
	// Start is the presentation time at which it begins, in ticks of Timescale.
	Start     int64
	Timescale uint32
	Date      time.Time // wall-clock time of Start, which does not move as the dates do
}

// Part is one moof and mdat of a segment.
type Part struct {
	DTS, Dur     int64
	Offset, Size int64 // in the segment
	Independent  bool

	block *mem.Block
}

// Key is a key frame of a segment.
type Key struct {
	PTS          int64
	Offset, Size int64 // in the segment, of its moof and its sample
}

// object is where a chunk is kept, shared by its segments.
type object struct {
	key   string
	state atomic.Int32
	at    []int64 // of each section its offset; valid once stored
	// digest is SHA-256 of all of it; valid once stored, zero if the object does not
	// describe itself.
	digest [32]byte
}

const (
	pending = int32(iota) // only in memory
	stored
	failed
)

// Stored returns the segment's object and where it begins in it, once it is in the
// store.
func (s *Segment) Stored() (key string, off int64, ok bool) {
	if s.object == nil || s.object.state.Load() != stored {
		return "", 0, false
	}
	return s.object.key, s.object.at[s.section], true
}

// Digest returns SHA-256 of the segment's object, and which of its sections the segment
// is, once it is in the store: nothing else has both.
func (s *Segment) Digest() (sum [32]byte, section int, ok bool) {
	if s.object == nil || s.object.state.Load() != stored {
		return sum, 0, false
	}
	return s.object.digest, s.section, s.object.digest != [32]byte{}
}

// Lost reports whether the segment could not be stored.
func (s *Segment) Lost() bool { return s.object != nil && s.object.state.Load() == failed }

// Retain returns the segment's parts so far, each with a reference to release, or
// nil if one of them is no longer in memory.
func (s *Segment) Retain() []*mem.Block {
	if len(s.Parts) == 0 {
		return nil
	}
	out := make([]*mem.Block, 0, len(s.Parts))
	for i := range s.Parts {
		b := s.Parts[i].Retain()
		if b == nil {
			for _, b := range out {
				b.Release()
			}
			return nil
		}
		out = append(out, b)
	}
	return out
}

// Retain returns the part's bytes with a reference to release, or nil if they are no
// longer in memory.
func (p *Part) Retain() *mem.Block {
	if p.block == nil || !p.block.TryRetain() {
		return nil
	}
	return p.block
}

// End is the decode time at which the segment ends.
func (s *Segment) End() int64 { return s.DTS + s.Dur }

// Duration is how long the segment lasts.
func (s *Segment) Duration() time.Duration {
	return av.Timebase{Num: 1, Den: s.Timescale}.Duration(s.Dur)
}

// Changed is closed when the stream has a newer Edge.
func (e *Edge) Changed() <-chan struct{} { return e.changed }

// next returns a copy that is to replace e.
func (e *Edge) next() *Edge {
	return &Edge{
		Renditions: e.Renditions, TargetDuration: e.TargetDuration, PartTarget: e.PartTarget, Sealing: e.Sealing, Ahead: e.Ahead, Live: e.Live, Ended: e.Ended,
	}
}

// Ready reports whether there is something to play of every rendition.
func (e *Edge) Ready() bool {
	for i := range e.Renditions {
		if len(e.Renditions[i].Segments) == 0 {
			return false
		}
	}
	return len(e.Renditions) > 0
}

// Rendition returns the rendition of that name, or nil.
func (e *Edge) Rendition(name string) *Rendition {
	for i := range e.Renditions {
		if e.Renditions[i].Name == name {
			return &e.Renditions[i]
		}
	}
	return nil
}

// Of returns the name of the rendition that a stage made this one of, whose segments have
// the same numbers and times; empty if it was received.
func (r *Rendition) Of() string { return MadeOf(r.Name) }

// MadeOf is Rendition.Of of one that has a name.
func MadeOf(name string) string {
	of, _, made := strings.Cut(name, "-")
	if !made {
		return ""
	}
	return of
}

// Segment returns the segment of that epoch and number, also one that is open; nil
// if there is none.
func (r *Rendition) Segment(epoch uint32, msn int64) *Segment {
	if o := r.Open; o != nil && o.MSN == msn && o.Epoch == epoch {
		return o
	}
	for _, list := range [...][]Segment{r.Segments, r.Past} {
		if len(list) == 0 {
			continue
		}
		if i := msn - list[0].MSN; i >= 0 && i < int64(len(list)) && list[i].Epoch == epoch {
			return &list[i]
		}
	}
	return nil
}

// Whole reports whether the segment of that number is listed or has left.
func (r *Rendition) Whole(msn int64) bool {
	n := len(r.Segments)
	return n > 0 && r.Segments[n-1].MSN >= msn
}

// Last returns the number of the newest whole segment; -1 if there is none.
func (r *Rendition) Last() int64 {
	if n := len(r.Segments); n > 0 {
		return r.Segments[n-1].MSN
	}
	return -1
}

// Reached reports whether the rendition has come to part number part of segment msn,
// or to the end of that segment if part is negative. A part beyond the last one of a
// whole segment is the first of the next (RFC 8216bis 6.2.5.2).
func (r *Rendition) Reached(msn, part int64) bool {
	last := r.Last()
	switch {
	case part < 0 || last > msn:
		return last >= msn
	case last == msn && part < int64(r.Segments[len(r.Segments)-1].Listed):
		return true
	case last == msn:
		msn, part = msn+1, 0
	}
	return r.Open != nil && r.Open.MSN == msn && int64(r.Open.Listed) > part
}

// text is a rendering of an Edge.
type text struct {
	once sync.Once
	b    []byte
}

// Text returns what build returns, built at most once for this Edge and name: a
// thousand waiting requests share one rendering.
func (e *Edge) Text(name string, build func() []byte) []byte {
	e.mu.Lock()
	t := e.texts[name]
	if t == nil {
		if e.texts == nil {
			e.texts = make(map[string]*text)
		}
		t = new(text)
		e.texts[name] = t
	}
	e.mu.Unlock()
	t.once.Do(func() { t.b = build() })
	return t.b
}
