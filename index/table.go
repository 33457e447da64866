package index

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"sort"
	"time"
)

// PerBlock is how many entries are encoded in a row. The first one of a block is
// encoded by itself.
const PerBlock = 256

// Table is what an Index searches: the entries of a stream in blocks, all of which
// but the last are full. It does not change.
type Table interface {
	// Len is the number of entries.
	Len() int
	// Time returns the time of the first entry of a block, in Unix nanoseconds.
	Time(block int) int64
	// Block returns the encoded entries of a block, which may lie in *buf: that
	// grows if need be. They are valid until the next call with the same buf.
	Block(block int, buf *[]byte) ([]byte, error)
}

// Cursor goes through a Table.
type Cursor struct {
	t     Table
	i     int // of the entry that Next returns
	buf   []byte
	rest  []byte // encoded, from i on; nil if the block is not there
	dec   Decoder
	entry Entry
	time  int64 // of the entry that Next returned
}

// NewCursor returns a cursor before the ith entry.
func NewCursor(t Table, i int) *Cursor { return &Cursor{t: t, i: i} }

// Next returns the next entry and its time; nil at the end. It is valid until the
// next call.
func (c *Cursor) Next() (*Entry, int64, error) {
	if c.i >= c.t.Len() {
		return nil, 0, nil
	}
	if c.rest == nil || c.i%PerBlock == 0 {
		if err := c.load(c.i/PerBlock, c.i%PerBlock); err != nil {
			return nil, 0, err
		}
	}
	if err := c.step(); err != nil {
		return nil, 0, err
	}
	c.i++
	return &c.entry, c.time, nil
}

// load takes a block and skips its first entries.
func (c *Cursor) load(block, skip int) error {
	b, err := c.t.Block(block, &c.buf)
	if err != nil {
		return err
	}
	c.rest, c.time = b, c.t.Time(block)
	c.dec.Reset()
	for range skip {
		if err := c.step(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cursor) step() error {
	rest, err := c.dec.Next(c.rest, &c.entry)
	if err != nil {
		c.rest = nil
		return err
	}
	c.rest = rest
	c.time = max(c.time, c.entry.Wall.UnixNano())
	return nil
}

// find returns the number of the last entry whose time is at or before at, and -1
// if there is none; its time and when it ends.
func find(t Table, at int64) (i int, began, end int64, err error) {
	blocks := (t.Len() + PerBlock - 1) / PerBlock
	b := sort.Search(blocks, func(k int) bool { return t.Time(k) > at }) - 1
	if b < 0 {
		return -1, 0, 0, nil
	}
	c := NewCursor(t, b*PerBlock)
	i = b*PerBlock - 1
	for c.i < min(t.Len(), (b+1)*PerBlock) {
		e, time, err := c.Next()
		if err != nil {
			return 0, 0, 0, err
		}
		if time > at {
			break
		}
		i, began, end = c.i-1, time, time+int64(e.Timebase.Duration(e.Duration))
	}
	return i, began, end, nil
}

// maxBack is how many entries Seek goes back for a key frame.
const maxBack = 1024

// SeekTable is Index.Seek in a table from its entry first on.
func SeekTable(t Table, first int, at time.Time) (Entry, Key, error) {
	nano := clampNano(at)
	i, _, _, err := find(t, nano)
	if err != nil {
		return Entry{}, Key{}, err
	}
	lowest := max(first, i-maxBack)
	for i >= lowest {
		from := max(lowest, i/PerBlock*PerBlock)
		e, k, ok, err := lastKey(t, from, i+1, nano)
		if err != nil || ok {
			return e, k, err
		}
		i = from - 1
	}
	return Entry{}, Key{}, fmt.Errorf("%w: no key frame at or before %v", ErrNotFound, at)
}

// lastKey looks for the last key at or before at in entries of one block.
func lastKey(t Table, from, to int, at int64) (found Entry, key Key, ok bool, err error) {
	c := NewCursor(t, from)
	for c.i < to {
		e, began, err := c.Next()
		if err != nil {
			return found, key, false, err
		}
		if k, has := e.keyAt(at - began); has {
			found, key, ok = e.clone(), k, true
		}
	}
	return found, key, ok, nil
}

// keyAt returns the last key at or before a time after the start.
func (e *Entry) keyAt(after int64) (Key, bool) {
	for i := len(e.Keys) - 1; i >= 0; i-- {
		if int64(e.Timebase.Duration(e.Keys[i].Time-e.Start)) <= after {
			return e.Keys[i], true
		}
	}
	if len(e.Keys) > 0 || !e.Independent || e.Gap || len(e.Tracks) == 0 {
		return Key{}, false
	}
	return Key{Time: e.Start, Offset: e.Tracks[0].Offset}, true
}

// clone returns a copy that shares nothing.
func (e *Entry) clone() Entry {
	n := *e
	n.Tracks = append([]Track(nil), e.Tracks...)
	n.Keys = append([]Key(nil), e.Keys...)
	return n
}

// clampNano is t in Unix nanoseconds, of which there are only so many.
func clampNano(t time.Time) int64 {
	switch y := t.Year(); {
	case y < 1700:
		return -1 << 63
	case y > 2261:
		return 1<<63 - 1
	}
	return t.UnixNano()
}

// RangeTable is Index.Range in a table from its entry first on. It returns ctx's
// cause when that ends.
func RangeTable(ctx context.Context, t Table, first int, from, to time.Time) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		if err := PassTable(ctx, t, first, from, to, func(e *Entry) bool { return yield(e.clone(), nil) }); err != nil {
			yield(Entry{}, err)
		}
	}
}

// PassTable calls f with the entries that RangeTable yields, as Passer has it.
func PassTable(ctx context.Context, t Table, first int, from, to time.Time, f func(e *Entry) bool) (err error) {
	start, skip := 0, int64(-1<<63)
	if !from.IsZero() {
		skip = clampNano(from)
		if start, _, _, err = find(t, skip); err != nil {
			return err
		}
	}
	c := NewCursor(t, max(start, first, 0))
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		e, began, err := c.Next()
		if err != nil {
			return err
		}
		if e == nil || !to.IsZero() && began >= clampNano(to) {
			return nil
		}
		if began+int64(e.Timebase.Duration(e.Duration)) <= skip && began <= skip && !from.IsZero() {
			continue // it has ended by then
		}
		if !f(e) {
			return nil
		}
	}
}

// FindTable is Finder.Find in a table from its entry first on. The first entry of a block
// is told by itself, so that one of a number is found as one of a time is.
func FindTable(t Table, first int, seq int64) (Entry, error) {
	var failed error
	blocks := (t.Len() + PerBlock - 1) / PerBlock
	b := sort.Search(blocks, func(k int) bool {
		e, _, err := NewCursor(t, k*PerBlock).Next()
		if err != nil {
			failed = err
			return true
		}
		return e.Seq > seq
	}) - 1
	if failed != nil || b < 0 {
		return Entry{}, cmp.Or(failed, ErrNotFound)
	}
	c := NewCursor(t, max(first, b*PerBlock))
	for c.i < min(t.Len(), (b+1)*PerBlock) {
		e, _, err := c.Next()
		switch {
		case err != nil:
			return Entry{}, err
		case e.Seq == seq:
			return e.clone(), nil
		case e.Seq > seq:
			return Entry{}, ErrNotFound
		}
	}
	return Entry{}, ErrNotFound
}

// WalkTable calls f with the entries from number first on, as Walker has it.
func WalkTable(ctx context.Context, t Table, first int, f func(e *Entry) bool) error {
	c := NewCursor(t, first)
	for i := first; i < t.Len(); i++ {
		if i%PerBlock == 0 {
			if err := context.Cause(ctx); err != nil {
				return err
			}
		}
		e, _, err := c.Next()
		if err != nil {
			return err
		}
		if !f(e) {
			return nil
		}
	}
	return nil
}

// DropTable returns the number of the first entry that Index.Drop leaves.
func DropTable(t Table, before time.Time) (int, error) {
	nano := clampNano(before)
	i, _, end, err := find(t, nano)
	switch {
	case err != nil || i < 0:
		return 0, err
	case end <= nano:
		return i + 1, nil
	}
	return i, nil
}

// LastOf returns the last entry of a table; ErrNotFound if it is empty.
func LastOf(t Table) (Entry, error) {
	if t.Len() == 0 {
		return Entry{}, ErrNotFound
	}
	e, _, err := NewCursor(t, t.Len()-1).Next()
	if err != nil {
		return Entry{}, err
	}
	return e.clone(), nil
}
