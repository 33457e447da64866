package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/internal/pace"
)

// follow reloads one media playlist as a player does.
type follow struct {
	w    *watcher
	c    *checker
	name string
	role string
	vars map[string]string

	last     *version
	newest   time.Time // when the playlist last had a new segment
	newPart  time.Time // when it last had a new part; zero: not seen
	ended    bool
	probed   bool
	seen     map[int64]*record
	removed  []*record
	all      *playlist       // of every segment that was loaded
	msns     []int64         // of all's segments
	latency  time.Duration   // of the first version, by PROGRAM-DATE-TIME
	trips    []time.Duration // until segments began to come
	waited   time.Duration   // before the last request
	same     bool            // the last answer had no news
	arrivals []Arrival

	mu     sync.Mutex // guards the rest, which Progress reads
	status RenditionStatus
	grew   time.Time
	lastMS int64 // MSN and part of the last version, for reports of others
	lastPt int64
	lastAt time.Time
}

// record is a segment that was listed.
type record struct {
	msn       int64
	uri       string
	rng       hls.ByteRange
	dur       time.Duration
	first     time.Time     // it was not listed yet; zero: it was before the watch
	noticed   time.Time     // it was listed
	longest   time.Duration // of the playlists with it
	removedAt time.Time
	until     time.Time // it must be there until then, at least
	latest    time.Time // and until then if it appeared when it was noticed
	asked     bool      // for it, since it was removed
	part      bool      // it is the first part of the segment
}

func (r *record) what() string {
	if r.part {
		return fmt.Sprintf("the first part of segment %d", r.msn)
	}
	return fmt.Sprintf("segment %d", r.msn)
}

// version is one answer.
type version struct {
	p        *playlist
	text     []byte
	began    time.Time
	at       time.Time
	blocking bool
}

// sure is when the playlist was still this version, at least: a blocking request is
// answered with what there is at its end.
func (v *version) sure() time.Time {
	if v.blocking {
		return v.at
	}
	return v.began
}

func (f *follow) label() string {
	u, err := url.Parse(f.name)
	if err != nil {
		return f.name
	}
	dir := path.Base(path.Dir(u.Path))
	if dir == "." || dir == "/" {
		return path.Base(u.Path)
	}
	return dir + "/" + path.Base(u.Path)
}

func (f *follow) msn(index int) int64 { return f.msns[index] }

// run reloads until ctx ends or the playlist does.
func (f *follow) run(ctx context.Context) {
	f.c.ctx = ctx
	target, wait := f.name, time.Duration(0)
	for {
		f.waited = wait
		if !pause(ctx, wait) {
			break
		}
		v, retry := f.fetch(target)
		switch {
		case v != nil:
			f.take(v)
			if f.ended {
				f.probeEnded()
				return
			}
			target, wait = f.next(v)
		default:
			target, wait = f.name, retry
		}
	}
	// What was removed last must still be there when nobody watches any longer.
	f.c.ctx = f.w.c.ctx
	f.checkRemoved(true)
}

// pause waits; false if ctx ended.
func pause(ctx context.Context, d time.Duration) bool { return pace.Sleep(ctx, d) == nil }

// fetch asks for the playlist; without a version it says how long to wait.
func (f *follow) fetch(target string) (*version, time.Duration) {
	c, blocking := f.c, target != f.name
	ctx, cancel := c.ctx, context.CancelFunc(func() {})
	if blocking {
		ctx, cancel = context.WithTimeout(c.ctx, f.patience())
	}
	a, err := c.src.fetch(ctx, target, 0, 0)
	cancel()
	if c.ctx.Err() != nil {
		return nil, 0
	}
	if blocking && f.checkBlocked(target, a, err) {
		return nil, 0
	}
	if err != nil {
		c.saw("H29")
		if errors.Is(err, io.ErrUnexpectedEOF) {
			c.find("H29", Place{File: f.name}, "the answer breaks off: %v", err)
		} else {
			c.find("H28", Place{File: f.name}, "the playlist cannot be loaded: %v", err)
		}
		return nil, time.Second
	}
	td := f.targetDuration()
	if blocking {
		td = 0 // a blocking answer is one version, and may be cached for long
		c.checkKept(f.name, a)
	}
	c.checkAnswer(f.name, "playlist", a, td)
	changed := f.last == nil || !bytes.Equal(a.body, f.last.text)
	f.arrive(Arrival{Kind: "playlist", Took: a.ended.Sub(a.began), Bytes: len(a.body), New: changed}, a.ended)
	v := &version{text: a.body, began: a.began, at: a.ended, blocking: blocking}
	if !changed {
		v.p = f.last.p
		return v, 0
	}
	v.p = f.parse(a.body)
	if v.p == nil {
		return nil, time.Second
	}
	return v, 0
}

// parse reads a version. Faults of lines that were there before are not told again:
// findings of one rule and place are few, and counted.
func (f *follow) parse(text []byte) *playlist {
	p := f.c.readMedia(f.name, f.role, text, f.vars)
	if p == nil || p.m == nil {
		return nil
	}
	f.c.saw("H29")
	if len(text) > 0 && text[len(text)-1] != '\n' && f.last != nil && bytes.HasSuffix(f.last.text, []byte("\n")) {
		f.c.should("H29", p.at(0), "the last line has no end, other versions' have")
	}
	return p
}

func (f *follow) targetDuration() time.Duration {
	if f.last == nil {
		return 0
	}
	return time.Duration(f.last.p.m.TargetDuration) * time.Second
}

func (f *follow) arrive(a Arrival, at time.Time) {
	if a.At = at.Sub(f.w.start); len(f.arrivals) < maxArrivals {
		f.arrivals = append(f.arrivals, a)
	}
}

// take compares a version with the one before and loads what is new.
func (f *follow) take(v *version) {
	if f.last == nil {
		f.c.checkLiveHead(v.p)
		f.newest, f.newPart = v.at, v.at
	} else {
		f.compare(f.last, v)
	}
	f.note(v)
	f.same = f.last != nil && f.last.p == v.p
	f.last = v
	f.ended = v.p.m.EndList
	f.loadNew(v)
	if !f.probed && v.p.m.Control.CanBlockReload {
		f.probed = true
		f.probe(v)
		f.newest, f.newPart = f.w.cfg.Now(), time.Time{} // nobody looked meanwhile
	}
	f.checkRemoved(false)
}

// note keeps what v says for later.
func (f *follow) note(v *version) {
	m := v.p.m
	for i := range m.Segments {
		s, msn := &m.Segments[i], m.Sequence+m.Skipped+int64(i)
		if s.URI == "" {
			continue
		}
		r := f.seen[msn]
		if r == nil {
			r = &record{msn: msn, uri: s.URI, rng: s.Range, dur: time.Duration(s.Span.Dur)}
			if f.last != nil {
				r.first, r.noticed = f.last.sure(), v.at
			}
			f.seen[msn] = r
		}
		r.longest = max(r.longest, v.p.duration)
	}
	end, part := edge(m)
	parts := 0
	for i := range m.Segments {
		parts += len(m.Segments[i].Parts)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastMS, f.lastPt, f.lastAt = end, part, v.at
	f.status.MSN, f.status.Parts, f.status.Window, f.grew = end, max(f.status.Parts, parts), v.p.duration, f.newest
	if f.newPart.After(f.grew) {
		f.grew = f.newPart
	}
	f.status.Latency = latency(v)
}

// edge returns the number of the last whole segment, and of the last part behind
// it, -1 if there is none.
func edge(m *hls.Media) (msn, part int64) {
	msn, part = m.Sequence+m.Skipped+int64(len(m.Segments))-1, -1
	if n := len(m.Segments); n > 0 && m.Segments[n-1].URI == "" {
		msn--
		part = int64(len(m.Segments[n-1].Parts)) - 1
	}
	return msn, part
}

// latency is how old the end of the playlist is by its dates; 0 if it has none.
func latency(v *version) time.Duration {
	for i := len(v.p.m.Segments) - 1; i >= 0; i-- {
		s := &v.p.m.Segments[i]
		if s.ProgramDateTime.IsZero() {
			continue
		}
		end := v.p.m.Segments[len(v.p.m.Segments)-1].Span
		return v.at.Sub(s.ProgramDateTime.Add(time.Duration(end.Start + end.Dur - s.Span.Start)))
	}
	return 0
}

// loadNew loads the segments that were not loaded yet; of the first version the
// last three, where a player would begin.
func (f *follow) loadNew(v *version) {
	m := v.p.m
	if f.all == nil {
		f.all = &playlist{name: f.name, role: f.role, m: &hls.Media{TargetDuration: m.TargetDuration, IndependentSegments: m.IndependentSegments}}
	}
	f.all.lines = v.p.lines
	end, _ := edge(m)
	from := max(end-2, m.Sequence+m.Skipped)
	if n := len(f.msns); n > 0 {
		from = max(f.msns[n-1]+1, m.Sequence+m.Skipped)
	}
	for msn := from; msn <= end && f.c.ctx.Err() == nil; msn++ {
		f.loadOne(v.p, int(msn-m.Sequence-m.Skipped), msn)
	}
}

func (f *follow) loadOne(p *playlist, i int, msn int64) {
	s := p.m.Segments[i]
	if s.Map.URI == "" {
		s.Map = p.mapOf(i)
	}
	if len(s.Keys) == 0 {
		if k := p.keyOf(i); k != "NONE" {
			s.Keys = []hls.Key{{Method: k}}
		}
	}
	if n := len(f.msns); n > 0 && f.msns[n-1] != msn-1 {
		s.Discontinuity = true // segments between were missed
	}
	at := int64(0)
	if n := len(f.all.m.Segments); n > 0 {
		b := f.all.m.Segments[n-1].Span
		at = b.Start + b.Dur
	}
	s.Span.Start = at
	f.all.m.Segments = append(f.all.m.Segments, s)
	f.all.sizes = append(f.all.sizes, -1)
	f.msns = append(f.msns, msn)
	k := len(f.msns) - 1
	if s.Gap {
		return
	}
	began := f.w.cfg.Now()
	name, err := f.c.src.resolve(f.name, s.URI)
	if err != nil {
		return
	}
	a, err := f.c.src.fetch(f.c.ctx, name, s.Range.Offset, s.Range.Length)
	if f.c.ctx.Err() != nil {
		return
	}
	f.c.saw("H28")
	if err != nil {
		f.c.find("H28", p.at(s.Line), "segment %d, %s, is listed and cannot be loaded: %v", msn, s.URI, err)
		return
	}
	f.c.count(0, 1, len(a.body))
	f.all.sizes[k] = int64(len(a.body))
	f.roundTrip(a)
	f.c.checkAnswer(name, formOf(a.body), a, 0)
	if len(a.body) == 0 {
		f.c.find("H28", p.at(s.Line), "segment %d, %s, is empty", msn, s.URI)
		return
	}
	f.lookInto(k, msn, name, a, began)
}

// lookInto checks a segment that was loaded, and that it follows on.
func (f *follow) lookInto(k int, msn int64, name string, a *answer, began time.Time) {
	s := &f.all.m.Segments[k]
	f.c.checkSegment(f.all, k, name, a.body)
	f.c.checkParted(f.all, k, a.body)
	key := false
	for _, t := range f.all.tracks {
		if n := len(t.spans); n > 0 && t.spans[n-1].index == k {
			f.c.checkJoin(f.all, t, n-1)
			key = key || t.spans[n-1].sap == sapClosed
		}
	}
	f.arrive(Arrival{Kind: "segment", Took: a.ended.Sub(began), MSN: msn, Dur: time.Duration(s.Span.Dur), Bytes: len(a.body), Key: key}, a.ended)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.status.Segments++
	if s.Span.Dur > 0 {
		f.status.Bitrate = float64(len(a.body)) * 8 / seconds(s.Span.Dur)
	}
}

// next says what to ask for next, and when (RFC 8216bis 6.3.4).
func (f *follow) next(v *version) (target string, wait time.Duration) {
	m := v.p.m
	td := time.Duration(m.TargetDuration) * time.Second
	if m.Control.CanBlockReload {
		msn, part := edge(m)
		ask := fmt.Sprintf("_HLS_msn=%d", msn+1)
		if v.p.low() {
			ask += fmt.Sprintf("&_HLS_part=%d", part+1)
		}
		if f.same { // the server does not wait: it is not to be asked without end
			wait = max(m.PartTarget/2, 200*time.Millisecond)
		}
		return withQuery(f.name, ask), wait
	}
	wait = td / 2
	if f.newest.Equal(v.at) && len(m.Segments) > 0 {
		wait = max(time.Duration(m.Segments[len(m.Segments)-1].Span.Dur), td/2)
	}
	return f.name, max(wait-f.w.cfg.Now().Sub(v.began), 100*time.Millisecond)
}

func withQuery(name, query string) string {
	if strings.Contains(name, "?") {
		return name + "&" + query
	}
	return name + "?" + query
}
