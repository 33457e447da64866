package verify

import (
	"bytes"
	"context"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/format/hls"
)

// watchDASH checks a finished manifest at once, a live one over time.
func (c *checker) watchDASH(cfg Config, name string, a *answer) (*Report, error) {
	x := c.readMPD(name, a.body)
	if x == nil {
		return c.done(), nil
	}
	if !x.m.Dynamic {
		c.report.Playlists-- // it is read once more
		if err := c.checkDASH(name, a.body); err != nil {
			return nil, err
		}
		return c.done(), nil
	}
	c.now, c.live = cfg.Now, true
	w := &dashWatcher{c: c, cfg: cfg, name: name, start: cfg.Now(), x: x, tracks: map[string]*dashTrack{}}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	stop := time.AfterFunc(cfg.For, cancel)
	defer stop.Stop()
	w.text = a.body
	w.run(ctx)
	if err := c.ctx.Err(); err != nil && cfg.Now().Sub(w.start) < cfg.For/10 {
		return nil, err
	}
	w.finish()
	return c.done(), nil
}

// dashWatcher follows a live manifest: one goroutine, which loads each segment
// when the manifest says that it is there.
type dashWatcher struct {
	c      *checker
	cfg    Config
	name   string
	start  time.Time
	x      *manifest
	text   []byte
	loaded time.Time // when x was
	order  []string
	tracks map[string]*dashTrack
}

// dashTrack is one Representation over time.
type dashTrack struct {
	period   *dash.Stretch
	set      *dash.Adaptation
	t        *dash.Track
	next     int64 // key of what to load
	begun    bool
	header   *header
	headerOf string // where it is from
	all      *playlist
	refs     []dash.SegmentRef // of all's segments
	arrivals []Arrival
	last     int64 // number
	seen     map[int64]dash.SegmentRef
	bitrate  float64
}

func (w *dashWatcher) run(ctx context.Context) {
	w.c.ctx = ctx
	w.loaded = w.cfg.Now()
	w.adopt()
	told := time.Time{}
	for ctx.Err() == nil {
		due := w.loadDue(ctx)
		now := w.cfg.Now()
		if w.cfg.Progress != nil && now.Sub(told) >= tellEvery {
			told = now
			w.cfg.Progress(w.status())
		}
		update := w.loaded.Add(max(w.x.m.Update, 500*time.Millisecond))
		if w.x.m.Update == dash.Absent {
			update = now.Add(time.Hour)
		}
		if !now.Before(update) {
			w.reload()
			continue
		}
		wake := update
		if !due.IsZero() && due.Before(wake) {
			wake = due
		}
		if !pause(ctx, min(max(wake.Sub(now), time.Millisecond), tellEvery)) {
			break
		}
	}
}

// adopt takes the Representations of the newest Period over.
func (w *dashWatcher) adopt() {
	m := w.x.m
	if len(m.Stretches) == 0 {
		return
	}
	p := &m.Stretches[len(m.Stretches)-1]
	for k := range p.Sets {
		for n := range p.Sets[k].Tracks {
			t := &p.Sets[k].Tracks[n]
			d := w.tracks[t.ID]
			if d == nil {
				if len(w.tracks) == maxRenditions {
					w.c.note("only the first %d Representations are watched", maxRenditions)
					return
				}
				d = &dashTrack{seen: map[int64]dash.SegmentRef{}, all: &playlist{name: w.name + "#" + t.ID, role: p.Sets[k].ContentType, m: &hls.Media{}, isMP4: true}}
				w.tracks[t.ID] = d
				w.order = append(w.order, t.ID)
			}
			if d.period != nil && d.period.ID != p.ID {
				d.begun, d.next = false, 0 // numbers and times begin anew
			}
			d.period, d.set, d.t = p, &p.Sets[k], t
		}
	}
}

// reload fetches the manifest and compares it with the one before.
func (w *dashWatcher) reload() {
	c := w.c
	a, err := c.src.fetch(c.ctx, w.name, 0, 0)
	w.loaded = w.cfg.Now()
	if c.ctx.Err() != nil {
		return
	}
	if err != nil {
		c.find("D13", w.x.at(0), "the manifest cannot be loaded: %v", err)
		return
	}
	if bytes.Equal(a.body, w.text) {
		return
	}
	x := c.readMPD(w.name, a.body)
	if x == nil {
		return
	}
	was := w.x
	w.x, w.text = x, a.body
	c.compareMPD(was, x)
	w.adopt()
}

// compareMPD checks what may not change in a live manifest.
func (c *checker) compareMPD(a, b *manifest) {
	c.saw("D13")
	if !a.m.AvailabilityStart.Equal(b.m.AvailabilityStart) {
		c.find("D13", b.at(b.m.Line), "availabilityStartTime was %s and is %s", a.m.AvailabilityStart.Format(time.RFC3339Nano), b.m.AvailabilityStart.Format(time.RFC3339Nano))
	}
	if b.m.Publish.Before(a.m.Publish) {
		c.find("D13", b.at(b.m.Line), "publishTime goes back from %s to %s", a.m.Publish.Format(time.RFC3339Nano), b.m.Publish.Format(time.RFC3339Nano))
	} else if b.m.Publish.Equal(a.m.Publish) && !a.m.Publish.IsZero() {
		c.should("D13", b.at(b.m.Line), "the manifest has changed, and its publishTime has not")
	}
}

// key orders segments over time: a window that slides counts the numbers of a
// timeline anew unless it moves startNumber, too.
func (d *dashTrack) key(r dash.SegmentRef) int64 {
	if d.t.Addressing.How == dash.ByTimeline {
		return r.Time
	}
	return r.Number
}

// follows reports whether b is the segment behind a.
func (d *dashTrack) follows(a, b dash.SegmentRef) bool {
	if d.t.Addressing.How == dash.ByTimeline {
		return a.Time+a.Dur == b.Time
	}
	return a.Number+1 == b.Number
}

// refsOf are the segments that the manifest names now, at the live edge.
func (w *dashWatcher) refsOf(d *dashTrack) []dash.SegmentRef {
	a := &d.t.Addressing
	if a.How != dash.ByNumber {
		refs, err := w.x.reader.Segments(d.t, dash.Absent, 0)
		if err != nil {
			w.c.find("S2", w.x.at(d.t.Line), "%v", err)
		}
		return refs
	}
	if a.Duration <= 0 {
		return nil
	}
	first := d.next
	edge := w.edgeNumber(d)
	if !d.begun {
		first = max(edge-1, a.StartNumber)
	}
	var out []dash.SegmentRef
	for n := first; n <= edge+1; n++ {
		at := a.Offset + (n-a.StartNumber)*a.Duration
		out = append(out, dash.SegmentRef{Number: n, Time: at, Dur: a.Duration, URL: d.t.Expand(a.Media, n, at), Line: a.Line})
	}
	return out
}

// edgeNumber is the last segment that is there by the clock.
func (w *dashWatcher) edgeNumber(d *dashTrack) int64 {
	a := &d.t.Addressing
	tb := av.Timebase{Num: 1, Den: uint32(a.Timescale)}
	since := w.cfg.Now().Sub(w.x.m.AvailabilityStart) - max(d.period.Start, 0)
	if a.HasEarly && a.Early != dash.EarlyAll {
		since += a.Early
	}
	return a.StartNumber + tb.Ticks(since)/a.Duration - 1
}

// available is when a segment is announced to be there (5.3.9.5.3).
func (w *dashWatcher) available(d *dashTrack, r dash.SegmentRef) time.Time {
	a := &d.t.Addressing
	if a.How != dash.ByNumber {
		return w.loaded // what a timeline lists is there
	}
	tb := av.Timebase{Num: 1, Den: uint32(a.Timescale)}
	end := w.x.m.AvailabilityStart.Add(max(d.period.Start, 0)).Add(tb.Duration(r.Time - a.Offset + r.Dur))
	if a.HasEarly && a.Early != dash.EarlyAll {
		end = end.Add(-a.Early)
	}
	return end
}

// loadDue loads what is due and returns when the next is.
func (w *dashWatcher) loadDue(ctx context.Context) (next time.Time) {
	for _, id := range w.order {
		d := w.tracks[id]
		refs := w.refsOf(d)
		w.compareTimeline(d, refs)
		if !d.begun && len(refs) > 3 && d.t.Addressing.How != dash.ByNumber {
			d.next = d.key(refs[len(refs)-3])
		}
		for _, r := range refs {
			if ctx.Err() != nil {
				return next
			}
			if d.key(r) < d.next {
				continue
			}
			at := w.available(d, r)
			if at.After(w.cfg.Now()) {
				if next.IsZero() || at.Before(next) {
					next = at
				}
				break
			}
			w.load(d, r, at)
			d.begun, d.next, d.last = true, d.key(r)+1, r.Number
		}
	}
	return next
}

// compareTimeline checks that a segment which was listed has not changed. Numbers
// name segments only where the template says $Number$; times always do.
func (w *dashWatcher) compareTimeline(d *dashTrack, refs []dash.SegmentRef) {
	if d.t.Addressing.How != dash.ByTimeline {
		return
	}
	for _, r := range refs {
		w.c.saw("D7")
		if was, ok := d.seen[r.Time]; ok && was.Dur != r.Dur {
			w.c.find("D7", w.x.at(r.Line), "the segment at %d lasted %d ticks and lasts %d", r.Time, was.Dur, r.Dur)
		}
		d.seen[r.Time] = r
	}
	if len(d.seen) > 4*len(refs)+1000 && len(refs) > 0 {
		for t := range d.seen {
			if t < refs[0].Time {
				delete(d.seen, t)
			}
		}
	}
}

// patience is how long a segment that was announced is asked for.
const patience = 3 * time.Second

func (w *dashWatcher) load(d *dashTrack, r dash.SegmentRef, announced time.Time) {
	c := w.c
	base, err := c.base(w.x, d.t)
	if err != nil {
		return
	}
	if of := base + " " + d.t.Addressing.Init; d.header == nil || d.headerOf != of { // each Period may have its own
		d.header, d.headerOf = c.dashHeader(w.x, d.t, base), of
	}
	name, err := c.src.resolve(base, r.URL)
	if err != nil {
		c.find("S2", w.x.at(r.Line), "%v", err)
		return
	}
	began := w.cfg.Now()
	c.saw("D13")
	a, err := c.src.fetch(c.ctx, name, 0, 0)
	for err != nil && gone(err) && c.ctx.Err() == nil && w.cfg.Now().Sub(began) < patience {
		pause(c.ctx, 100*time.Millisecond)
		a, err = c.src.fetch(c.ctx, name, 0, 0)
	}
	if c.ctx.Err() != nil {
		return
	}
	behind := w.cfg.Now().Sub(announced)
	switch waited := w.cfg.Now().Sub(began); {
	case err != nil:
		c.find("D13", w.x.at(r.Line), "segment %d, %s, was announced for %s and is not there %s later: %v", r.Number, r.URL, announced.Format("15:04:05.000"), behind.Round(time.Millisecond), err)
		return
	case !w.first(d) && waited > time.Second && a.began.Sub(began) > 500*time.Millisecond:
		c.should("D13", w.x.at(r.Line), "segment %d, %s, came %s after it was announced", r.Number, r.URL, a.began.Sub(began).Round(time.Millisecond))
	}
	c.count(0, 1, len(a.body))
	c.checkAnswer(name, formOf(a.body), a, 0)
	w.look(d, r, name, a, began)
}

func (w *dashWatcher) first(d *dashTrack) bool { return len(d.all.m.Segments) == 0 }

func (w *dashWatcher) look(d *dashTrack, r dash.SegmentRef, name string, a *answer, began time.Time) {
	missed := len(d.refs) > 0 && !d.follows(d.refs[len(d.refs)-1], r)
	d.all.m.Segments = append(d.all.m.Segments, hls.Segment{URI: r.URL, Line: r.Line, Discontinuity: missed})
	d.refs = append(d.refs, r)
	i := len(d.refs) - 1
	tb := av.Timebase{Num: 1, Den: uint32(d.t.Addressing.Timescale)}
	key := false
	if d.header != nil && formOf(a.body) == "mp4" {
		looks := w.c.lookMP4(Place{File: name, group: d.all.name}, d.header, a.body, 0)
		w.c.addDASH(w.x, d.header, d.set, d.t, r, d.all, i, looks)
		for _, t := range d.all.tracks {
			n := len(t.spans)
			if n > 0 && t.spans[n-1].index == i {
				t.spans[n-1].discont = missed
				w.c.checkJoin(d.all, t, n-1)
				key = key || t.spans[n-1].sap == sapClosed
			}
		}
	}
	if dur := tb.Duration(r.Dur); dur > 0 {
		d.bitrate = float64(len(a.body)) * 8 / dur.Seconds()
	}
	if len(d.arrivals) < maxArrivals {
		d.arrivals = append(d.arrivals, Arrival{
			Kind: "segment", At: a.ended.Sub(w.start), Took: a.ended.Sub(began), MSN: r.Number, Dur: tb.Duration(r.Dur), Bytes: len(a.body), Key: key,
		})
	}
}

func (w *dashWatcher) status() Status {
	s := Status{Elapsed: w.cfg.Now().Sub(w.start), For: w.cfg.For}
	for _, id := range w.order {
		d := w.tracks[id]
		s.Renditions = append(s.Renditions, RenditionStatus{Name: id, Role: d.set.ContentType, MSN: d.last, Segments: len(d.refs), Bitrate: d.bitrate})
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	s.Must, s.Should = w.c.report.Count(Must), w.c.report.Count(Should)
	return s
}

// finish keeps the timeline. That picture and sound stay together follows from D7
// and D8: each keeps to the times of the manifest.
func (w *dashWatcher) finish() {
	c := w.c
	c.report.Watched = w.cfg.Now().Sub(w.start)
	c.report.Timeline = &Timeline{Start: w.start}
	for _, id := range w.order {
		d := w.tracks[id]
		c.report.Timeline.Renditions = append(c.report.Timeline.Renditions, Lane{Name: id, Role: d.set.ContentType, Events: d.arrivals})
	}
}
