package crash

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// model is what the server has shown and committed so far, and must stand by.
type model struct {
	run        int // of the server, from 1 on
	renditions map[string]*rendition
	committed  map[int64]*commit // by number
	findings   []Finding         // the first of them
	broke      map[string]int    // by rule, all of them
	counts     Counts
}

// rendition is what playlists have said.
type rendition struct {
	known  map[int64]*said
	first  int64 // EXT-X-MEDIA-SEQUENCE
	last   int64 // number of the newest whole segment; -1: none
	target int64
	part   time.Duration
	disc   int64 // EXT-X-DISCONTINUITY-SEQUENCE
	newest int64 // number of the newest segment that is no gap; -1: none
	open   open
}

// open is the segment that was growing when it was looked at last.
type open struct {
	msn   int64
	parts [][]byte
}

// said is what was said of one segment.
type said struct {
	uri   string
	gap   bool
	run   int // in which it was listed first
	dsn   int64
	date  time.Time
	bytes string // digest of its bytes, once they were fetched
}

// commit is a chunk that was in the index when the server was killed.
type commit struct {
	key    string
	size   int64
	digest string
}

// Finding is a rule that did not hold.
type Finding struct {
	Rule string
	Run  int
	Text string
}

func (f Finding) String() string { return fmt.Sprintf("run %d: %s: %s", f.Run, f.Rule, f.Text) }

// The rules, each a row of the table.
const (
	ruleLost      = "a committed chunk is there afterwards, byte for byte, in store and index"
	ruleTorn      = "every object under a chunk's name is whole"
	ruleEqual     = "after a start the index has exactly the store's chunks, of their lengths"
	ruleSequence  = "MEDIA-SEQUENCE never goes back, and no listed segment vanishes from the end"
	ruleNumber    = "a number never names other bytes than before"
	ruleDisc      = "the discontinuity sequence number of a segment never changes"
	ruleBreak     = "a discontinuity stands before the first segment of a new epoch"
	ruleDate      = "PROGRAM-DATE-TIME rises from segment to segment and never changes"
	rulePromise   = "TARGETDURATION and PART-TARGET never change"
	ruleServed    = "a listed segment that was committed is served, the same bytes as before"
	rulePart      = "of the chunk that was open at most the last part of each rendition is lost"
	ruleAvailable = "the playlist is there after a start, before the publisher is back"
)

var rules = []string{ruleLost, ruleTorn, ruleEqual, ruleSequence, ruleNumber, ruleDisc, ruleBreak, ruleDate, rulePromise, ruleServed, rulePart, ruleAvailable}

func newModel() *model {
	return &model{renditions: make(map[string]*rendition), committed: make(map[int64]*commit), broke: make(map[string]int)}
}

func (m *model) found(rule, format string, args ...any) {
	m.counts.Broken++
	m.broke[rule]++
	if len(m.findings) < 200 {
		m.findings = append(m.findings, Finding{rule, m.run, fmt.Sprintf(format, args...)})
	}
}

// observe compares a media playlist with those before, and returns the segments that
// it lists for the first time.
func (m *model) observe(name string, p *hls.Media) (fresh []int64) {
	r := m.renditions[name]
	if r == nil {
		r = &rendition{known: make(map[int64]*said), last: -1, newest: -1, target: p.TargetDuration, part: p.PartTarget}
		m.renditions[name] = r
	}
	m.counts.Playlists++
	if p.TargetDuration != r.target || p.PartTarget != r.part {
		m.found(rulePromise, "%s: %d s and %v, was %d s and %v", name, p.TargetDuration, p.PartTarget, r.target, r.part)
		r.target, r.part = p.TargetDuration, p.PartTarget
	}
	if p.Sequence < r.first {
		m.found(ruleSequence, "%s: begins with %d, was %d", name, p.Sequence, r.first)
	}
	if p.DiscontinuitySequence < r.disc {
		m.found(ruleDisc, "%s: the playlist's is %d, was %d", name, p.DiscontinuitySequence, r.disc)
	}
	r.first, r.disc = max(r.first, p.Sequence), max(r.disc, p.DiscontinuitySequence)
	dsn, whole := p.DiscontinuitySequence, p.Sequence-1
	for i := range p.Segments {
		s, msn := &p.Segments[i], p.Sequence+int64(i)
		if s.Discontinuity {
			dsn++
		}
		if i > 0 {
			m.follows(name, msn, &p.Segments[i-1], s)
		}
		if m.segment(name, r, msn, dsn, s) {
			fresh = append(fresh, msn)
		}
		if s.URI != "" {
			whole = msn
		}
	}
	if whole < r.last {
		m.found(ruleSequence, "%s: ends with %d, ended with %d", name, whole, r.last)
	}
	r.last = max(r.last, whole)
	return fresh
}

// follows compares a segment with the one before it.
func (m *model) follows(name string, msn int64, before, s *hls.Segment) {
	if !s.ProgramDateTime.After(before.ProgramDateTime) {
		m.found(ruleDate, "%s: %d at %v, the one before at %v", name, msn, s.ProgramDateTime, before.ProgramDateTime)
	}
	if !s.Discontinuity && epochOf(s) != epochOf(before) {
		m.found(ruleBreak, "%s: %d is of epoch %s, the one before of %s", name, msn, epochOf(s), epochOf(before))
	}
}

// segment compares one with what was said of its number, and reports whether that is
// the first time that it is listed whole.
func (m *model) segment(name string, r *rendition, msn, dsn int64, s *hls.Segment) bool {
	x := r.known[msn]
	if x == nil {
		x = &said{run: m.run, dsn: dsn, date: s.ProgramDateTime}
		r.known[msn] = x
		m.goesOn(name, r, msn, s, x)
	}
	uri := segmentOf(s)
	if x.uri == "" {
		x.uri = uri
	}
	switch lost := s.Gap && !x.gap && x.run < m.run; {
	case x.uri != uri:
		m.found(ruleNumber, "%s: %d is %s, was %s", name, msn, uri, x.uri)
		x.uri = uri
	case lost && m.committed[msn] != nil:
		m.found(ruleLost, "%s: %d is a gap now", name, msn)
	case lost:
		// It was listed from memory and never committed; what was said of it is not any more.
		x.dsn, x.date = dsn, s.ProgramDateTime
		m.counts.Uncommitted++
		for r.newest == msn || r.known[r.newest] != nil && r.known[r.newest].gap {
			r.newest--
		}
	case x.gap && !s.Gap:
		m.found(ruleNumber, "%s: %d was a gap", name, msn)
	}
	x.gap = s.Gap
	if x.dsn != dsn {
		m.found(ruleDisc, "%s: %d has %d, had %d", name, msn, dsn, x.dsn)
		x.dsn = dsn
	}
	if !x.date.Equal(s.ProgramDateTime) {
		m.found(ruleDate, "%s: %d at %v, was at %v", name, msn, s.ProgramDateTime, x.date)
		x.date = s.ProgramDateTime
	}
	return s.URI != "" && !s.Gap && x.bytes == ""
}

// goesOn compares a new segment with the newest before it.
func (m *model) goesOn(name string, r *rendition, msn int64, s *hls.Segment, x *said) {
	if s.Gap {
		return
	}
	if n := r.known[r.newest]; n != nil && msn > r.newest {
		epoch, _, _ := strings.Cut(n.uri, "-")
		if x.dsn < n.dsn || x.dsn == n.dsn && epoch != epochOf(s) {
			m.found(ruleDisc, "%s: %d of epoch %s has %d, %s has %d", name, msn, epochOf(s), x.dsn, n.uri, n.dsn)
		}
		if !x.date.After(n.date) {
			m.found(ruleDate, "%s: %d at %v, %s at %v", name, msn, x.date, n.uri, n.date)
		}
	}
	r.newest = max(r.newest, msn)
}

// fetched notes a segment's bytes.
func (m *model) fetched(name string, msn int64, digest string) {
	x := m.renditions[name].known[msn]
	m.counts.Fetched++
	if x.bytes != "" && x.bytes != digest {
		m.found(ruleServed, "%s: %d has other bytes", name, msn)
	}
	x.bytes = digest
}

// salvaged compares the segment that was open when the server was killed with what is
// listed of it now; gap: nothing is.
func (m *model) salvaged(name string, gap bool, body []byte) {
	o := &m.renditions[name].open
	had := 0
	for _, p := range o.parts {
		if gap || !bytes.HasPrefix(body, p) {
			break
		}
		body = body[len(p):]
		had++
	}
	m.counts.Parts += len(o.parts)
	m.counts.PartsLost += len(o.parts) - had
	if len(o.parts)-had > 1 {
		m.found(rulePart, "%s: %d had %d parts and has %d", name, o.msn, len(o.parts), had)
	}
	*o = open{}
}
