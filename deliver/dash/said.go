package dash

import (
	"bytes"
	"sync"
	"time"

	"github.com/cleave-video/cleave/live"
)

// said is what the manifests of a stream have told so far: players need not be told the
// same segment twice in two ways, nor need they be told when nothing has changed.
type said struct {
	mu      sync.Mutex // guards what follows
	rows    map[string]*row
	periods []*period
	last    []byte
	publish time.Time
}

// row is what was said of a rendition: of the segments that are still listed, by
// number, and the highest rate.
type row struct {
	entries   []entry
	bandwidth int64
}

// entry is what was said of a segment: its start and its duration, in ticks.
type entry struct{ msn, start, dur int64 }

func (x *entry) end() int64 { return x.start + x.dur }

// period is a Period: a stretch from one number on, until another begins. It begins at
// the stretch's start or, where a rendition has a gap, within it.
type period struct {
	stretch *live.Stretch
	first   int64
	start   int64 // in ticks of the stretch's Timescale
}

// find returns what was said of a segment, or nil.
func (r *row) find(msn int64) *entry {
	if n := len(r.entries); n > 0 {
		if i := msn - r.entries[0].msn; i >= 0 && i < int64(n) {
			return &r.entries[i]
		}
	}
	return nil
}

// tell says that a segment has these times; again, that of the one before it. What
// differs from what was said, or follows on to what was, by no more than tolerance is
// said as it was: a segment that is announced while it grows ends some ticks earlier or
// later than it was foretold to.
func (r *row) tell(x entry, joins bool, tolerance int64) entry {
	near := func(a, b int64) bool { return max(a-b, b-a) <= tolerance }
	if was := r.find(x.msn); was != nil {
		if !near(was.start, x.start) {
			*was = x
		} else if !near(was.end(), x.end()) {
			was.dur = max(1, x.end()-was.start)
		}
		return *was
	}
	if n := len(r.entries); n > 0 {
		if last := &r.entries[n-1]; last.msn != x.msn-1 {
			r.entries = r.entries[:0]
		} else if end := last.end(); joins && (near(end, x.start) || end > x.start) {
			x.start, x.dur = end, max(1, x.end()-end)
		}
	}
	r.entries = append(r.entries, x)
	return x
}

// forget drops what was said of segments before msn.
func (r *row) forget(msn int64) {
	n := 0
	for n < len(r.entries) && r.entries[n].msn < msn {
		n++
	}
	r.entries = append(r.entries[:0], r.entries[n:]...)
}

// manifest renders e. A manifest that says nothing new is the one before, with its
// publishTime. It is nil if a time is negative.
func (s *said) manifest(e *live.Edge, window time.Duration, now time.Time) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.presentation(e, window)
	p.Live.Publish = s.publish
	b, err := p.Append(nil)
	if err != nil {
		return nil
	}
	if s.last != nil && bytes.Equal(b, s.last) {
		return s.last
	}
	// Of two manifests within a millisecond the later one has the later time.
	if least := s.publish.Add(time.Millisecond); s.last == nil || now.After(least) {
		s.publish = now
	} else {
		s.publish = least
	}
	p.Live.Publish = s.publish
	if b, err = p.Append(nil); err != nil {
		return nil
	}
	s.last = b
	return b
}
