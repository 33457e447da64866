package live

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/mem"
)

// What the ring keeps beyond the GOP that is being received.
const (
	// history is how long an entry stays once it is not the newest that begins with
	// a key frame: a viewer that is later than this jumps.
	history = 5 * time.Second
	// stall is how long a batch may pin a GOP that has left the ring.
	stall = 5 * time.Second
	// restless is the least time between two wakes by packets that are not the
	// lead's. Those of the lead wake at once: 1,000 viewers are woken 30 times a
	// second, not 75 times.
	restless = 50 * time.Millisecond
	// maxEntries and maxEntryBytes bound an entry; a longer GOP goes on in a second
	// one, so that its front can leave the ring.
	maxEntryPackets = 8192
	maxEntryBytes   = 4 << 20
	// leastEntry is how long an entry of a track whose packets are all key lasts.
	leastEntry = 250 * time.Millisecond
)

// packetSize is what an entry's list needs for a packet.
const packetSize = int64(unsafe.Sizeof(av.Packet{}))

// ring is the newest GOPs of a stream. One goroutine, that of the publisher, which
// the claim hands on, writes; cursors read without a lock.
type ring struct {
	viewer int64 // bytes of history kept for viewers that are late, with what keeps them
	most   int64 // bytes kept, whatever the length of a GOP

	head  atomic.Pointer[gop] // the newest entry
	key   atomic.Pointer[gop] // the newest that begins with a key frame; nil if that left
	first atomic.Pointer[gop] // the oldest entry
	total atomic.Int64        // bytes ever appended
	ended atomic.Bool         // nobody will write any more
	wakes broadcast
	stats ringStats

	// Of the writer.
	gops  []*gop // oldest first
	seq   uint64
	leads int64 // packets of the lead track ever appended
	arena *mem.Arena
	woken time.Time

	mu       sync.Mutex // guards what follows
	cursors  map[*Cursor]struct{}
	departed []*gop // that left while a batch held them
}

type ringStats struct {
	jumps, stalls atomic.Int64
}

// trackSet is the tracks of some entries. Another one, by address, is announced to
// viewers.
type trackSet struct {
	tracks []av.Track
	lead   int
	offset int64 // whole seconds added to every time
}

// gop is an entry of the ring: a key packet and what follows it, or a Continued
// stretch of a GOP. It is append-only. Whoever reads its packets holds a reference;
// with the last one the slabs go home.
type gop struct {
	seq    uint64
	set    *trackSet
	key    bool  // false: Continued
	base   int64 // bytes appended to the ring before it
	before int64 // packets appended to the ring before it
	frames int64 // of them, those of the lead track
	opened time.Time
	start  time.Duration // decode time of the first packet

	list atomic.Pointer[[]av.Packet] // room for packets; a longer one replaces it
	n    atomic.Int64                // how many of list are there
	next atomic.Pointer[gop]         // set when nothing more is appended; nil again once left
	left atomic.Int64                // when it left the ring, in ns since the ring's process began; 0: it is in it
	refs atomic.Int32

	bytes int64    // of the writer
	pins  mem.Pins // of the writer until left
}

// tryRetain adds a reference unless the last one is gone.
func (g *gop) tryRetain() bool {
	for {
		n := g.refs.Load()
		if n <= 0 {
			return false
		}
		if g.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (g *gop) release() {
	switch n := g.refs.Add(-1); {
	case n > 0:
	case n < 0:
		panic("live: GOP released too often")
	default:
		g.list.Store(nil)
		g.pins.Release()
	}
}

// append adds a packet, visible to readers when it returns.
func (g *gop) append(a *mem.Arena, p av.Packet) {
	n := int(g.n.Load())
	list := *g.list.Load()
	if n == len(list) {
		longer := make([]av.Packet, 2*n)
		copy(longer, list)
		g.list.Store(&longer)
		list = longer
	}
	a.Pin(&g.pins, p.Track, p.Data)
	a.Charge(&g.pins, int64(len(list))*packetSize)
	list[n] = p
	g.bytes += int64(len(p.Data))
	g.n.Store(int64(n + 1))
}

func newRing(viewer, most int64) *ring {
	return &ring{viewer: viewer, most: most, cursors: make(map[*Cursor]struct{})}
}

// attach begins a publisher's turn: packets lie in a from now on.
func (r *ring) attach(a *mem.Arena) {
	r.arena = a
	r.ended.Store(false)
}

// write appends a packet. One that opens begins an entry: the key packet of a lead
// track, from which decoding can start. Before the first such, nothing is kept, and
// write returns false. The packet must be the next of its track in the arena.
func (r *ring) write(p av.Packet, set *trackSet, opens bool) bool {
	g := r.head.Load()
	if g != nil && (g.set != set || g.left.Load() != 0) {
		g = nil // waits for the first key frame of the new set
	}
	if g == nil && !opens {
		return false
	}
	now := time.Now()
	switch {
	case g == nil, opens && !g.young(&p, set):
		r.open(p, set, true, now)
	case g.n.Load() >= maxEntryPackets || g.bytes+int64(len(p.Data)) > maxEntryBytes:
		r.open(p, set, opens, now)
	default:
		g.append(r.arena, p)
	}
	r.total.Add(int64(len(p.Data)))
	if p.Track == set.lead {
		r.leads++
	}
	r.trim(now)
	if p.Track == set.lead || now.Sub(r.woken) >= restless {
		r.woken = now
		r.wakes.wake()
	}
	return true
}

// packets returns how many were ever appended.
func (r *ring) packets() int64 {
	g := r.head.Load()
	if g == nil {
		return 0
	}
	return g.before + g.n.Load()
}

// young reports whether g begins with a key packet so short before the key packet p
// that this is to go on in the same entry.
func (g *gop) young(p *av.Packet, set *trackSet) bool {
	after := set.tracks[p.Track].Timebase.Duration(p.DTS) - g.start
	return g.key && after >= 0 && after < leastEntry
}

// open begins an entry with p.
func (r *ring) open(p av.Packet, set *trackSet, key bool, now time.Time) {
	room, before := 64, int64(0)
	last := r.head.Load()
	if last != nil {
		n := last.n.Load()
		room, before = max(room, int(n)+8), last.before+n
	}
	list := make([]av.Packet, room)
	g := &gop{seq: r.seq, set: set, key: key, base: r.total.Load(), before: before, frames: r.leads, opened: now, start: set.tracks[p.Track].Timebase.Duration(p.DTS)}
	r.seq++
	g.list.Store(&list)
	g.refs.Store(1)
	g.append(r.arena, p)
	if r.gops = append(r.gops, g); len(r.gops) == 1 {
		r.first.Store(g)
	}
	if last != nil && last.left.Load() == 0 {
		last.next.Store(g)
	}
	r.head.Store(g)
	if key {
		r.key.Store(g)
	}
}

// trim lets the oldest entries go that nobody may be late enough to read.
func (r *ring) trim(now time.Time) {
	for len(r.gops) > 1 {
		old, second := r.gops[0], r.gops[1]
		key := r.key.Load()
		late := r.since(second) >= r.viewer || now.Sub(second.opened) >= history
		current := key == nil || old.seq >= key.seq
		if r.since(old) <= r.most && (current || !late) {
			return
		}
		r.leave(old, now)
	}
}

// since returns what an entry and those behind it take: payload and what keeps it.
func (r *ring) since(g *gop) int64 {
	return r.total.Load() - g.base + (r.packets()-g.before)*chunk.PacketCost
}

// newest returns the bytes from the newest key frame on. Any goroutine may ask.
func (r *ring) newest() int64 {
	g := r.key.Load()
	if g == nil {
		return 0
	}
	return r.since(g)
}

// shed lets everything go but what a new viewer starts with, and reports whether
// that was anything.
func (r *ring) shed() bool {
	now, key, shed := time.Now(), r.key.Load(), false
	for len(r.gops) > 1 && key != nil && r.gops[0].seq < key.seq {
		r.leave(r.gops[0], now)
		shed = true
	}
	return shed
}

// leave takes the oldest entry out of the ring.
func (r *ring) leave(g *gop, now time.Time) {
	r.gops[0] = nil
	r.gops = r.gops[1:]
	var first *gop
	if len(r.gops) > 0 {
		first = r.gops[0]
	}
	r.first.Store(first)
	r.key.CompareAndSwap(g, nil)
	g.left.Store(max(1, now.UnixNano()))
	g.next.Store(nil) // a cursor that sleeps on g does not keep what follows
	if g.refs.Load() > 1 {
		r.mu.Lock()
		r.departed = append(r.departed, g)
		r.mu.Unlock()
	}
	g.release()
}

// clear empties the ring, after which its cursors get io.EOF if end.
func (r *ring) clear(end bool) {
	now := time.Now()
	for len(r.gops) > 0 {
		r.leave(r.gops[0], now)
	}
	r.ended.Store(end)
	r.wakes.wake()
}

// sweep closes cursors whose batch has pinned a GOP for too long after it left.
func (r *ring) sweep(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.departed[:0]
	for _, g := range r.departed {
		if g.refs.Load() <= 0 {
			continue
		}
		kept = append(kept, g)
		if now.UnixNano()-g.left.Load() < int64(stall) {
			continue
		}
		for c := range r.cursors {
			if c.holds.Load() == g && c.stalled.CompareAndSwap(false, true) {
				r.stats.stalls.Add(1)
				if c.opts.Stalled != nil {
					c.opts.Stalled()
				}
			}
		}
	}
	clear(r.departed[len(kept):])
	r.departed = kept
}

// broadcast wakes everybody who waits, at once.
type broadcast struct {
	mu sync.Mutex // guards ch
	ch chan struct{}
}

// wait returns a channel that the next wake closes.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}
