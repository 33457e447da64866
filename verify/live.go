package verify

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/format/hls"
)

// Timeline is when what arrived in a live check.
type Timeline struct {
	Start      time.Time `json:"start"`
	Renditions []Lane    `json:"renditions"`
}

// Lane is one rendition of a Timeline.
type Lane struct {
	Name   string    `json:"name"`
	Role   string    `json:"role"`
	Events []Arrival `json:"events"`
}

// Arrival is one thing that arrived; times count from the Timeline's start.
type Arrival struct {
	Kind  string        `json:"kind"` // "playlist", "segment" or "part"
	At    time.Duration `json:"at_ns"`
	Took  time.Duration `json:"took_ns"`
	MSN   int64         `json:"msn"`
	Dur   time.Duration `json:"duration_ns,omitempty"` // of the media
	Bytes int           `json:"bytes"`
	Key   bool          `json:"key,omitempty"` // it starts with a key frame
	New   bool          `json:"new,omitempty"` // of a playlist: it had changed
}

// Status is what a live check knows so far.
type Status struct {
	Elapsed, For time.Duration
	Renditions   []RenditionStatus
	Must, Should int
}

// RenditionStatus is one line of a Status.
type RenditionStatus struct {
	Name, Role string
	MSN        int64 // of the last segment
	Segments   int   // loaded
	Parts      int   // seen
	Bitrate    float64
	SinceNew   time.Duration // since the playlist grew
	Latency    time.Duration // from PROGRAM-DATE-TIME to now; 0 unknown
	Window     time.Duration
}

// maxArrivals bounds a lane: hours of parts.
const maxArrivals = 20000

// maxRenditions bounds how many playlists are followed at once.
const maxRenditions = 16

// watch checks a URL: what is finished like a folder, what is live over time.
func watch(ctx context.Context, cfg Config) (*Report, error) {
	client := cfg.Client
	if client == nil {
		client = &http.Client{Timeout: time.Minute}
	}
	w := &web{client, cfg.Now}
	c := &checker{recorder: newRecorder(cfg.Input), ctx: ctx, src: w, headers: map[string]*header{}, query: queryOf(cfg.Input)}
	body, name, err := w.open(ctx, cfg.Input)
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if body != nil {
		return c.watchStream(cfg, name, body)
	}
	a, err := c.src.fetch(ctx, cfg.Input, 0, 0)
	if err != nil {
		return nil, fmt.Errorf("verify: %s: %w", cfg.Input, err)
	}
	name = a.url // what it names is relative to where it came from
	c.checkTransport(name)
	if strings.Contains(name, ".mpd") || isMPD(a.body) {
		c.kind("dash")
		return c.watchDASH(cfg, name, a)
	}
	lines, err := reader(func(*hls.LineError) {}).Lines(a.body)
	if err != nil || len(lines) == 0 || lines[0].Tag != "EXTM3U" {
		return nil, fmt.Errorf("verify: %s: %w", cfg.Input, ErrNothing)
	}
	c.kind("hls")
	c.checkAnswer(name, "playlist", a, 0)
	if !isLive(c, name, a.body, lines) {
		if err := c.checkHLS(name, a.body); err != nil {
			return nil, err
		}
		return c.done(), nil
	}
	return c.watchHLS(cfg, name, a, lines)
}

// isLive reports whether a playlist, or the first that it lists, has no end.
func isLive(c *checker, name string, text []byte, lines []hls.Line) bool {
	quiet := reader(func(*hls.LineError) {})
	quiet.Query = c.query
	if hls.IsMultivariant(lines) {
		m, err := quiet.MultivariantLines(lines)
		if err != nil || len(m.Variants) == 0 {
			return false
		}
		ref, err := c.src.resolve(name, m.Variants[0].URI)
		if err != nil {
			return false
		}
		a, err := c.src.fetch(c.ctx, ref, 0, 0)
		if err != nil {
			return false
		}
		quiet.Import, text = m.Variables(), a.body
	}
	m, err := quiet.Media(text)
	return err == nil && !m.EndList
}

// watchHLS follows every rendition of a live presentation.
func (c *checker) watchHLS(cfg Config, name string, a *answer, lines []hls.Line) (*Report, error) {
	c.now, c.live = cfg.Now, true
	w := &watcher{c: c, cfg: cfg, start: cfg.Now()}
	if hls.IsMultivariant(lines) {
		x := c.readMulti(name, a.body)
		if x == nil {
			return c.done(), nil
		}
		c.independent = x.m.IndependentSegments
		w.multi = x
		for _, ref := range x.refs() {
			w.add(name, ref.uri, ref.role, x.m.Variables())
		}
	} else {
		w.add(name, name, "video", nil)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	stop := time.AfterFunc(cfg.For, cancel)
	defer stop.Stop()
	var group sync.WaitGroup
	for _, f := range w.follows {
		group.Go(func() { f.run(ctx) })
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	w.tell(done)
	if err := c.ctx.Err(); err != nil && context.Cause(c.ctx) != nil && cfg.Now().Sub(w.start) < cfg.For/10 {
		return nil, err
	}
	w.finish()
	return c.done(), nil
}

// watcher is a live check of several renditions.
type watcher struct {
	c       *checker
	cfg     Config
	start   time.Time
	multi   *multi
	follows []*follow
}

func (w *watcher) add(base, uri, role string, vars map[string]string) {
	name, err := w.c.src.resolve(base, uri)
	if err != nil {
		w.c.note("%s: %v; it is not loaded", base, err)
		return
	}
	for _, f := range w.follows {
		if f.name == name {
			return
		}
	}
	if len(w.follows) == maxRenditions {
		w.c.note("only the first %d renditions are watched", maxRenditions)
		return
	}
	own := *w.c // the recorder is shared, the rest is this rendition's
	own.headers, own.query = map[string]*header{}, queryOf(name)
	f := &follow{w: w, c: &own, name: name, role: role, vars: vars, seen: map[int64]*record{}}
	f.status = RenditionStatus{Name: f.label(), Role: role}
	w.follows = append(w.follows, f)
}

// tellEvery is how often Progress is called.
const tellEvery = 250 * time.Millisecond

// tell calls Progress until the renditions are done.
func (w *watcher) tell(done <-chan struct{}) {
	if w.cfg.Progress == nil {
		<-done
		return
	}
	t := time.NewTicker(tellEvery)
	defer t.Stop()
	for {
		w.cfg.Progress(w.status())
		select {
		case <-done:
			w.cfg.Progress(w.status())
			return
		case <-t.C:
		}
	}
}

func (w *watcher) status() Status {
	s := Status{Elapsed: w.cfg.Now().Sub(w.start), For: w.cfg.For}
	for _, f := range w.follows {
		f.mu.Lock()
		x := f.status
		if !f.grew.IsZero() {
			x.SinceNew = w.cfg.Now().Sub(f.grew)
		}
		f.mu.Unlock()
		s.Renditions = append(s.Renditions, x)
	}
	w.c.mu.Lock()
	s.Must, s.Should = w.c.report.Count(Must), w.c.report.Count(Should)
	w.c.mu.Unlock()
	return s
}

// finish checks what only the whole shows.
func (w *watcher) finish() {
	r := w.c.report
	r.Watched = w.cfg.Now().Sub(w.start)
	line := &Timeline{Start: w.start}
	var list []*playlist
	for _, f := range w.follows {
		line.Renditions = append(line.Renditions, Lane{Name: f.label(), Role: f.role, Events: f.arrivals})
		if f.last != nil {
			list = append(list, f.last.p)
		}
		if f.all == nil {
			continue
		}
		f.c.ctx = w.c.ctx
		f.checkTrips()
		if f.role != "iframes" {
			f.c.checkDurations(f.all)
			f.c.checkBitrates(f.all)
		}
	}
	r.Timeline = line
	if w.multi != nil && len(list) > 0 {
		w.c.checkTogether(w.multi, list)
		w.compareAligned()
		w.c.checkFormats(w.multi, func(uri string) *playlist {
			name, err := w.c.src.resolve(w.multi.name, uri)
			for _, f := range w.follows {
				if err == nil && f.name == name {
					return f.all
				}
			}
			return nil
		})
	}
}

// compareAligned compares where segments of one number begin in the renditions.
func (w *watcher) compareAligned() {
	var first *follow
	for _, f := range w.follows {
		if f.all == nil || f.all.lead() == nil {
			continue
		}
		if first == nil {
			first = f
			continue
		}
		s, t := first.all.lead(), f.all.lead()
		w.c.saw("A20")
		frame := max(s.seconds(s.frame), t.seconds(t.frame))
		for i := range s.spans {
			for k := range t.spans {
				if first.msn(s.spans[i].index) != f.msn(t.spans[k].index) {
					continue
				}
				if off := t.begins(k) - s.begins(i); abs(off) > 0.1+frame {
					w.c.find("A20", t.spans[k].place, "segment %d begins %.3f s from that of %s", f.msn(t.spans[k].index), off, first.label())
				}
			}
		}
	}
}
