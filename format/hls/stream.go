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
	out := bufio.NewWriter(w)
	line := m.appendHeader(nil, need)
	state := appendState{m.Map, m.Keys}
	for s := range segments {
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
