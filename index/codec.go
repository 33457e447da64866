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
	b = append(b, bit(t.Gap, trackGap)|bit(t.Independent, trackIndependent)|bit(t.Offset != end, trackOffset)|bit(start, trackStart)|bit(dur, trackDuration))
	if start {
		b = binary.AppendVarint(b, t.Start-was.Start-was.Duration)
	}
	if dur {
		b = binary.AppendVarint(b, t.Duration-expect)
	}
	if t.Offset != end {
		b = binary.AppendUvarint(b, uint64(t.Offset))
	}
	return binary.AppendUvarint(b, uint64(t.Size))
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
	for range r.count(3, maxTracks) {
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
