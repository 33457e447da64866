package live

import (
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// Edge is what a stream offers at one moment. It is immutable; the next one
// replaces it.
type Edge struct {
	Renditions []Rendition
	// TargetDuration is promised to players before the first playlist, in
	// seconds, and never changes while the stream lives (RFC 8216bis 6.2.1).
	TargetDuration int64
	// Live: a publisher is connected. Ended: none came back in time.
	Live, Ended bool

	changed chan struct{} // closed when there is a newer Edge
	mu      sync.Mutex    // guards texts
	texts   map[string][]byte
}

// Rendition is one track of a stream as CMAF segments.
type Rendition struct {
	Name  string // "video0"
	Track av.Track
	Info  codec.Info
	// FrameRate is observed, of video; Den 0 if unknown.
	FrameRate av.Rational
	Segments  []Segment // the window, oldest first; numbers without a gap
	// Past are segments that left the window, which slower players may still ask for.
	Past []Segment
	// Discontinuities came before the first segment's own (EXT-X-DISCONTINUITY-SEQUENCE).
	Discontinuities int64
}

// Segment is a track's share of a committed chunk.
type Segment struct {
	MSN           int64
	Epoch         uint32
	Key           string // of the chunk's object in the store
	Offset, Size  int64  // its bytes there
	Init          string // name of its initialization section, which contains its hash
	Start, Dur    int64  // ticks of Timescale
	Timescale     uint32
	Date          time.Time // wall-clock time of its first sample
	Discontinuity bool
	Gap           bool // the track has nothing in this chunk
	Independent   bool
}

// Changed is closed when the stream has a newer Edge.
func (e *Edge) Changed() <-chan struct{} { return e.changed }

// Ready reports whether there is anything to play.
func (e *Edge) Ready() bool {
	for i := range e.Renditions {
		if len(e.Renditions[i].Segments) > 0 {
			return true
		}
	}
	return false
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

// Segment returns the segment of that epoch and number, or nil.
func (r *Rendition) Segment(epoch uint32, msn int64) *Segment {
	for _, list := range [...][]Segment{r.Segments, r.Past} {
		for i := len(list) - 1; i >= 0; i-- {
			if list[i].MSN == msn && list[i].Epoch == epoch {
				return &list[i]
			}
		}
	}
	return nil
}

// Text returns what build returns, built at most once for this Edge and name: a
// thousand waiting requests share one rendering.
func (e *Edge) Text(name string, build func() []byte) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	if b, ok := e.texts[name]; ok {
		return b
	}
	if e.texts == nil {
		e.texts = make(map[string][]byte)
	}
	b := build()
	e.texts[name] = b
	return b
}
