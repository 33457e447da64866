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

// mark is what the next entry must be behind.
type mark Before

// check returns ErrOrder or ErrEntry if e cannot come next.
func (m *mark) check(e *Entry) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if m.Some && (e.Seq <= m.Seq || e.Epoch < m.Epoch) {
		return fmt.Errorf("%w: epoch %d, seq %d after epoch %d, seq %d", ErrOrder, e.Epoch, e.Seq, m.Epoch, m.Seq)
	}
	return nil
}

func (m *mark) move(e *Entry) {
	at := e.Wall.UnixNano()
	if m.Some {
		at = max(at, m.Time)
	}
	*m = mark{true, e.Epoch, e.Seq, at}
}

// Len returns the number of entries.
func (r *Run) Len() int { return r.n }

// Before is an entry as far as the next one depends on it.
type Before struct {
	Some  bool // there is one
	Epoch uint32
	Seq   int64
	Time  int64 // Unix nanoseconds
}

// NewRun returns a run whose first entry comes after another one.
func NewRun(b Before) *Run { return &Run{mark: mark(b)} }

// Before returns what the next entry comes after.
func (r *Run) Before() Before { return Before(r.mark) }

// Append adds an entry. Errors: ErrEntry, ErrOrder.
func (r *Run) Append(e *Entry) error {
	if err := r.mark.check(e); err != nil {
		return err
	}
	r.mark.move(e)
	if r.n%PerBlock == 0 {
		r.enc.Reset()
		r.tail = block{time: r.mark.Time}
	}
	r.tail.data = r.enc.Append(r.tail.data, e)
	if r.n++; r.n%PerBlock == 0 {
		r.tail.data = slices.Clone(r.tail.data) // without room for more
		r.full = append(r.full, r.tail)
		r.tail = block{}
	}
	return nil
}

// Stage encodes entries that are to be appended once they are written somewhere.
type Stage struct {
	enc  Encoder
	mark mark
	n    int
}

// Stage returns a stage behind the last entry.
func (r *Run) Stage() *Stage { return &Stage{r.enc.clone(), r.mark, r.n} }

// Encode appends entries to b as Append would to the run; none if one of them is
// wrong. Errors: ErrEntry, ErrOrder.
func (s *Stage) Encode(b []byte, list []Entry) ([]byte, error) {
	m := s.mark
	for i := range list {
		if err := m.check(&list[i]); err != nil {
			return b, err
		}
		m.move(&list[i])
	}
	for i := range list {
		if s.n%PerBlock == 0 {
			s.enc.Reset()
		}
		b = s.enc.Append(b, &list[i])
		s.n++
	}
	s.mark = m
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
