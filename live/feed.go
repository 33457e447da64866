package live

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/mem"
)

// Renderer turns the packets of a stream into the bytes of a container that is
// read from its beginning to no end. Its methods belong to one goroutine.
type Renderer interface {
	// Begin takes the tracks of the packets that follow, to whose times offset is
	// added; the next packet does not continue the one before. The error wraps
	// av.ErrUnsupported if the container can carry none of the tracks.
	Begin(tracks []av.Track, offset time.Duration) error
	// Header appends what a viewer needs that begins with the next packet; first: it
	// has had nothing yet.
	Header(dst []byte, first bool) []byte
	// Append appends a packet, or nothing if the container cannot carry its track.
	Append(dst []byte, p *av.Packet) []byte
}

// feedBatch is how many packets a feed renders at a time at most.
const feedBatch = 64

// Feed renders a stream in one container, once for all who watch, while anybody
// does.
type Feed struct {
	s      *Stream
	r      Renderer
	cancel context.CancelFunc
	done   chan struct{} // closed when render has returned
	jumps  atomic.Int64
	seen   int64 // frames of the lead track that were read or skipped; of render

	users int // guarded by Stream.feedMu

	crewMu sync.Mutex // guards crews
	crews  []*crew
	group  sync.WaitGroup // of their goroutines

	mu    sync.Mutex // guards what follows
	items []feedItem // oldest first
	base  uint64     // number of items[0]
	key   uint64     // number of the newest item with key; valid if keyed
	keyed bool
	total int64 // bytes ever rendered
	err   error // why nothing follows
	wakes broadcast
}

// feedItem is the rendering of a batch of packets.
type feedItem struct {
	block *mem.Block
	key   bool  // it begins with a key frame of the lead track
	at    int64 // bytes rendered before it
	count counted
	made  time.Time
	head  *feedHeader
}

// counted are the frames of the lead track in an item: before of the stream came before
// them, since the feed began.
type counted struct{ before, frames int64 }

// feedHeader is what stands before an item for who begins there. Another one, by
// address, says that the tracks changed.
type feedHeader struct{ first, again []byte }

// Watch returns a viewer of the stream in the container called kind, which render
// makes. It begins at the newest key frame at once, or at the next one. The caller
// must Close it.
func (s *Stream) Watch(kind string, render func() Renderer) *Viewer {
	s.feedMu.Lock()
	defer s.feedMu.Unlock()
	f := s.feeds[kind]
	if f == nil || f.over() {
		f = s.newFeed(render())
		if s.feeds == nil {
			s.feeds = make(map[string]*Feed)
		}
		s.feeds[kind] = f
	}
	f.users++
	return &Viewer{f: f, kind: kind, budget: s.ring.viewer}
}

// newFeed starts a feed, which the last viewer ends and waits for.
func (s *Stream) newFeed(r Renderer) *Feed {
	ctx, cancel := context.WithCancel(context.Background())
	f := &Feed{s: s, r: r, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.finish(f.render(ctx))
	}()
	return f
}

func (f *Feed) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err != nil
}

// render reads the ring until it or ctx ends.
func (f *Feed) render(ctx context.Context) error {
	c := f.s.NewCursor(CursorOptions{})
	defer c.Close()
	blocks := f.s.hub.pool.NewFailingArena()
	defer blocks.Close()
	var head *feedHeader
	batch := make([]av.Packet, feedBatch)
	var scratch []byte
	for {
		n, err := c.Next(ctx, batch)
		var lag *LagError
		switch {
		case errors.Is(err, av.ErrTracks), errors.As(err, &lag):
			if lag != nil {
				f.jumps.Add(1)
				f.seen += lag.Frames
			}
			if c.Tracks() == nil {
				continue // av.ErrTracks comes next
			}
			if err := f.r.Begin(c.Tracks(), c.Offset()); err != nil {
				return err
			}
			head = &feedHeader{first: f.r.Header(nil, true), again: f.r.Header(nil, false)}
			continue
		case err != nil:
			return err
		}
		key := batch[0].Flags&av.Key != 0 && batch[0].Track == c.Lead()
		scratch = scratch[:0]
		count := counted{before: f.seen}
		for i := range batch[:n] {
			scratch = f.r.Append(scratch, &batch[i])
			if batch[i].Track == c.Lead() {
				count.frames++
			}
		}
		f.seen += count.frames
		if len(scratch) > 0 {
			f.add(blocks, scratch, feedItem{key: key, count: count, head: head})
		}
	}
}

// add shows a rendering to viewers. When memory is short, what no new viewer needs
// goes first; then the batch is left out, and viewers go on at the next key frame.
func (f *Feed) add(blocks *mem.Arena, b []byte, item feedItem) {
	block, err := blocks.NewBlock(0, len(b))
	if err != nil {
		f.shed()
		if block, err = blocks.NewBlock(0, len(b)); err != nil {
			f.drop()
			return
		}
	}
	copy(block.Bytes(), b)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !item.key && len(f.items) == 0 {
		block.Release() // after a drop, nobody can begin here
		return
	}
	if item.key {
		f.key, f.keyed = f.base+uint64(len(f.items)), true
	}
	now := time.Now()
	item.block, item.at, item.made = block, f.total, now
	f.items = append(f.items, item)
	f.total += int64(len(b))
	f.trim(f.s.ring.viewer, now)
	f.wakes.wake()
}

// trim lets items go that are before the newest key frame and of which nobody may
// be late enough to read.
func (f *Feed) trim(budget int64, now time.Time) {
	n := 0
	for n < len(f.items)-1 && f.base+uint64(n) < f.key {
		if next := &f.items[n+1]; f.total-next.at < budget && now.Sub(next.made) < history {
			break
		}
		f.items[n].block.Release()
		n++
	}
	f.cut(n)
}

// cut removes the n oldest items, whose blocks were released.
func (f *Feed) cut(n int) {
	left := copy(f.items, f.items[n:])
	clear(f.items[left:])
	f.items = f.items[:left]
	f.base += uint64(n)
}

// shed lets everything go that is before the newest key frame.
func (f *Feed) shed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trim(0, time.Now())
}

// drop lets everything go.
func (f *Feed) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.items {
		f.items[i].block.Release()
	}
	f.cut(len(f.items))
	f.keyed = false
}

// finish lets viewers read what is there, and then err.
func (f *Feed) finish(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
	f.wakes.wake()
}

// tally is what a viewer was given, and what it was not.
type tally struct {
	begun         bool
	next          int64 // frames of the stream before the next that follows on
	sent, skipped int64
}

func (t *tally) add(c counted) {
	if t.begun {
		t.skipped += c.before - t.next
	}
	t.begun, t.next = true, c.before+c.frames
	t.sent += c.frames
}

// Viewer reads a Feed. It belongs to one goroutine.
type Viewer struct {
	f      *Feed
	kind   string
	budget int64
	next   uint64
	begun  bool
	head   *feedHeader
	held   []*mem.Block
	closed bool
	left   func() // of AtClose
	tally  tally

	// Of Send. While the viewer is the crew's, so is everything above.
	sink Sink
	crew *crew
	back chan error // by which the crew hands it back
}

// Next waits for bytes and puts pieces of them, to be sent one behind the other,
// into dst[:0], at most 256 KiB unless one piece alone is more. They are shared by
// all viewers, are not to be written to, and are valid until the next call or
// Close; the slice itself is the caller's. A viewer that is further behind than its
// budget goes on at the newest key frame, with a header.
//
// The error is io.EOF at the stream's end; one that wraps av.ErrUnsupported if the
// container can carry none of the tracks; ErrSealed if the stream is encrypted and not
// to be seen; ErrClosed after Close; or the cause of ctx.
func (v *Viewer) Next(ctx context.Context, dst [][]byte) ([][]byte, error) {
	v.release()
	if v.closed {
		return nil, ErrClosed
	}
	for {
		out, woken, err := v.take(dst[:0])
		if len(out) > 0 || err != nil {
			return out, err
		}
		select {
		case <-woken:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take collects what is there; if that is nothing, woken is closed when there is
// more.
func (v *Viewer) take(dst [][]byte) (_ [][]byte, woken <-chan struct{}, _ error) {
	f := v.f
	f.mu.Lock()
	defer f.mu.Unlock()
	if !v.place() {
		if f.err != nil {
			return nil, nil, f.err
		}
		return nil, f.wakes.wait(), nil
	}
	bytes := 0
	for i := v.next - f.base; i < uint64(len(f.items)); i++ {
		item := &f.items[i]
		if item.head != v.head && !v.enter(&dst, item) {
			break
		}
		b := item.block.Bytes()
		if bytes > 0 && (bytes+len(b) > maxBatch || len(dst) == cap(dst)) {
			break
		}
		item.block.Retain()
		v.held = append(v.held, item.block)
		v.tally.add(item.count)
		dst = append(dst, b)
		bytes += len(b)
		v.next++
	}
	if len(dst) > 0 {
		return dst, nil, nil
	}
	if f.err != nil {
		return nil, nil, f.err
	}
	return nil, f.wakes.wait(), nil
}

// place finds where the viewer reads on; false if it must wait for a key frame.
func (v *Viewer) place() bool {
	f := v.f
	late := v.begun && v.next < f.base+uint64(len(f.items)) && v.next >= f.base &&
		f.keyed && f.key > v.next && f.total-f.items[v.next-f.base].at > v.budget
	if v.begun && v.next >= f.base && !late {
		return true
	}
	if !f.keyed || f.key < f.base || v.begun && f.key < v.next {
		return false
	}
	if v.begun {
		f.jumps.Add(1)
		f.s.stats.jumps.Add(1)
		v.head = nil
	}
	v.next = f.key
	return true
}

// enter puts the header of item into dst; false if it does not fit there any more.
func (v *Viewer) enter(dst *[][]byte, item *feedItem) bool {
	b := item.head.again
	if !v.begun {
		b = item.head.first
	}
	if len(b) > 0 {
		if len(*dst) > 0 && len(*dst)+2 > cap(*dst) {
			return false
		}
		*dst = append(*dst, b)
	}
	v.head, v.begun = item.head, true
	return true
}

func (v *Viewer) release() {
	for i, b := range v.held {
		b.Release()
		v.held[i] = nil
	}
	v.held = v.held[:0]
}

// Frames returns how many frames of the lead track the viewer was given, and how many
// were left out between them.
func (v *Viewer) Frames() (sent, skipped int64) { return v.tally.sent, v.tally.skipped }

// AtClose has Close call f at its end.
func (v *Viewer) AtClose(f func()) { v.left = f }

// Close lets go of everything. Idempotent. The last viewer waits until the feed has
// ended.
func (v *Viewer) Close() {
	if v.closed {
		return
	}
	v.closed = true
	v.release()
	if v.left != nil {
		defer v.left()
	}
	s, f := v.f.s, v.f
	if v.crew != nil {
		v.crew.free()
	}
	s.feedMu.Lock()
	f.users--
	last := f.users == 0
	if last && s.feeds[v.kind] == f {
		delete(s.feeds, v.kind)
	}
	s.feedMu.Unlock()
	if last {
		f.cancel()
		<-f.done
		f.group.Wait()
		f.drop()
	}
}
