package live

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/stage"
)

// maxStaged is how many chunks of a real-time source are in stages that make renditions
// at a time. One that comes while there are so many is a gap there: what comes later
// still would be of no use at the edge.
const maxStaged = 8

// staging is what stages make renditions of, and what came of it.
type staging struct {
	ctx    context.Context // ends before that of the coordinator
	stop   context.CancelFunc
	now    context.Context // of chunks that begin now; of the publisher
	hurry  context.CancelCauseFunc
	places chan struct{} // of chunks of real-time sources
	bytes  *mem.Budget   // of the packets that are kept for it
	turn   chan struct{} // closed when the chunk before has had its turn

	// Of who is in turn.
	blocks *mem.Arena
	known  map[string]known // by the name of the rendition
	well   bool             // the last chunk had all
	said   bool             // anything was logged

	news atomic.Bool // there is something in made
	mu   sync.Mutex  // guards made
	made []made
}

// newStaging goes on with what s shows.
func newStaging(ctx context.Context, pool *mem.Pool, s *Stream) *staging {
	g := &staging{
		places: make(chan struct{}, maxStaged), bytes: mem.NewBudget(s.hub.cfg.StreamMemory / 4), turn: make(chan struct{}), blocks: pool.NewOverdraft(),
		known: make(map[string]known),
	}
	close(g.turn)
	g.ctx, g.stop = context.WithCancel(ctx)
	g.now, g.hurry = context.WithCancelCause(g.ctx)
	e := s.Edge()
	for i := range e.Renditions {
		r := &e.Renditions[i]
		if n := len(r.Segments); n > 0 {
			last := &r.Segments[n-1]
			// The store may not have taken the header from the publisher before.
			g.known[r.Name] = known{init: last.Init, header: s.Init(last.Init), info: last.Info, track: r.Track}
		}
	}
	return g
}

// work is what a chunk is to become in stages. It holds the chunk, and those before it.
type work struct {
	ctx    context.Context
	object stage.Object
	list   []derivation
	bytes  int64
	place  bool
	err    error // it is not to be tried
	before <-chan struct{}
	done   chan struct{}
}

// derivation is a rendition to be made, and its segment but for what is made.
type derivation struct {
	name string // of the rendition
	made string // among those that a stage makes
	of   *lane
	seg  Segment
}

// standOn returns the chunks that a closed one cannot be decoded without: from the last
// one on that begins with a key frame. An open one will do: what follows it in the order of
// presentation does not stand on what is before it.
func (p *publisher) standOn(c *chunk.Chunk) []*chunk.Chunk {
	if n := len(p.before); c.Independent || n == 0 || &p.before[n-1].Tracks[0] != &c.Tracks[0] || c.Discont {
		p.letGo()
	}
	return p.before
}

// follow keeps a closed chunk for those that stand on it, as long as they are not more
// than is worth it.
func (p *publisher) follow(c *chunk.Chunk) {
	var first av.Flags
	if run := c.Runs[c.Lead]; len(run) > 0 {
		first = run[0].Flags & (av.Key | av.Gradual)
	}
	switch {
	case first == av.Key:
		p.letGo()
	case first == 0 && len(p.before) == 0:
		return
	}
	c.Retain()
	p.before = append(p.before, c)
	total := int64(0)
	for _, b := range p.before {
		total += b.Bytes()
	}
	if total > p.s.hub.cfg.StreamMemory/shareOfChunk {
		p.letGo()
	}
}

// letGo lets go of the chunks that others stand on.
func (p *publisher) letGo() {
	for _, b := range p.before {
		b.Release()
	}
	p.before = nil
}

// errLate is the error of a chunk that no stage has had.
var errLate = errors.New("live: stages are behind")

// work readies what a closed chunk is to become; nil: nothing. While too much is under
// way an elastic source waits.
func (p *publisher) work(c *chunk.Chunk) *work {
	if len(p.derived) == 0 {
		p.letGo()
		return nil
	}
	g := p.coord.staging
	w := &work{ctx: g.now, object: stage.Object{Stream: p.s.name, Chunk: c, Rates: p.frozenRates(c)}, before: g.turn, done: make(chan struct{})}
	g.turn = w.done
	empty := true
	for _, d := range p.derived {
		s := d.of.r.Segment(d.of.epoch, int64(c.Seq))
		if s == nil {
			continue
		}
		x := derivation{d.r.Name, d.made, d.of, *s}
		empty = empty && s.Gap
		x.seg.Init, x.seg.base, x.seg.Info, x.seg.Size, x.seg.Parts, x.seg.Listed, x.seg.Keys, x.seg.Gap = "", "", nil, 0, nil, 0, nil, true
		x.seg.Independent = true
		w.list = append(w.list, x)
	}
	before := p.standOn(c)
	if w.err = errNothing; !empty {
		w.err = w.hold(p, c, before)
	}
	p.follow(c)
	return w
}

// errNothing is the error of a chunk in which the source has nothing.
var errNothing = errors.New("live: there is nothing to make a rendition of")

// hold takes room for a chunk and those before it, and keeps them.
func (w *work) hold(p *publisher, c *chunk.Chunk, before []*chunk.Chunk) error {
	g := p.coord.staging
	bytes := c.Bytes()
	for _, b := range before {
		bytes += b.Bytes()
	}
	if p.elastic {
		if err := g.bytes.Acquire(g.ctx, bytes); err != nil {
			return fmt.Errorf("%w: %w", errLate, err)
		}
	} else {
		select {
		case g.places <- struct{}{}:
			w.place = true
		default:
			return fmt.Errorf("%w: %d chunks wait", errLate, len(g.places))
		}
		if err := g.bytes.TryAcquire(bytes); err != nil {
			<-g.places
			w.place = false
			return fmt.Errorf("%w: %d bytes wait", errLate, g.bytes.Used())
		}
	}
	w.bytes = bytes
	c.Retain()
	for _, b := range before {
		b.Retain()
		w.object.Before = append(w.object.Before, b)
	}
	return nil
}

// frozenRates are the frame rates of the tracks, as they are known when their first chunk
// is closed.
func (p *publisher) frozenRates(c *chunk.Chunk) []av.Rational {
	if p.rates == nil {
		p.rates = make([]av.Rational, len(c.Tracks))
		for _, l := range p.lanes {
			p.rates[l.track] = l.r.FrameRate
		}
	}
	return p.rates
}

// run has the stages make what they can, and lets go of the chunks.
func (g *staging) run(stages []stage.Stage, w *work) {
	if w.err != nil {
		return
	}
	for _, s := range stages {
		if err := (stage.Retry{}).Run(w.ctx, s, &w.object); err != nil {
			w.err = err
		}
	}
	g.release(w)
}

// giveUp ends what stages are at: what is under way waits for it, and would not be stored.
func (g *staging) giveUp() {
	g.hurry(errLate)
	g.now, g.hurry = context.WithCancelCause(g.ctx)
}

// drop gives a chunk up that no stage is to have.
func (g *staging) drop(w *work, err error) {
	if w.err != nil {
		return
	}
	w.err = err
	g.release(w)
}

// release lets go of the chunks that were held, and of the room for them.
func (g *staging) release(w *work) {
	w.object.Chunk.Release()
	for _, b := range w.object.Before {
		b.Release()
	}
	g.bytes.Release(w.bytes)
	if w.place {
		<-g.places
	}
}

// give hands a segment to the publisher.
func (g *staging) give(m made) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.made = append(g.made, m)
	g.news.Store(true)
}
