package chunk

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/mem"
)

// Bounds hold for every chunk, whatever the policy wants. 0 is the default.
type Bounds struct {
	MaxDur     time.Duration // 60 s
	MaxBytes   int64         // of all tracks, payload and PacketCost for each packet: 64 MiB
	MaxFrames  int           // of the lead: 65536
	MaxPackets int           // of all tracks: 65536
}

// ErrNoLead: a set of tracks has no video and no audio.
var ErrNoLead = fmt.Errorf("chunk: no video or audio track to cut by: %w", av.ErrUnsupported)

// PacketCost is what a packet costs in memory beside its payload: the 64 bytes of an
// av.Packet, in lists that grow by a quarter while the shorter one is still there.
const PacketCost = 128

// maxHeld is how many times Bounds.MaxPackets all open chunks and what waits may have, and
// maxOpen how many chunks may be open, before tracks that lag are not waited for any more.
const (
	maxHeld = 3
	maxOpen = 4096
)

// Config is what a Chunker is made of.
type Config struct {
	Stream  string
	Epoch   uint32
	Seq     uint64 // of the first chunk
	Policy  Policy
	Bounds  Bounds
	MaxSkew time.Duration // how long a cut chunk waits for tracks that lag; 0 is 1 s
	Arena   *mem.Arena    // where the packets' Data lies; nil: the garbage-collected heap
}

func (c *Config) defaults() error {
	if c.Policy == nil {
		return errors.New("chunk: no policy")
	}
	if c.Bounds.MaxDur < 0 || c.Bounds.MaxBytes < 0 || c.Bounds.MaxFrames < 0 || c.Bounds.MaxPackets < 0 || c.MaxSkew < 0 {
		return fmt.Errorf("chunk: negative bound: %+v, skew %v", c.Bounds, c.MaxSkew)
	}
	if c.Bounds.MaxDur == 0 {
		c.Bounds.MaxDur = time.Minute
	}
	if c.Bounds.MaxBytes == 0 {
		c.Bounds.MaxBytes = 64 << 20
	}
	if c.Bounds.MaxFrames == 0 {
		c.Bounds.MaxFrames = 1 << 16
	}
	if c.Bounds.MaxPackets == 0 {
		c.Bounds.MaxPackets = 1 << 16
	}
	if c.MaxSkew == 0 {
		c.MaxSkew = time.Second
	}
	return nil
}

// Op is what an Event tells.
type Op uint8

// The operations, in the order in which a chunk sees them.
const (
	Open  Op = iota + 1 // the chunk begins
	Add                 // the packet is the chunk's
	Close               // the chunk is whole: the receiver has a reference to release
)

// Event is one step of a chunk.
type Event struct {
	Op     Op
	Chunk  *Chunk
	Packet av.Packet // of Add
}

// Stats count what was not put into any chunk.
type Stats struct {
	DroppedLead  int // lead packets before the first key frame
	DroppedOther int // packets of other tracks that end before the first chunk
	Late         int // packets put into a later chunk than their time says
}

// Chunker cuts one stream. Its methods belong to one goroutine, but for Swap.
type Chunker struct {
	cfg    Config
	policy atomic.Pointer[Policy]
	used   Policy // of the open chunk

	tracks []av.Track
	lead   int
	state  []trackState
	open   []*Chunk // at most one not cut, the last; those before wait for laggards
	held   int      // packets of open
	span   Span     // of the last one
	minPTS int64    // of its lead packets
	keyAt  int64    // bytes of the chunk before its newest key
	disc   bool     // the next chunk begins a timeline
	seq    uint64
	begun  bool  // the first chunk was opened
	keyed  bool  // the first key frame came
	passed int64 // what is before, the lead has passed, or is not waited for
	force  bool  // assign everything
	stats  Stats
	events []Event

	mu   sync.Mutex // guards free: chunks are released anywhere
	free []*Chunk
}

// trackState is what is kept of each track.
type trackState struct {
	queue   []av.Packet // from head on, not yet assigned
	head    int
	qbytes  int64
	pins    mem.Pins // of the queue
	lastDTS int64
	dist    int64 // of the newest two DTS
	seen    bool
	broke   bool   // its timeline broke; that of the lead, not yet
	alone   bool   // it has had a packet since the lead had one
	from    int64  // where it was then, in ticks of the lead; valid if alone
	in      *Chunk // where the newest packet went, while that is open
}

// New returns a Chunker without tracks.
func New(cfg Config) (*Chunker, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	c := &Chunker{cfg: cfg, seq: cfg.Seq, lead: -1}
	c.Swap(cfg.Policy)
	c.used = cfg.Policy
	return c, nil
}

// Swap makes p the policy from the next chunk on. Safe from any goroutine.
func (c *Chunker) Swap(p Policy) { c.policy.Store(&p) }

// SetBounds changes the bounds, from the next packet on.
func (c *Chunker) SetBounds(b Bounds) error {
	cfg := c.cfg
	cfg.Bounds = b
	if err := cfg.defaults(); err != nil {
		return err
	}
	c.cfg = cfg
	return nil
}

// Stats returns what was dropped so far.
func (c *Chunker) Stats() Stats { return c.stats }

// SetTracks begins a set of tracks: what is open is closed with Why Tracks, and
// the next chunk is marked Discont. It must come before the first Write. The
// events are valid until the next call.
func (c *Chunker) SetTracks(tracks []av.Track) ([]Event, error) {
	lead := LeadOf(tracks)
	if lead < 0 {
		return nil, ErrNoLead
	}
	c.events = c.events[:0]
	if c.tracks != nil {
		c.flush(Tracks)
		c.disc = true
	}
	c.tracks, c.lead = tracks, lead
	c.state = make([]trackState, len(tracks))
	c.begun, c.keyed = false, false
	c.passed = math.MinInt64
	return c.events, nil
}

// LeadOf returns the index of the lead track: the first video track, else the first
// audio track; -1 if there is neither.
func LeadOf(tracks []av.Track) int {
	lead := -1
	for i := range tracks {
		switch tracks[i].Kind {
		case av.Video:
			return i
		case av.Audio:
			if lead < 0 {
				lead = i
			}
		}
	}
	return lead
}

// Write takes the next packet, of any track. The events are valid until the next
// call; a Close event hands over a reference to the chunk.
func (c *Chunker) Write(p av.Packet) ([]Event, error) {
	if c.events = c.events[:0]; cap(c.events) > maxKept {
		c.events = nil
	}
	if p.Track < 0 || p.Track >= len(c.tracks) {
		return nil, fmt.Errorf("chunk: packet of track %d, %d tracks set", p.Track, len(c.tracks))
	}
	t := &c.state[p.Track]
	c.distance(t, &p)
	if p.Track == c.lead {
		c.writeLead(t, p)
	} else {
		c.enqueue(t, p)
	}
	c.assign()
	c.closeDone()
	return c.events, nil
}

// distance learns the track's frame distance, and gives the packet before p the
// duration that its successor shows: what a sample lasts in ISO BMFF is the distance
// to the next.
func (c *Chunker) distance(t *trackState, p *av.Packet) {
	if last := c.newest(t, p.Track); t.seen {
		if d := p.DTS - t.lastDTS; d > 0 && p.Flags&av.Discont == 0 {
			t.dist = d
			if last != nil {
				last.Dur = d
			}
		} else if last != nil && last.Dur <= 0 {
			last.Dur = max(t.dist, 1)
		}
	}
	t.seen, t.lastDTS = true, p.DTS
	if p.Dur > 0 && t.dist == 0 {
		t.dist = p.Dur
	}
	if p.Dur <= 0 {
		p.Dur = t.dist
	}
}

// newest returns the newest packet of a track, wherever it is; nil if it was
// handed over.
func (c *Chunker) newest(t *trackState, track int) *av.Packet {
	if n := len(t.queue); n > t.head {
		return &t.queue[n-1]
	}
	if t.in == nil || len(t.in.Runs[track]) == 0 {
		return nil
	}
	run := t.in.Runs[track]
	return &run[len(run)-1]
}

func (c *Chunker) writeLead(t *trackState, p av.Packet) {
	cur := c.current()
	c.keyed = c.keyed || p.Flags&av.Key != 0
	if !c.keyed {
		c.stats.DroppedLead++
		c.cfg.Arena.Passed(p.Track, p.Data)
		return
	}
	if cur == nil {
		cur = c.begin(p, None)
	} else if why := c.decide(cur, p); why != None {
		if cur.without {
			cur = c.split(cur, p)
		}
		c.cut(cur, p, why)
		cur = c.begin(p, why)
	}
	c.passed = max(c.passed, p.DTS)
	for i := range c.state {
		c.state[i].alone = false
	}
	c.cfg.Arena.Pin(&cur.pins, p.Track, p.Data)
	c.classify(cur, &p)
	c.add(cur, t, p)
	c.extend(cur, p)
}

func (c *Chunker) current() *Chunk {
	if n := len(c.open); n > 0 && !c.open[n-1].isCut {
		return c.open[n-1]
	}
	return nil
}

// decide asks the bounds, then the policy, whether the chunk ends before p.
func (c *Chunker) decide(cur *Chunk, p av.Packet) Reason {
	if p.Flags&av.Discont != 0 {
		return Discont
	}
	if cur.without {
		return Lead
	}
	s := &c.span
	bytes, packets := c.waiting()
	s.Bytes, packets = cur.bytes+bytes, cur.packets+packets
	s.GOPBytes = s.Bytes - c.keyAt
	// The frames so far last as long as what they cover: there is no gap that a
	// later packet fills. DTS >= max(PTS) would say so, too, but with two frames
	// of reordering that never comes true inside a GOP.
	s.Safe = p.DTS-s.DTS+p.Dur/2 >= s.MaxPTS-c.minPTS
	key := p.Flags&av.Key != 0
	if why := c.cfg.Bounds.exceeded(s.Bytes+int64(len(p.Data)), packets+1); why != None {
		return why
	}
	if key || s.Safe {
		if p.PTS+p.Dur-s.Start > s.Timebase.Ticks(c.cfg.Bounds.MaxDur+rounded) {
			return MaxDur
		}
		if s.Frames >= c.cfg.Bounds.MaxFrames {
			return MaxFrames
		}
	}
	if s.Frames >= 2*c.cfg.Bounds.MaxFrames { // no safe place for as long
		return MaxFrames
	}
	why := c.used.Cut(*s, Head{Lead: true, PTS: p.PTS, DTS: p.DTS, Dur: p.Dur, Flags: p.Flags, Size: len(p.Data)})
	if why == None && key && s.Frames > 0 {
		return c.ahead(p)
	}
	return why
}

// rounded is by how much GOPs of one length differ in containers whose ticks are long.
const rounded = 2 * time.Millisecond

// ahead is the bound that one more GOP like the last would exceed: it is kept at the key
// frame p, and not inside that GOP.
func (c *Chunker) ahead(p av.Packet) Reason {
	s, b := &c.span, &c.cfg.Bounds
	if p.PTS-s.Start+p.PTS-s.LastKey > s.Timebase.Ticks(b.MaxDur+rounded) {
		return MaxDur
	}
	frames := s.Frames + s.GOPFrames
	if why := b.exceeded(s.Bytes+s.GOPBytes, frames); why != None {
		return why
	}
	if frames > b.MaxFrames {
		return MaxFrames
	}
	return None
}

// exceeded is the bound that so many packets are beyond, of so much payload.
func (b *Bounds) exceeded(bytes int64, packets int) Reason {
	switch {
	case bytes+int64(packets)*PacketCost > b.MaxBytes:
		return MaxBytes
	case packets > b.MaxPackets:
		return MaxFrames
	}
	return None
}

// waiting returns the payload and the number of packets not yet assigned.
func (c *Chunker) waiting() (bytes int64, packets int) {
	for i := range c.state {
		bytes += c.state[i].qbytes
		packets += len(c.state[i].waiting())
	}
	return bytes, packets
}

// cut ends the open chunk before p.
func (c *Chunker) cut(cur *Chunk, p av.Packet, why Reason) {
	cur.isCut, cur.cut, cur.Why, cur.nextLead = true, p.PTS, why, p.DTS
	if why == Discont {
		cur.cut = max(p.PTS, c.span.MaxPTS)
		c.disc = true
		c.passed = p.DTS
		for i := range c.state {
			c.state[i].broke = false
		}
	}
	cur.Span = c.span
}

// begin opens a chunk at p.
func (c *Chunker) begin(p av.Packet, why Reason) *Chunk {
	n := c.take()
	n.ID = ID{c.cfg.Stream, c.cfg.Epoch, p.PTS}
	n.Seq, n.Tracks, n.Lead, n.Opened, n.Discont = c.seq, c.tracks, c.lead, why, c.disc
	n.Independent = p.Flags&(av.Key|av.Gradual) == av.Key
	n.openKey, n.keyPTS = p.Flags&av.Open != 0, p.PTS
	c.seq++
	c.disc = false
	c.used = *c.policy.Load()
	last := c.span
	c.span = Span{Timebase: c.tracks[c.lead].Timebase, Start: p.PTS, DTS: p.DTS, MaxPTS: p.PTS, LastKey: p.PTS}
	c.minPTS, c.keyAt = p.PTS, 0
	if c.begun && p.Flags&av.Key != 0 {
		c.span.LastGOP, c.span.LastGOPFrames, c.span.LastGOPBytes = p.PTS-last.LastKey, last.GOPFrames, last.GOPBytes
	}
	if !c.begun {
		c.begun = true
		c.dropBefore(p)
	}
	c.open = append(c.open, n)
	c.events = append(c.events, Event{Op: Open, Chunk: n})
	return n
}

// dropBefore drops what waits of other tracks and ends before the first chunk, if
// lead packets were dropped, too: it belonged to those.
func (c *Chunker) dropBefore(p av.Packet) {
	if c.stats.DroppedLead == 0 {
		return
	}
	lead := c.tracks[c.lead].Timebase
	for i := range c.state {
		t := &c.state[i]
		n := 0
		for _, q := range t.waiting() {
			if c.tracks[i].Timebase.Compare(q.PTS+q.Dur/2, lead, p.PTS) > 0 {
				break
			}
			t.qbytes -= int64(len(q.Data))
			n++
		}
		t.drained(n)
		c.stats.DroppedOther += n
	}
}

// classify decides, while leading pictures may still come, whether the chunk can
// be decoded alone. An H.264 recovery point does not mark them: their times do.
func (c *Chunker) classify(cur *Chunk, p *av.Packet) {
	if !cur.openKey || p.PTS == cur.keyPTS {
		return
	}
	switch {
	case p.Flags&av.Leading != 0:
		cur.Independent = false
	case p.PTS < cur.keyPTS && c.tracks[c.lead].Codec == av.H264:
		p.Flags |= av.Leading
		cur.Independent = false
	case p.PTS > cur.keyPTS:
		cur.openKey = false
	}
}

// extend brings the span up to date with a lead packet.
func (c *Chunker) extend(cur *Chunk, p av.Packet) {
	s := &c.span
	if p.Flags&av.Key != 0 {
		if s.Keys > 0 {
			s.LastGOP, s.LastGOPFrames, s.LastGOPBytes = p.PTS-s.LastKey, s.GOPFrames, s.GOPBytes
		}
		s.Keys++
		s.LastKey, s.GOPFrames = p.PTS, 0
		c.keyAt = cur.bytes - int64(len(p.Data))
	}
	s.Frames++
	s.GOPFrames++
	c.minPTS = min(c.minPTS, p.PTS)
	s.MaxPTS = max(s.MaxPTS, p.PTS+p.Dur)
	s.Bytes = cur.bytes
}
