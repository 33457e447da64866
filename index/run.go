package index

import (
	"errors"
	"fmt"
	"slices"
)

// Run holds entries in memory, encoded in blocks. It is what an index in memory
// consists of, and one on disk until it writes a segment. The zero value is empty.
// Who uses it sees to it that one changes it at a time.
type Run struct {
	full []block
	tail block // fewer than PerBlock entries
	n    int
	enc  Encoder
	mark mark
}

type block struct {
	time int64
	data []byte
}

// mark is the entry that the next one must be behind.
type mark struct {
	some  bool
	epoch uint32
	seq   int64
	time  int64
}

// check returns ErrOrder or ErrEntry if e cannot come next.
func (m *mark) check(e *Entry) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if m.some && (e.Seq <= m.seq || e.Epoch < m.epoch) {
		return fmt.Errorf("%w: epoch %d, seq %d after epoch %d, seq %d", ErrOrder, e.Epoch, e.Seq, m.epoch, m.seq)
	}
	return nil
}

func (m *mark) move(e *Entry) {
	at := e.Wall.UnixNano()
	if m.some {
		at = max(at, m.time)
	}
	*m = mark{true, e.Epoch, e.Seq, at}
}

// Len returns the number of entries.
func (r *Run) Len() int { return r.n }

// After has the first entry come after another one, which is not part of the run.
func (r *Run) After(last *Entry, time int64) {
	r.mark = mark{some: true, epoch: last.Epoch, seq: last.Seq, time: time}
}

// Time returns the time of the last entry, or of the one it comes after.
func (r *Run) Time() int64 { return r.mark.time }

// Append adds an entry. Errors: ErrEntry, ErrOrder.
func (r *Run) Append(e *Entry) error {
	if err := r.mark.check(e); err != nil {
		return err
	}
	r.mark.move(e)
	if r.n%PerBlock == 0 {
		r.enc.Reset()
		r.tail = block{time: r.mark.time}
	}
	r.tail.data = r.enc.Append(r.tail.data, e)
	if r.n++; r.n%PerBlock == 0 {
		r.tail.data = slices.Clone(r.tail.data) // without room for more
		r.full = append(r.full, r.tail)
		r.tail = block{}
	}
	return nil
}

// Encode appends the entries as Append would add them, and adds none. All or none
// are encoded.
func (r *Run) Encode(b []byte, list []Entry) ([]byte, error) {
	enc, m := r.enc.clone(), r.mark
	for i := range list {
		if err := m.check(&list[i]); err != nil {
			return nil, err
		}
		m.move(&list[i])
		if (r.n+i)%PerBlock == 0 {
			enc.Reset()
		}
		b = enc.Append(b, &list[i])
	}
	return b, nil
}

// Drop removes the first blocks; the entries before them are gone.
func (r *Run) Drop(blocks int) {
	blocks = min(blocks, len(r.full))
	r.full = slices.Clone(r.full[blocks:])
	r.n -= blocks * PerBlock
}

// Bytes returns the memory that the entries take.
func (r *Run) Bytes() int {
	n := cap(r.tail.data) + cap(r.full)*32
	for i := range r.full {
		n += cap(r.full[i].data)
	}
	return n
}

// Table returns the entries as they are now.
func (r *Run) Table() Table { return &runTable{r.full, r.tail, r.n} }

type runTable struct {
	full []block
	tail block
	n    int
}

// Len implements Table.
func (t *runTable) Len() int { return t.n }

func (t *runTable) block(i int) *block {
	if i < len(t.full) {
		return &t.full[i]
	}
	return &t.tail
}

// Time implements Table.
func (t *runTable) Time(i int) int64 { return t.block(i).time }

// Block implements Table.
func (t *runTable) Block(i int, _ *[]byte) ([]byte, error) {
	if i < 0 || i*PerBlock >= t.n {
		return nil, errors.New("index: no such block")
	}
	b := t.block(i).data
	return b[:len(b):len(b)], nil
}
