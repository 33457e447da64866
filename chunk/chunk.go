// Package chunk cuts a stream of packets into chunks: where, a Policy decides;
// within which bounds, and which packets of the other tracks go along, the Chunker.
package chunk

import (
	"fmt"
	"sync/atomic"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/mem"
)

// ID names a chunk for ever.
type ID struct {
	Stream string
	Epoch  uint32
	Start  int64 // PTS of the first lead packet, lead ticks
}

// Span is what is known of an open chunk, in ticks of the lead track.
type Span struct {
	Timebase av.Timebase
	Start    int64 // PTS of the first lead packet
	DTS      int64 // DTS of the first lead packet
	MaxPTS   int64 // end of the last presented lead packet: max of PTS + Dur
	Frames   int   // lead packets
	Bytes    int64 // payload of all tracks, with what waits to be assigned
	Keys     int   // key packets of the lead
	LastKey  int64 // PTS of the newest key packet
	// The GOP before the newest key: its length, frames and bytes; 0 if there was none.
	LastGOP       int64
	LastGOPFrames int
	LastGOPBytes  int64
	GOPFrames     int   // lead packets since the newest key
	GOPBytes      int64 // bytes of all tracks since then
	// Safe: no lead picture in the chunk is presented after one that is not yet in
	// it, so that a cut here, inside a GOP, parts the pictures cleanly.
	Safe bool
}

// Head is what a policy sees of the next packet.
type Head struct {
	Lead     bool
	PTS, DTS int64 // ticks of its track
	Dur      int64
	Flags    av.Flags
	Size     int
}

// Reason says why a chunk ended.
type Reason uint8

// The reasons. None means: do not cut.
const (
	None      Reason = iota
	Grid             // a key frame passed the next multiple of the target
	NextGOP          // one more GOP would exceed the target duration promised
	Wall             // fixed: the target was reached
	Bytes            // the bytes of a chunk were used up
	Frames           // adaptive_gop: enough frames
	MaxDur           // the longest duration of a chunk
	MaxBytes         // the most bytes of a chunk
	MaxFrames        // the most frames, or packets of all tracks, of a chunk
	Tracks           // codec, resolution or parameter sets change
	Discont          // the timeline breaks
	Shutdown         // the server stops
	End              // the input ended
	Lead             // the lead track, which had fallen silent, comes back
	Crash            // recovered after a crash
	reasons          // how many there are
)

var reasonNames = [reasons]string{
	"none", "grid", "next_gop", "wall", "bytes", "frames", "max_duration", "max_bytes", "max_frames",
	"tracks", "discontinuity", "shutdown", "end", "lead", "crash",
}

func (r Reason) String() string {
	if r < reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Policy decides where chunks end. Cut is asked before each packet of every
// track; it must be a pure function of its arguments.
type Policy interface {
	Cut(open Span, next Head) Reason
}

// Chunk is the packets of all tracks between two cuts. It is immutable once
// closed and stays valid while retained.
type Chunk struct {
	ID     ID
	Seq    uint64 // counts the chunks of a Chunker from 0
	Tracks []av.Track
	Lead   int           // index of the track that decides cuts
	Runs   [][]av.Packet // by track, in decode order, each with its Dur
	Span   Span
	Opened Reason // why the chunk before ended; None for the first
	Why    Reason // why this one ended
	// Independent: it can be decoded alone, and begins with a whole picture.
	Independent bool
	// Discont: it does not continue the one before, in time or configuration.
	Discont bool

	refs     atomic.Int32
	pins     mem.Pins
	owner    *Chunker
	cut      int64 // where it ends, lead PTS; valid once isCut
	isCut    bool
	bytes    int64 // assigned payload
	packets  int   // of all tracks
	without  bool  // it has no lead packet
	openKey  bool  // begins with an Open key whose leading pictures are awaited
	keyPTS   int64
	nextLead int64 // DTS of the lead packet after the last
}

// Retain adds a reference.
func (c *Chunk) Retain() {
	if c.refs.Add(1) < 2 {
		panic("chunk: Retain of a released chunk")
	}
}

// Release drops a reference; after the last the packets are gone. One too many
// panics.
func (c *Chunk) Release() {
	switch n := c.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("chunk: released too often")
	default:
		c.pins.Release()
		c.owner.recycle(c)
	}
}

// Begins returns where the chunk's presentation begins, in lead ticks: at its key
// frame; in a chunk that was cut inside a GOP, whose first decoded picture need not
// be the first shown, at the earliest picture.
func (c *Chunk) Begins() int64 {
	begins, run := c.Span.Start, c.Runs[c.Lead]
	if len(run) == 0 || run[0].Flags&av.Key != 0 {
		return begins
	}
	for i := range run {
		begins = min(begins, run[i].PTS)
	}
	return begins
}

// Bytes returns the payload of all tracks.
func (c *Chunk) Bytes() int64 { return c.bytes }
