// Package stage has what closed chunks pass on their way to the store. A stage is one
// file behind one small interface.
package stage

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
)

// ErrTransient is an error after which the same may succeed. Any other is permanent: the
// chunk goes on without what the stage would have made.
var ErrTransient = errors.New("stage: not now")

// Stage does something with every chunk. Run belongs to the chunk's own goroutine, and is
// called for several chunks at a time, in any order; what it makes is taken in the order
// of the chunks. It changes nothing but the Object, leaves that as it was if it returns an
// error, and returns when ctx is done. The error wraps ErrTransient, or is permanent.
type Stage interface {
	Run(ctx context.Context, o *Object) error
}

// Maker is an optional ability of a Stage: it makes renditions.
type Maker interface {
	// Makes returns which renditions Run will make of a stream with such tracks. It is
	// pure, and Run makes all of them or returns an error.
	Makes(stream string, tracks []av.Track) []Rendition
}

// Rendition is one that is made of a track.
type Rendition struct {
	Name string // "360p": other than that of any other that is made of the track
	Of   int    // index of the track
}

// Object is a closed chunk and what it becomes. The packets stay valid while a stage runs.
type Object struct {
	Stream string
	Chunk  *chunk.Chunk
	// Before are the chunks without which this one cannot be decoded, the first of which
	// can; none if it can itself, or if they are not there any more.
	Before []*chunk.Chunk
	Rates  []av.Rational // of the tracks, the same for all chunks of a set of tracks; Den 0: unknown
	Made   []Made        // by stages

	// Body is what is to be stored, in pieces, of those stages that run when all is made;
	// Digest is its SHA-256.
	Body   [][]byte
	Digest [sha256.Size]byte
}

// Made is a rendition of a chunk: packets instead of those of a track, as many and with
// the same times.
type Made struct {
	Name    string
	Track   av.Track
	Packets []av.Packet // DTS, PTS, Flags and Data; in decode order
}
