package pack

import (
	"bytes"
	"errors"

	"github.com/cleave-video/cleave/av"
)

// Carried is a set of tracks as it is cut for a container that may not carry all of
// them. A track that is left out is data without a form: it neither decides where the
// others are cut, nor does it cut when it changes, comes or goes. Its packets are for
// nobody.
type Carried struct {
	Tracks []av.Track
	Left   []error // of each track, why it is left out; nil: it is not
}

// Carry asks fits about each track. One for which that returns an error that wraps
// av.ErrUnsupported is left out, and so is data with any error.
func Carry(tracks []av.Track, fits func(t *av.Track) error) Carried {
	c := Carried{Tracks: make([]av.Track, len(tracks)), Left: make([]error, len(tracks))}
	copy(c.Tracks, tracks)
	for i := range c.Tracks {
		t := &c.Tracks[i]
		if err := fits(t); errors.Is(err, av.ErrUnsupported) || err != nil && t.Kind == av.Data {
			c.Left[i] = err
			*t = av.Track{Kind: av.Data, Codec: av.Private, Timebase: t.Timebase}
		}
	}
	return c
}

// Has reports whether a track is there and not left out.
func (c *Carried) Has(track int) bool {
	return track >= 0 && track < len(c.Left) && c.Left[track] == nil
}

// Same reports whether o has the same tracks under the same numbers, but for those left
// out.
func (c *Carried) Same(o *Carried) bool {
	for i := range max(len(c.Tracks), len(o.Tracks)) {
		if a, b := c.Has(i), o.Has(i); a != b || a && !same(&c.Tracks[i], &o.Tracks[i]) {
			return false
		}
	}
	return true
}

func same(a, b *av.Track) bool {
	return a.Kind == b.Kind && a.Codec == b.Codec && a.Timebase == b.Timebase && bytes.Equal(a.Config, b.Config) &&
		a.Private == b.Private && a.Language == b.Language && a.Rotation == b.Rotation && a.ID == b.ID && a.Width == b.Width && a.Height == b.Height
}
