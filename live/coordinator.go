package live

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/live/journal"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/stage"
)

// maxCommits is how many chunks of a stream are stored at a time. maxWaiting is how many
// more may wait for that, of at most a quarter of the stream's memory.
const (
	maxCommits = 3
	maxWaiting = 64
)

// coordinator takes each closed chunk to the store, in a goroutine of its own, and
// commits them in the order in which they were cut. Players see the chunk already.
type coordinator struct {
	s       *Stream
	ctx     context.Context // of the publisher's chunks; outlives ctx of Publish by the drain
	cancel  context.CancelFunc
	slots   chan struct{}   // of those that are stored
	queue   chan struct{}   // of those and others
	bytes   *mem.Budget     // of all in the queue
	journal *journal.Writer // has the chunks that are not committed; nil: none
	group   sync.WaitGroup
	last    chan struct{} // closed when the chunk before is committed
	staging *staging

	mu  sync.Mutex // guards put
	put map[string]bool
}

func newCoordinator(ctx context.Context, s *Stream, pool *mem.Pool) *coordinator {
	c := &coordinator{
		s: s, slots: make(chan struct{}, maxCommits), queue: make(chan struct{}, maxCommits+maxWaiting),
		bytes: mem.NewBudget(s.hub.cfg.StreamMemory / 4), last: make(chan struct{}), put: make(map[string]bool),
	}
	close(c.last)
	// What was cut before the end is to be kept: the drain bounds how long that takes.
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(s.hub.cfg.Drain, c.cancel) })
	// What stages have not made by then, the rest does not wait for.
	c.staging = newStaging(c.ctx, pool, s)
	context.AfterFunc(ctx, func() { time.AfterFunc(s.hub.cfg.Drain/2, c.staging.stop) })
	return c
}

// wait returns when every chunk is committed or given up. Who comes back is not to wait
// for stages: after a real-time source they have half of the drain.
func (c *coordinator) wait(elastic bool) {
	if !elastic {
		defer time.AfterFunc(c.s.hub.cfg.Drain/2, c.staging.stop).Stop()
	}
	c.group.Wait()
	c.staging.stop()
	c.staging.blocks.Close()
	c.cancel()
}

// initName names an initialization section by its contents, so that no URL ever
// names two.
func initName(header []byte) string {
	sum := sha256.Sum256(header)
	return fmt.Sprintf("init-%x.mp4", sum[:8])
}

// job is one chunk on its way.
type job struct {
	c            *coordinator
	id           journal.ID
	object       *object
	body         *buffers
	at           []int64
	entry        *index.Entry // nil: it cannot be described
	description  []byte       // of what is cut; empty: it cannot be described
	charged      int64        // bytes of the queue
	blocks       [][]*mem.Block
	headers      []section // that are not stored yet
	work         *work     // nil: no stage makes anything of it
	before, done chan struct{}
}

// commit begins to store a closed chunk, whose blocks it takes over. While too many
// are under way it waits as long as it may; then the chunk is not stored, and is only in
// memory as long as that holds it.
func (c *coordinator) commit(p *publisher, o *opened, wait time.Duration) {
	j := &job{c: c, id: journalID(o), object: o.object, blocks: o.blocks, body: &buffers{}, before: c.last, done: make(chan struct{})}
	for i := range p.lanes {
		j.at = append(j.at, j.body.size)
		for _, b := range o.blocks[i] {
			j.body.add(b.Bytes())
		}
		if !c.has(o.inits[i].name) {
			j.headers = append(j.headers, o.inits[i])
		}
	}
	if e, ok := p.entry(o, false); ok {
		j.description = index.AppendDescription(nil, c.s.name, p.withGaps(o, e))
		if c.journal != nil {
			c.journal.End(j.id, j.description)
		}
		j.entry = &e
	}
	j.work = p.work(o.c)
	j.charged = j.body.size
	if !p.elastic && (2*len(c.queue) > cap(c.queue) || 2*(c.bytes.Used()+j.charged) > c.bytes.Limit()) {
		c.staging.giveUp()
	}
	err := c.enter(j.charged, wait)
	c.last = j.done
	if err != nil {
		if j.work != nil {
			c.staging.drop(j.work, err)
		}
		j.fail(err)
		c.group.Go(func() {
			j.take()
			j.skip()
		})
		return
	}
	c.group.Go(j.run)
}

// errBehind says that a chunk was not stored because others wait.
var errBehind = errors.New("live: the store is behind")

// enter takes a place in the queue and room for size bytes in it.
func (c *coordinator) enter(size int64, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(c.ctx, wait)
	defer cancel()
	select {
	case c.queue <- struct{}{}:
	default:
		select {
		case c.queue <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("%w: %d chunks wait", errBehind, len(c.queue))
		}
	}
	if c.bytes.TryAcquire(size) == nil || c.bytes.Acquire(ctx, size) == nil {
		return nil
	}
	<-c.queue
	return fmt.Errorf("%w: %d bytes wait", errBehind, c.bytes.Used())
}

// has reports whether an initialization section is stored.
func (c *coordinator) has(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.put[name]
}

// run stores a chunk and leaves the queue.
func (j *job) run() {
	if j.work != nil {
		j.c.staging.run(j.c.s.hub.cfg.Stages, j.work)
	}
	j.take()
	j.assemble()
	j.c.slots <- struct{}{}
	err := j.store()
	<-j.c.slots // before the wait for the chunk before, which may need it
	j.finish(err)
	j.c.bytes.Release(j.charged)
	<-j.c.queue
}

// assemble ends the object with its description, and sums it.
func (j *job) assemble() {
	if j.entry == nil {
		return
	}
	if j.work != nil {
		j.description = index.AppendDescription(nil, j.c.s.name, j.entry)
	}
	j.body.add(j.description)
	j.entry.Size = j.body.size
	o := stage.Object{Stream: j.c.s.name, Body: j.body.bufs}
	_ = stage.Digest{}.Run(j.c.ctx, &o) // never fails
	j.entry.Digest, j.object.digest = o.Digest, o.Digest
}

// addTrack adds a segment that a stage made, or a gap, to the object.
func (j *job) addTrack(x *derivation) {
	s := &x.seg
	j.at = append(j.at, j.body.size)
	for i := range s.Parts {
		j.body.add(s.Parts[i].block.Bytes())
	}
	if k := j.c.staging.known[x.name]; k.header != nil && !j.c.has(k.init) {
		j.headers = append(j.headers, section{k.init, k.header})
	}
	if j.entry != nil {
		j.entry.Tracks = append(j.entry.Tracks, derivedTrack(x.name, s, j.at[len(j.at)-1]))
	}
}

// finish commits a chunk that was stored, if err is nil, when those before are. The
// store's failure is no failure of the live edge.
func (j *job) finish(err error) {
	if err != nil {
		j.fail(err)
		j.skip()
		return
	}
	defer close(j.done)
	<-j.before
	defer j.forget()
	j.c.s.enlist(j.c.ctx, j.entry)
	j.object.at = j.at
	j.object.state.Store(stored)
	j.c.s.stats.stored.Add(1)
	j.release()
}

// skip puts a gap in the place of a chunk that was not stored, when those before are
// committed: its number was given, and it was shown. If that is so because the time for
// it is over, and its parts are kept, the next process stores them.
func (j *job) skip() {
	defer close(j.done)
	<-j.before
	if j.c.ctx.Err() != nil && j.c.journal != nil {
		return
	}
	defer j.forget()
	if j.entry == nil {
		return
	}
	e := *j.entry
	e.Object, e.Size, e.Keys, e.Gap, e.Independent = "", 0, nil, true, false
	e.Tracks = slices.Clone(e.Tracks)
	for i := range e.Tracks {
		t := &e.Tracks[i]
		t.Gap, t.Offset, t.Size = true, 0, 0
		t.KeyID, t.IV = [16]byte{}, [16]byte{}
	}
	j.c.s.enlist(j.c.ctx, &e)
}

// forget has the chunk's parts kept no longer.
func (j *job) forget() {
	if j.c.journal != nil {
		j.c.journal.Remove(j.id)
	}
}

func (j *job) store() error {
	st := j.c.s.hub.puts
	for _, h := range j.headers {
		if err := st.Put(j.c.ctx, j.c.s.name+"/"+h.name, newBytes(h.header), int64(len(h.header))); err != nil {
			return err
		}
		j.c.mu.Lock()
		j.c.put[h.name] = true
		j.c.mu.Unlock()
	}
	return st.Put(j.c.ctx, j.object.key, j.body, j.body.size)
}

// fail leaves the chunk to what memory holds of it.
func (j *job) fail(err error) {
	j.object.state.Store(failed)
	j.c.s.stats.unstored.Add(1)
	j.c.s.hub.cfg.Log.Error("chunk not stored", "stream", j.c.s.name, "key", j.object.key, "error", err)
	j.release()
}

func (j *job) release() {
	for _, l := range j.blocks {
		for _, b := range l {
			b.Release()
		}
	}
}

// buffers is an object to store, in pieces.
type buffers struct {
	bufs [][]byte
	size int64
}

func newBytes(b []byte) *buffers { return &buffers{[][]byte{b}, int64(len(b))} }

func (b *buffers) add(buf []byte) {
	b.bufs = append(b.bufs, buf)
	b.size += int64(len(buf))
}

// Buffers implements store.Buffers.
func (b *buffers) Buffers() [][]byte { return b.bufs }

// ReadAt implements io.ReaderAt.
func (b *buffers) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for _, buf := range b.bufs {
		if off >= int64(len(buf)) {
			off -= int64(len(buf))
			continue
		}
		n += copy(p[n:], buf[off:])
		off = 0
		if n == len(p) {
			return n, nil
		}
	}
	return n, io.EOF
}
