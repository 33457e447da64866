package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
)

// errShort is returned where an entry goes on behind the bytes there are.
var errShort = errors.New("index: entry is cut short")

// Decoder decodes what an Encoder encoded. The zero value is ready.
type Decoder struct {
	prev    Entry
	started bool
}

// Next decodes the entry that b begins with into e and returns the bytes behind it.
// The slices of e are used again.
func (c *Decoder) Next(b []byte, e *Entry) ([]byte, error) {
	r := reader{b: b}
	flags, reason := r.byte(), r.byte()
	p, fresh := &c.prev, flags&entryFresh != 0
	tracks, keys := e.Tracks[:0], e.Keys[:0]
	*e = Entry{
		Discontinuity: flags&entryDiscontinuity != 0, Gap: flags&entryGap != 0, Independent: flags&entryIndependent != 0,
		Reason: chunk.Reason(reason),
	}
	switch {
	case r.err != nil:
		return nil, r.err
	case flags&^byte(entryFlags) != 0:
		return nil, fmt.Errorf("index: flags %#x", flags)
	case fresh:
		p = &Entry{}
		tracks = r.shape(e, tracks)
	case !c.started:
		return nil, errors.New("index: entry refers to one before the first")
	default:
		e.Epoch, e.Seq, e.Timebase = p.Epoch, p.Seq+1, p.Timebase
		tracks = append(tracks, p.Tracks...)
	}
	if r.err == nil && !e.Timebase.Valid() {
		return nil, fmt.Errorf("index: timebase %v", e.Timebase)
	}
	e.Object = increment(p.Object)
	if flags&entryObject != 0 {
		e.Object = r.text()
	}
	e.Wall = time.Unix(0, expectedWall(p, fresh)+r.varint()).UTC()
	e.Start = p.Start + p.Duration
	if flags&entryStart != 0 {
		e.Start += r.varint()
	}
	e.Duration = p.Duration + r.varint()
	end := int64(0)
	for i := range tracks {
		r.track(&tracks[i], e.durationFor(&tracks[i]), end)
		end = tracks[i].Offset + tracks[i].Size
	}
	e.Tracks = tracks
	e.Size = end + p.rest() + r.varint()
	e.Keys = r.keys(e.Start, keys)
	if flags&entryDigest != 0 {
		copy(e.Digest[:], r.bytes(len(e.Digest)))
	}
	if r.err != nil {
		return nil, r.err
	}
	if err := e.Validate(); err != nil {
		return nil, err
	}
	c.keep(e)
	return r.b, nil
}

func (c *Decoder) keep(e *Entry) {
	tracks := append(c.prev.Tracks[:0], e.Tracks...)
	c.prev = *e
	c.prev.Tracks, c.prev.Keys = tracks, nil
	c.started = true
}

// Reset forgets the entry before.
func (c *Decoder) Reset() { c.started = false }

// reader takes fields off b; after the first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errShort
	}
	r.b = nil
}

func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// max32 takes a number of 32 bits.
func (r *reader) max32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.fail()
		return 0
	}
	return uint32(v)
}

// size takes a number that is not negative as an int64.
func (r *reader) size() int64 {
	v := r.uvarint()
	if v > math.MaxInt64 {
		r.fail()
		return 0
	}
	return int64(v)
}

// count takes how many follow of what takes n bytes at least.
func (r *reader) count(n, limit int) int {
	v := r.uvarint()
	if v > uint64(limit) || v*uint64(n) > uint64(len(r.b)) {
		r.fail()
		return 0
	}
	return int(v)
}

func (r *reader) text() string { return string(r.bytes(r.count(1, maxText))) }

func (r *reader) shape(e *Entry, tracks []Track) []Track {
	e.Epoch = r.max32()
	e.Seq = r.size()
	e.Timebase = av.Timebase{Num: r.max32(), Den: r.max32()}
	for range r.count(3, MaxTracks) {
		t := Track{Name: r.text(), Init: r.text(), Timescale: r.max32()}
		if t.Timescale == 0 {
			r.fail()
			break
		}
		tracks = append(tracks, t)
	}
	return tracks
}

// track reads a track over what it was in the entry before.
func (r *reader) track(t *Track, expect, end int64) {
	flags := r.byte()
	if flags&^byte(trackFlags) != 0 {
		r.fail()
	}
	t.Gap, t.Independent = flags&trackGap != 0, flags&trackIndependent != 0
	t.Start += t.Duration
	t.Duration = expect
	if flags&trackStart != 0 {
		t.Start += r.varint()
	}
	if flags&trackDuration != 0 {
		t.Duration += r.varint()
	}
	t.Offset = end
	if flags&trackOffset != 0 {
		t.Offset = r.size()
	}
	t.Size = r.size()
	if flags&trackKey != 0 {
		copy(t.KeyID[:], r.bytes(len(t.KeyID)))
	}
	t.IV = [16]byte{}
	if flags&trackIV != 0 {
		copy(t.IV[:], r.bytes(len(t.IV)))
	}
}

func (r *reader) keys(at int64, keys []Key) []Key {
	off := int64(0)
	for range r.count(3, maxKeys) {
		k := Key{Time: at + r.varint(), Offset: off + r.varint(), Size: r.size()}
		keys = append(keys, k)
		at, off = k.Time, k.Offset+k.Size
	}
	return keys
}
