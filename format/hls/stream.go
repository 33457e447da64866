package hls

import (
	"bufio"
	"io"
	"iter"
)

// Stream checks the playlist and writes it to w with segments in place of
// m.Segments, one at a time, so that a playlist of any length is never whole in
// memory. segments is gone through twice and must yield the same both times. Its
// error is Check's or w's.
func (m *Media) Stream(w io.Writer, segments iter.Seq[Segment]) error {
	one := *m
	one.Segments = make([]Segment, 1)
	need := m.Need()
	for s := range segments {
		one.Segments[0] = s
		if err := one.Check(); err != nil {
			return err
		}
		need = max(need, one.Need())
	}
	return m.stream(w, need, segments, func(*Segment) error { return nil })
}

// StreamAs is Stream for a caller who knows what version the segments need, at least:
// they are gone through once. Each is checked before it is written, behind those before it.
func (m *Media) StreamAs(w io.Writer, version int, segments iter.Seq[Segment]) error {
	one := *m
	one.Segments = make([]Segment, 1)
	return m.stream(w, max(version, m.Need()), segments, func(s *Segment) error {
		one.Segments[0] = *s
		return one.Check()
	})
}

func (m *Media) stream(w io.Writer, version int, segments iter.Seq[Segment], check func(*Segment) error) error {
	out := bufio.NewWriter(w)
	line := m.appendHeader(nil, version)
	state := appendState{m.Map, m.Keys}
	for s := range segments {
		if err := check(&s); err != nil {
			return err
		}
		line = state.append(line, &s)
		if _, err := out.Write(line); err != nil {
			return err
		}
		line = line[:0]
	}
	if _, err := out.Write(m.appendEnd(line)); err != nil {
		return err
	}
	return out.Flush()
}
