package index

import (
	"encoding/binary"

	"github.com/cleave-video/cleave/av"
)

// The flags of an encoded entry; docs/format/index.md draws it.
const (
	entryFresh = 1 << iota // nothing is left out that the entry before says
	entryDiscontinuity
	entryGap
	entryIndependent
	entryObject // the key does not follow from that of the entry before
	entryDigest
	entryStart // the start is not the end of the entry before

	entryFlags = 1<<iota - 1
)

// The flags of a track.
const (
	trackGap = 1 << iota
	trackIndependent
	trackOffset   // not behind the track before
	trackStart    // not where it ended in the entry before
	trackDuration // not that of the entry
	trackKey      // encrypted by another key than in the entry before
	trackIV       // as a whole, with this vector

	trackFlags = 1<<iota - 1
)

// Encoder encodes entries, each by what differs from the one before. The zero
// value is ready.
type Encoder struct {
	prev    Entry
	started bool
}

// Reset has the next entry encoded by itself.
func (c *Encoder) Reset() { c.started = false }

// Append appends an entry, which must be valid.
func (c *Encoder) Append(b []byte, e *Entry) []byte {
	p := &c.prev
	fresh := !c.started || !follows(p, e)
	if fresh {
		p = &Entry{}
	}
	object := fresh || e.Object != increment(p.Object)
	start := fresh || e.Start != p.Start+p.Duration
	b = append(b, bit(fresh, entryFresh)|bit(e.Discontinuity, entryDiscontinuity)|bit(e.Gap, entryGap)|
		bit(e.Independent, entryIndependent)|bit(object, entryObject)|bit(e.Digest != [32]byte{}, entryDigest)|bit(start, entryStart),
		byte(e.Reason))
	if fresh {
		b = appendShape(b, e)
	}
	if object {
		b = appendText(b, e.Object)
	}
	b = binary.AppendVarint(b, e.Wall.UnixNano()-expectedWall(p, fresh))
	if start {
		b = binary.AppendVarint(b, e.Start-p.Start-p.Duration)
	}
	b = binary.AppendVarint(b, e.Duration-p.Duration)
	end := int64(0)
	for i := range e.Tracks {
		var was Track
		if !fresh {
			was = p.Tracks[i]
		}
		b = appendTrack(b, &e.Tracks[i], &was, e.durationFor(&e.Tracks[i]), end)
		end = e.Tracks[i].Offset + e.Tracks[i].Size
	}
	b = binary.AppendVarint(b, e.rest()-p.rest())
	b = appendKeys(b, e)
	if e.Digest != [32]byte{} {
		b = append(b, e.Digest[:]...)
	}
	c.keep(e)
	return b
}

// keep notes what the next entry is compared with.
func (c *Encoder) keep(e *Entry) {
	tracks := append(c.prev.Tracks[:0], e.Tracks...)
	c.prev = *e
	c.prev.Tracks, c.prev.Keys = tracks, nil
	c.started = true
}

// clone returns a copy that does not change with c.
func (c *Encoder) clone() Encoder {
	n := *c
	n.prev.Tracks = append([]Track(nil), c.prev.Tracks...)
	return n
}

func bit(on bool, b byte) byte {
	if on {
		return b
	}
	return 0
}

// follows reports whether e can be told by what differs from p.
func follows(p, e *Entry) bool {
	if e.Epoch != p.Epoch || e.Seq != p.Seq+1 || e.Timebase != p.Timebase || len(e.Tracks) != len(p.Tracks) {
		return false
	}
	for i := range e.Tracks {
		a, b := &e.Tracks[i], &p.Tracks[i]
		if a.Name != b.Name || a.Init != b.Init || a.Timescale != b.Timescale {
			return false
		}
	}
	return true
}

// expectedWall is the wall clock at which the entry after p begins.
func expectedWall(p *Entry, fresh bool) int64 {
	if fresh {
		return 0
	}
	return p.Wall.UnixNano() + int64(p.Timebase.Duration(p.Duration))
}

// increment adds one to the last number in s, whose digits stay as many if they
// can: "a/0009.chunk" becomes "a/0010.chunk".
func increment(s string) string {
	end := len(s)
	for end > 0 && (s[end-1] < '0' || s[end-1] > '9') {
		end--
	}
	if end == 0 {
		return s
	}
	b := []byte(s)
	for i := end - 1; i >= 0 && s[i] >= '0' && s[i] <= '9'; i-- {
		if b[i]++; b[i] <= '9' {
			return string(b)
		}
		b[i] = '0'
		end = i
	}
	return string(b[:end]) + "1" + string(b[end:])
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendShape appends what entries of a stream have in common.
func appendShape(b []byte, e *Entry) []byte {
	b = binary.AppendUvarint(b, uint64(e.Epoch))
	b = binary.AppendUvarint(b, uint64(e.Seq))
	b = binary.AppendUvarint(b, uint64(e.Timebase.Num))
	b = binary.AppendUvarint(b, uint64(e.Timebase.Den))
	b = binary.AppendUvarint(b, uint64(len(e.Tracks)))
	for i := range e.Tracks {
		t := &e.Tracks[i]
		b = appendText(b, t.Name)
		b = appendText(b, t.Init)
		b = binary.AppendUvarint(b, uint64(t.Timescale))
	}
	return b
}

// durationFor returns the entry's duration in ticks of a track.
func (e *Entry) durationFor(t *Track) int64 {
	return e.Timebase.Rescale(e.Duration, av.Timebase{Num: 1, Den: t.Timescale})
}

// rest returns how many bytes of the object lie behind the last track's.
func (e *Entry) rest() int64 {
	if n := len(e.Tracks); n > 0 {
		return e.Size - e.Tracks[n-1].Offset - e.Tracks[n-1].Size
	}
	return e.Size
}

func appendTrack(b []byte, t, was *Track, expect, end int64) []byte {
	start, dur := t.Start != was.Start+was.Duration, t.Duration != expect
	key, iv := t.KeyID != was.KeyID, t.IV != [16]byte{}
	b = append(b, bit(t.Gap, trackGap)|bit(t.Independent, trackIndependent)|bit(t.Offset != end, trackOffset)|bit(start, trackStart)|
		bit(dur, trackDuration)|bit(key, trackKey)|bit(iv, trackIV))
	if start {
		b = binary.AppendVarint(b, t.Start-was.Start-was.Duration)
	}
	if dur {
		b = binary.AppendVarint(b, t.Duration-expect)
	}
	if t.Offset != end {
		b = binary.AppendUvarint(b, uint64(t.Offset))
	}
	b = binary.AppendUvarint(b, uint64(t.Size))
	if key {
		b = append(b, t.KeyID[:]...)
	}
	if iv {
		b = append(b, t.IV[:]...)
	}
	return b
}

func appendKeys(b []byte, e *Entry) []byte {
	b = binary.AppendUvarint(b, uint64(len(e.Keys)))
	at, off := e.Start, int64(0)
	for _, k := range e.Keys {
		b = binary.AppendVarint(b, k.Time-at)
		b = binary.AppendVarint(b, k.Offset-off)
		b = binary.AppendUvarint(b, uint64(k.Size))
		at, off = k.Time, k.Offset+k.Size
	}
	return b
}
