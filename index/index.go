// Package index finds chunks by time: which chunk shows a moment, where its tracks
// lie in its object, and where its key frames do. Chunks enter it when their object
// is stored, and objects describe themselves, so that an index can be built anew
// from a store alone.
package index

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/store"
)

// Errors that callers act on; those of an Index match them by errors.Is.
var (
	ErrNotFound = errors.New("index: nothing there")
	ErrOrder    = errors.New("index: not behind the last entry")
	ErrEntry    = errors.New("index: entry is wrong")
)

// CorruptError says that a file of an index, or the description of an object, is
// not what was written.
type CorruptError struct {
	Path   string // file or key; "" if only the bytes are known
	Offset int64  // where, from the beginning
	Why    string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("index: %s at %d: %s", e.Path, e.Offset, e.Why)
}

// Index keeps the entries of each stream in the order in which they were added.
//
// The time of an entry is its wall clock, or that of the entry before it if that is
// later: when a clock was set back, entries share a time until it has caught up.
// All methods are safe for concurrent use. Entries that they return share nothing
// with the index.
type Index interface {
	// Add appends an entry and returns when it will survive a crash. Its Seq is
	// greater than that of the entry before it and its Epoch not less. Errors:
	// ErrEntry, ErrOrder, store.ErrFull, store.ErrTransient, *CorruptError.
	Add(ctx context.Context, stream string, e Entry) error
	// Seek returns the last key frame at or before a time, and the entry it lies
	// in. It looks through at most 1,024 entries without one. In an independent
	// entry without key frames, of sound for instance, the key is the start of its
	// first track and has size 0. Errors: ErrNotFound, *CorruptError.
	Seek(ctx context.Context, stream string, at time.Time) (Entry, Key, error)
	// Range yields the entries that are shown between two times, from the one that
	// is shown at from to the last that begins before to. A zero from is the
	// beginning, a zero to the end. After an error nothing follows.
	Range(ctx context.Context, stream string, from, to time.Time) iter.Seq2[Entry, error]
	// Last returns the entry added last, even if it was dropped: numbers go on
	// from it. Errors: ErrNotFound, *CorruptError.
	Last(ctx context.Context, stream string) (Entry, error)
	// Drop removes the entries that end before the one that is shown at a time, and
	// that one, too, if it has ended by then.
	Drop(ctx context.Context, stream string, before time.Time) error
}

// Batcher is an optional ability of an Index: many entries at the cost of one.
type Batcher interface {
	// AddAll adds entries as Add does, all or none.
	AddAll(ctx context.Context, stream string, list []Entry) error
}

// Streamer is an optional ability of an Index.
type Streamer interface {
	// Streams yields the names of the streams it has entries of, or a state, in no
	// order.
	Streams(ctx context.Context) iter.Seq2[string, error]
}

// Walker is an optional ability of an Index: all entries for less than Range takes.
type Walker interface {
	// Walk calls f with each entry of the stream, in order, until f returns false.
	// f must not keep what the entry has in slices. Errors: *CorruptError.
	Walk(ctx context.Context, stream string, f func(e *Entry) bool) error
}

// Passer is an optional ability of an Index: a range for less than Range takes.
type Passer interface {
	// Pass calls f with the entries that Range yields, until f returns false. f must
	// not keep what the entry has in slices. Errors: *CorruptError, the cause of ctx.
	Pass(ctx context.Context, stream string, from, to time.Time, f func(e *Entry) bool) error
}

// Pass calls ix.Pass, or does with ix.Range.
func Pass(ctx context.Context, ix Index, stream string, from, to time.Time, f func(e *Entry) bool) error {
	if p, ok := ix.(Passer); ok {
		return p.Pass(ctx, stream, from, to, f)
	}
	for e, err := range ix.Range(ctx, stream, from, to) {
		if err != nil || !f(&e) {
			return err
		}
	}
	return nil
}

// Finder is an optional ability of an Index.
type Finder interface {
	// Find returns the entry of that number. Errors: ErrNotFound, *CorruptError.
	Find(ctx context.Context, stream string, seq int64) (Entry, error)
}

// walk calls ix.Walk, or does with ix.Range.
func walk(ctx context.Context, ix Index, stream string, f func(e *Entry) bool) error {
	if w, ok := ix.(Walker); ok {
		return w.Walk(ctx, stream, f)
	}
	for e, err := range ix.Range(ctx, stream, time.Time{}, time.Time{}) {
		if err != nil || !f(&e) {
			return err
		}
	}
	return nil
}

// Entry is what is known of a chunk.
type Entry struct {
	Epoch         uint32
	Seq           int64       // HLS's MEDIA-SEQUENCE
	Timebase      av.Timebase // of Start, Duration and the keys
	Start         int64
	Duration      int64
	Wall          time.Time // program date-time of Start; years 1970 to 2261
	Object        string    // key of the object in the store
	Size          int64     // of the object
	Digest        [32]byte  // of the object's bytes; zero if unknown
	Discontinuity bool      // before it
	Gap           bool      // nothing to play
	Independent   bool
	Reason        chunk.Reason // why it ended
	Tracks        []Track
	Keys          []Key // of the lead track, in order
}

// Track is a track's share of a chunk, a segment of HLS and DASH.
type Track struct {
	Name            string // of the rendition
	Init            string // name of its initialization section, which contains its hash
	Timescale       uint32
	Start, Duration int64 // ticks of Timescale
	Offset, Size    int64 // its bytes in the object
	Gap             bool  // the track has nothing in this chunk
	Independent     bool
	// KeyID names the key that its bytes are encrypted with; zero: none. IV is not zero
	// if they are encrypted as a whole (AES-128), else it is by sample.
	KeyID, IV [16]byte
}

// Key is a key frame.
type Key struct {
	Time         int64 // of its presentation, ticks of the entry's Timebase
	Offset, Size int64 // its bytes in the object
}

// MaxTracks is how many tracks an entry may have.
const MaxTracks = 64

// The other bounds of an entry.
const (
	maxKeys = 1 << 16
	maxText = 512
)

// Validate returns what is wrong with an entry; it matches ErrEntry.
func (e *Entry) Validate() error {
	bad := func(what string, v any) error { return fmt.Errorf("%w: %s %v", ErrEntry, what, v) }
	switch {
	case !e.Timebase.Valid():
		return bad("timebase", e.Timebase)
	case e.Seq < 0:
		return bad("seq", e.Seq)
	case e.Duration < 0:
		return bad("duration", e.Duration)
	case e.Size < 0:
		return bad("size", e.Size)
	case len(e.Object) > maxText:
		return bad("length of key", len(e.Object))
	case e.Wall.Year() < 1970 || e.Wall.Year() > 2261:
		return bad("wall clock", e.Wall)
	case len(e.Tracks) > MaxTracks:
		return bad("number of tracks", len(e.Tracks))
	case len(e.Keys) > maxKeys:
		return bad("number of keys", len(e.Keys))
	}
	return e.validateTables(bad)
}

// validateTables checks what is in the tracks and the keys.
func (e *Entry) validateTables(bad func(what string, v any) error) error {
	for i := range e.Tracks {
		t := &e.Tracks[i]
		if len(t.Name) > maxText || len(t.Init) > maxText || t.Timescale == 0 || t.Duration < 0 || t.Offset < 0 || t.Size < 0 {
			return bad("track", *t)
		}
	}
	for i := range e.Keys {
		if k := &e.Keys[i]; k.Offset < 0 || k.Size < 0 || i > 0 && k.Time < e.Keys[i-1].Time {
			return bad("key", *k)
		}
	}
	return nil
}

// End is the time at which the entry has been shown.
func (e *Entry) End() time.Time { return e.Wall.Add(e.Timebase.Duration(e.Duration)) }

// MaxStream bounds the name of a stream in bytes: a folder has it as its name, and file
// systems take 255.
const MaxStream = 240

// CheckStream returns ErrEntry unless name can name a stream.
func CheckStream(name string) error {
	if err := store.CheckKey(name); err != nil || len(name) > MaxStream {
		return fmt.Errorf("%w: stream %q", ErrEntry, name)
	}
	return nil
}
