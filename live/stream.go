package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/timeline"
)

// Stream is one name: at most one publisher at a time, any number of viewers.
type Stream struct {
	hub     *Hub
	name    string
	claimed atomic.Bool
	edge    atomic.Pointer[Edge]
	ring    *ring

	feedMu sync.Mutex // guards feeds
	feeds  map[string]*Feed

	mu      sync.Mutex // guards what follows
	left    time.Time  // when the publisher left; zero while one is there
	expired []expiry

	// Of the one publisher, which the claim hands on.
	epoch   uint32
	seq     int64 // of the next chunk, the MEDIA-SEQUENCE number
	end     time.Duration
	started bool // epoch and seq were read from the store
}

// expiry is an object that left the window.
type expiry struct {
	key string
	at  time.Time
}

func newStream(h *Hub, name string) *Stream {
	s := &Stream{hub: h, name: name, left: time.Now(), ring: newRing(h.cfg.Viewer, h.cfg.StreamMemory/4)}
	s.edge.Store(&Edge{changed: make(chan struct{})})
	return s
}

// Name returns the stream's name.
func (s *Stream) Name() string { return s.name }

// Edge returns what the stream offers now; never nil.
func (s *Stream) Edge() *Edge { return s.edge.Load() }

// show replaces the edge and wakes who waits for it.
func (s *Stream) show(e *Edge) {
	e.changed = make(chan struct{})
	close(s.edge.Swap(e).changed)
}

// change shows a copy of the edge that set has changed.
func (s *Stream) change(set func(e *Edge)) {
	old := s.edge.Load()
	e := &Edge{Renditions: old.Renditions, TargetDuration: old.TargetDuration, Live: old.Live, Ended: old.Ended}
	set(e)
	s.show(e)
}

// unclaim ends a publisher's turn; viewers wait for the next.
func (s *Stream) unclaim(now time.Time) {
	s.change(func(e *Edge) { e.Live = false })
	s.mu.Lock()
	s.left = now
	s.mu.Unlock()
	s.claimed.Store(false)
}

// over ends the stream when its grace has passed, and reports whether even late
// viewers have had the time to see that.
func (s *Stream) over(now time.Time) bool {
	if !s.claimed.CompareAndSwap(false, true) {
		return false
	}
	defer s.claimed.Store(false)
	s.mu.Lock()
	left := s.left
	s.mu.Unlock()
	gone := now.Sub(left)
	if gone < s.hub.cfg.Grace {
		return false
	}
	if !s.edge.Load().Ended {
		s.change(func(e *Edge) { e.Ended = true })
		s.ring.clear(true)
		s.hub.cfg.Log.Info("stream ended", "stream", s.name, "waited", s.hub.cfg.Grace)
	}
	return gone >= s.hub.cfg.Grace+s.hub.cfg.Window
}

// publisher is one turn of a stream.
type publisher struct {
	s        *Stream
	ctx      context.Context
	in       av.Demuxer
	arena    *mem.Arena // of packets
	blocks   *mem.Arena // of parts
	chunker  *chunk.Chunker
	packager *pack.Packager // nil until the first chunk opens
	tracks   []av.Track     // that packager has
	open     []gathered     // chunks that are not closed, oldest first
	set      *trackSet      // as the ring has it; nil before its first key packet
	lead     int            // of the tracks being read
	silent   bool           // the lead has nothing; the others are shown without it
	coord    *coordinator
	earliest time.Duration // the least decode time read so far
	offset   int64         // whole seconds added to every time
	placed   bool          // offset is known
	first    bool          // no chunk was cut yet
	began    time.Time
	base     time.Duration // output time of the first chunk, which was at began
}

// gathered is the parts of a chunk so far.
type gathered struct {
	id    chunk.ID
	parts []pack.Part
}

func (s *Stream) publish(ctx context.Context, d av.Demuxer) error {
	if err := s.resume(ctx); err != nil {
		return err
	}
	s.epoch++
	pool := s.hub.pool
	p := &publisher{
		s: s, ctx: ctx, in: timeline.New(d, timeline.Options{}), arena: pool.NewArena(ctx), blocks: pool.NewArena(ctx),
		first: true, earliest: 1<<63 - 1,
	}
	defer p.arena.Close()
	defer p.blocks.Close()
	defer p.drop()
	s.ring.attach(p.arena)
	var err error
	p.chunker, err = chunk.New(chunk.Config{
		Stream: s.name, Epoch: s.epoch, Seq: uint64(s.seq), Arena: p.arena,
		Policy: p.policy(), Bounds: p.bounds(),
	})
	if err != nil {
		return err
	}
	p.coord = newCoordinator(ctx, s)
	defer p.coord.wait()
	s.change(func(e *Edge) { e.Live, e.Ended = true, false })
	s.hub.cfg.Log.Info("publishing", "stream", s.name, "epoch", s.epoch)
	return p.loop()
}

// drop releases the parts of chunks that were never closed.
func (p *publisher) drop() {
	for _, g := range p.open {
		releaseParts(g.parts)
	}
	p.open = nil
}

func releaseParts(parts []pack.Part) {
	for i := range parts {
		parts[i].Block.Release()
	}
}

// policy is keyframe, which must keep what was promised to players.
func (p *publisher) policy() chunk.Policy {
	td := time.Duration(p.s.edge.Load().TargetDuration) * time.Second
	return chunk.Keyframe{Target: p.s.hub.cfg.Target, TD: td}
}

// roundsDown is what a segment may be longer than the target duration: EXTINF is
// compared with it rounded to the nearest second (RFC 8216bis 4.4.3.1). It leaves
// a frame of 20 a second to go.
const roundsDown = 450 * time.Millisecond

func (p *publisher) bounds() chunk.Bounds {
	if td := p.s.edge.Load().TargetDuration; td > 0 {
		return chunk.Bounds{MaxDur: time.Duration(td)*time.Second + roundsDown}
	}
	return chunk.Bounds{MaxDur: p.s.hub.cfg.MaxChunk}
}

// loop is the life of a packet: read and normalised, cut, rendered as part of a
// segment, and with its chunk handed to the coordinator.
func (p *publisher) loop() error {
	for {
		pkt, err := p.in.ReadPacket(p.arena)
		var events []chunk.Event
		switch {
		case err == nil:
			p.remember(pkt)
			events, err = p.chunker.Write(pkt)
			p.missLead(pkt, events)
		case errors.Is(err, av.ErrTracks):
			p.set, p.silent, p.lead = nil, false, chunk.LeadOf(p.in.Tracks())
			events, err = p.chunker.SetTracks(p.in.Tracks())
		default:
			why := chunk.End
			if p.ctx.Err() != nil {
				why = chunk.Shutdown
			}
			if terr := p.take(p.chunker.Close(why)); terr != nil && errors.Is(err, io.EOF) {
				return terr
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if terr := p.take(events); err == nil {
			err = terr
		}
		if err != nil {
			return errors.Join(fmt.Errorf("live: %s: %w", p.s.name, err), p.take(p.chunker.Close(chunk.End)))
		}
	}
}

// remember puts a packet into the ring.
func (p *publisher) remember(pkt av.Packet) {
	tracks := p.in.Tracks()
	if !p.placed {
		p.earliest = min(p.earliest, tracks[pkt.Track].Timebase.Duration(pkt.DTS))
	}
	opens := pkt.Flags&av.Key != 0 && (pkt.Track == p.lead || p.silent && tracks[pkt.Track].Kind != av.Data)
	if p.set == nil {
		if !opens {
			return
		}
		p.place()
		p.set = &trackSet{tracks: tracks, lead: p.lead, offset: p.offset}
	}
	p.silent = p.silent && pkt.Track != p.lead
	p.s.ring.write(pkt, p.set, opens)
}

// missLead notes that the chunker has gone on without the lead track.
func (p *publisher) missLead(pkt av.Packet, events []chunk.Event) {
	for _, e := range events {
		p.silent = p.silent || e.Op == chunk.Open && pkt.Track != p.lead
	}
}

// place puts the publisher's timeline behind that of the one before it: by the
// fewest whole seconds that every decode time then is behind p.s.end.
func (p *publisher) place() {
	if p.placed {
		return
	}
	p.placed = true
	if p.s.end > 0 || p.earliest < 0 {
		p.offset = int64((p.s.end - p.earliest + time.Second - 1).Truncate(time.Second) / time.Second)
	}
}

// take renders what was put into chunks and hands closed ones on. Every Close
// event is taken, also after an error.
func (p *publisher) take(events []chunk.Event) (err error) {
	for _, e := range events {
		var parts []pack.Part
		var perr error
		switch e.Op {
		case chunk.Open:
			perr = p.begin(e.Chunk)
		case chunk.Add:
			if err == nil {
				parts, perr = p.packager.Write(e.Packet, e.Chunk)
			}
		case chunk.Close:
			if err == nil {
				parts, perr = p.packager.Close(e.Chunk)
			}
		}
		p.gather(parts)
		if err == nil {
			err = perr
		}
		if e.Op == chunk.Close {
			p.commit(e.Chunk, err)
		}
	}
	return err
}

// gather keeps parts with those of their chunk.
func (p *publisher) gather(parts []pack.Part) {
	for _, part := range parts {
		for i := range p.open {
			if p.open[i].id == part.Chunk {
				p.open[i].parts = append(p.open[i].parts, part)
			}
		}
	}
}

// commit hands a closed chunk and its parts to the coordinator, unless it could
// not be rendered whole.
func (p *publisher) commit(c *chunk.Chunk, err error) {
	defer c.Release()
	for i := range p.open {
		if p.open[i].id != c.ID {
			continue
		}
		parts := p.open[i].parts
		p.open = append(p.open[:i], p.open[i+1:]...)
		if err != nil {
			releaseParts(parts)
			return
		}
		if p.first {
			p.promise(c)
		}
		p.coord.commit(p, c, parts)
		return
	}
}

// begin readies the packager for a chunk that opens. The first one places the
// publisher's timeline behind the one before it.
func (p *publisher) begin(c *chunk.Chunk) error {
	p.open = append(p.open, gathered{id: c.ID})
	p.place()
	if p.packager == nil {
		p.base = c.Tracks[c.Lead].Timebase.Duration(c.ID.Start) + time.Duration(p.offset)*time.Second
		p.began = time.Now()
		p.packager = pack.NewPackager(pack.PackagerConfig{Blocks: p.blocks, Offset: p.offset})
	}
	if len(p.tracks) > 0 && &p.tracks[0] == &c.Tracks[0] {
		return nil
	}
	p.tracks = c.Tracks
	if err := p.packager.SetTracks(c.Tracks); err != nil {
		return fmt.Errorf("none of the %d tracks fits CMAF: %w", len(c.Tracks), err)
	}
	return nil
}

// promise freezes, with the first chunk ever, what playlists promise.
func (p *publisher) promise(c *chunk.Chunk) {
	p.first = false
	if p.s.edge.Load().TargetDuration > 0 {
		return
	}
	length := c.Span.Timebase.Duration(c.Span.MaxPTS - c.Span.Start)
	round := func(d time.Duration) int64 { return int64((d + time.Second/2) / time.Second) }
	td := max(1, round(p.s.hub.cfg.Target), int64((length+time.Second-1)/time.Second))
	p.s.change(func(e *Edge) { e.TargetDuration = td })
	p.chunker.Swap(p.policy())
	if err := p.chunker.SetBounds(p.bounds()); err != nil {
		panic(err) // positive by the lines above
	}
}

// resume continues numbers behind what an earlier process has left in the store,
// and lets that expire.
func (s *Stream) resume(ctx context.Context) error {
	if s.started {
		return nil
	}
	now := time.Now()
	for info, err := range s.hub.cfg.Store.List(ctx, s.name+"/") {
		if err != nil {
			return fmt.Errorf("live: %s: %w", s.name, err)
		}
		var epoch uint64
		var seq int64
		rest := strings.Split(strings.TrimPrefix(info.Key, s.name+"/"), "/")
		if len(rest) != 2 {
			continue // of a stream whose name begins with ours
		}
		epoch, err1 := strconv.ParseUint(rest[0], 10, 32)
		seq, err2 := strconv.ParseInt(strings.TrimSuffix(rest[1], chunkSuffix), 10, 64)
		if err1 != nil || err2 != nil {
			continue
		}
		s.epoch, s.seq = max(s.epoch, uint32(epoch)), max(s.seq, seq+1)
		s.expire(info.Key, now.Add(s.hub.cfg.Window))
	}
	s.started = true
	return nil
}

// chunkSuffix ends the keys of chunk objects.
const chunkSuffix = ".chunk"

func chunkKey(name string, epoch uint32, seq int64) string {
	return fmt.Sprintf("%s/%d/%010d%s", name, epoch, seq, chunkSuffix)
}

// expire has an object deleted at the next sweep from now on.
func (s *Stream) expire(key string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = append(s.expired, expiry{key, now})
}

// expireAll lets everything go that is still listed.
func (s *Stream) expireAll() {
	seen := ""
	for _, r := range s.edge.Load().Renditions {
		for _, seg := range append(r.Past[:len(r.Past):len(r.Past)], r.Segments...) {
			if seg.Key != seen {
				s.expire(seg.Key, time.Time{})
			}
			seen = seg.Key
		}
	}
}

// deleteExpired deletes what has expired.
func (s *Stream) deleteExpired(ctx context.Context, now time.Time) {
	s.mu.Lock()
	n := 0
	for n < len(s.expired) && !s.expired[n].at.After(now) {
		n++
	}
	due := append([]expiry(nil), s.expired[:n]...)
	s.expired = append(s.expired[:0], s.expired[n:]...)
	s.mu.Unlock()
	for _, x := range due {
		if err := s.hub.cfg.Store.Delete(ctx, x.key); err != nil {
			s.hub.cfg.Log.Warn("delete", "key", x.key, "error", err)
		}
	}
}
