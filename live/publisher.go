package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/live/journal"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/timeline"
)

// publisher is one turn of a stream.
type publisher struct {
	s        *Stream
	ctx      context.Context
	in       av.Demuxer
	elastic  bool
	shown    func()     // PublishOptions.Shown, until it was called
	pool     *mem.Pool  // of this turn
	arena    *mem.Arena // of packets
	blocks   *mem.Arena // of parts
	chunker  *chunk.Chunker
	packager *pack.Packager // nil until the first chunk opens
	tracks   []av.Track     // that packager has
	lanes    []*lane        // of tracks that CMAF can carry
	derived  []*derived     // what stages make of them
	rates    []av.Rational  // of tracks, for stages; nil: not known yet
	before   []*chunk.Chunk // that the next cannot be decoded without
	open     []*opened      // chunks that are not closed, oldest first
	stretch  *Stretch       // of the newest chunk
	whole    wholeSegments  // of AES-128
	coord    *coordinator
	journal  *journal.Writer // nil: none
	intake   intake
	claimed  int64 // numbers below it are claimed in the index
	changed  bool  // the edge

	set        *trackSet // as the ring has it; nil before its first key packet
	lead       int       // of the tracks being read
	silent     bool      // the lead has nothing; the others are shown without it
	pace       pace
	gaps       leadGaps
	first      firstGOP
	partTarget time.Duration // promised

	earliest time.Duration // the least decode time read so far
	placed   bool          // offset is known
	offset   int64         // whole seconds added to every time
}

func (s *Stream) publish(ctx context.Context, d av.Demuxer, o PublishOptions) error {
	if err := s.resume(ctx); err != nil {
		return err
	}
	if s.sealer != nil {
		if err := s.sealer.begin(ctx); err != nil {
			return err
		}
		defer s.keepKeys(ctx)()
	}
	s.epoch++
	pool := s.newPool()
	p := &publisher{
		s: s, ctx: ctx, in: timeline.New(d, timeline.Options{}), elastic: o.Elastic, shown: o.Shown,
		pool: pool, arena: pool.NewArena(ctx), blocks: pool.NewOverdraft(), earliest: 1<<63 - 1,
	}
	p.intake.p = p
	defer p.arena.Close()
	defer p.blocks.Close()
	defer p.end()
	s.ring.attach(p.arena)
	var err error
	p.chunker, err = chunk.New(chunk.Config{
		Stream: s.name, Epoch: s.epoch, Seq: uint64(s.seq), Arena: p.arena,
		Policy: p.policy(), Bounds: p.bounds(),
	})
	if err != nil {
		return err
	}
	p.partTarget = s.edge.Load().PartTarget
	p.openBook()
	p.openJournal()
	p.coord = newCoordinator(ctx, s, pool)
	p.coord.journal = p.journal
	s.change(func(e *Edge) { e.Live, e.Ended = true, false })
	s.hub.cfg.Log.Info("publishing", "stream", s.name, "epoch", s.epoch, "elastic", o.Elastic)
	return p.loop()
}

// end shows viewers the last packets, lets go of what was never closed, and waits for
// what was.
func (p *publisher) end() {
	p.s.ring.wakes.wake()
	for _, l := range p.lanes {
		l.discard()
	}
	for _, o := range p.open {
		o.release()
	}
	p.open = nil
	if p.packager != nil && p.packager.Opaque() > 0 {
		p.s.hub.cfg.Log.Warn("headers of slices could not be read, and are encrypted with them", "stream", p.s.name, "slices", p.packager.Opaque())
	}
	p.letGo()
	if p.coord != nil {
		p.coord.wait(p.elastic)
		p.accept()
		p.show()
	}
	if p.journal != nil {
		p.journal.Close()
	}
	if p.coord != nil {
		p.closeBook()
	}
	p.s.memory.shed()
}

func (o *opened) release() {
	for _, l := range o.blocks {
		for _, b := range l {
			b.Release()
		}
	}
	o.blocks = nil
}

// loop is the life of a packet: read and normalised, put into the ring, cut, rendered
// as part of a segment, shown, and with its chunk handed to the coordinator.
func (p *publisher) loop() error {
	for {
		pkt, err := p.in.ReadPacket(&p.intake)
		var events []chunk.Event
		switch {
		case err == nil:
			if !p.intake.admit(&pkt) {
				continue
			}
			p.gaps.mark(&pkt, p)
			p.remember(pkt)
			p.promise(pkt)
			events, err = p.chunker.Write(pkt)
			p.missLead(pkt, events)
		case errors.Is(err, av.ErrTracks):
			p.reset()
			events, err = p.chunker.SetTracks(p.in.Tracks())
		default:
			return p.finishAll(err)
		}
		if terr := p.take(events); err == nil {
			err = terr
		}
		if err != nil {
			return errors.Join(fmt.Errorf("live: %s: %w", p.s.name, err), p.take(p.chunker.Close(chunk.End)))
		}
	}
}

// finishAll closes what is open when the input ended with err.
func (p *publisher) finishAll(err error) error {
	why := chunk.End
	if p.ctx.Err() != nil {
		why = chunk.Shutdown
	}
	if terr := p.take(p.chunker.Close(why)); terr != nil && errors.Is(err, io.EOF) {
		return terr
	}
	switch {
	case p.ctx.Err() != nil:
		return context.Cause(p.ctx)
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// reset begins a set of tracks.
func (p *publisher) reset() {
	p.set, p.silent, p.lead = nil, false, chunk.LeadOf(p.in.Tracks())
	p.gaps, p.first = leadGaps{}, firstGOP{}
	p.intake.reset()
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
	if pkt.Track == p.lead {
		p.pace.note(tracks[pkt.Track].Timebase.Duration(pkt.DTS), time.Now())
	}
	p.s.ring.write(pkt, p.set, opens)
	if p.shown != nil {
		p.shown()
		p.shown = nil
	}
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

// take renders what was put into chunks, hands closed ones on, and shows what came
// of it. Every Close event is taken, also after an error.
func (p *publisher) take(events []chunk.Event) (err error) {
	for _, e := range events {
		var perr error
		switch e.Op {
		case chunk.Open:
			perr = p.start(e.Chunk)
		case chunk.Add:
			if err == nil {
				perr = p.put(e.Packet, e.Chunk)
			}
		case chunk.Close:
			perr = p.close(e.Chunk, err == nil)
		}
		if err == nil {
			err = perr
		}
	}
	p.accept()
	p.show()
	return err
}

// opened returns the open chunk c.
func (p *publisher) opened(c *chunk.Chunk) *opened {
	for _, o := range p.open {
		if o.c == c {
			return o
		}
	}
	return nil
}

// start readies the packager for a chunk that opens. The first one places the
// publisher's timeline behind the one before it.
func (p *publisher) start(c *chunk.Chunk) error {
	p.place()
	begins := c.Tracks[c.Lead].Timebase.Duration(c.ID.Start) + time.Duration(p.offset)*time.Second
	now, first := p.s.hub.now(), p.packager == nil
	if first {
		p.packager = pack.NewPackager(pack.PackagerConfig{Blocks: p.blocks, Offset: p.offset, Target: p.s.hub.cfg.Part, Seal: p.s.samples()})
		p.packager.Bound(p.partTarget, p.longest())
	}
	if first || c.Discont {
		p.s.clock.reset(begins, now)
	}
	o := &opened{
		c: c, object: &object{key: chunkKey(p.s.name, p.s.epoch, int64(c.Seq))},
		zero: p.s.clock.observe(begins, now), parts: p.partTarget > 0, samples: p.s.samples() != nil,
	}
	p.open = append(p.open, o)
	if x := p.s.sealer; x != nil { // before the tracks: their headers name its key
		var err error
		if o.period, err = x.opens(p.ctx, c.Seq, o.zero.Add(begins), p.elastic); err != nil {
			return err
		}
	}
	if len(p.tracks) == 0 || &p.tracks[0] != &c.Tracks[0] {
		p.tracks, o.first = c.Tracks, true
		if err := p.packager.SetTracks(c.Tracks); err != nil {
			p.lanes = nil
			return fmt.Errorf("none of the %d tracks fits CMAF: %w", len(c.Tracks), err)
		}
		if err := p.newLanes(c.Tracks); err != nil {
			return err
		}
	}
	if o.samples {
		if err := p.packager.Use(o.period); err != nil {
			return err
		}
	}
	o.inits = p.sections()
	p.stretchTo(o, begins)
	o.blocks = make([][]*mem.Block, len(p.lanes))
	p.journalChunk(o)
	p.s.seq = int64(c.Seq) + 1 // it will be listed
	if p.s.seq > p.claimed-ahead/2 {
		p.note()
	}
	return nil
}

// maxDrift is how far the dates may go from a Stretch that does not end.
const maxDrift = time.Second

// stretchTo puts a chunk, which begins at the media time begins, into the stretch it
// goes on with, or into a new one.
func (p *publisher) stretchTo(o *opened, begins time.Duration) {
	date := o.zero.Add(begins)
	if x := p.stretch; x != nil && !o.first && !o.c.Discont {
		tb := av.Timebase{Num: 1, Den: x.Timescale}
		if drift := date.Sub(x.Date.Add(begins - tb.Duration(x.Start))); max(drift, -drift) < maxDrift {
			o.in = x
			return
		}
	}
	scale, factor := o.c.Tracks[o.c.Lead].Timebase.Timescale()
	p.stretch = &Stretch{
		First: int64(o.c.Seq), Start: o.c.ID.Start*factor + p.offset*int64(scale), Timescale: scale, Date: date.Truncate(time.Millisecond),
	}
	o.in = p.stretch
}

// put renders a packet of an open chunk.
func (p *publisher) put(pkt av.Packet, c *chunk.Chunk) error {
	o := p.opened(c)
	if o.first && pkt.Track != c.Lead && c.Tracks[pkt.Track].Timebase.Compare(pkt.PTS+pkt.Dur, c.Tracks[c.Lead].Timebase, c.ID.Start) <= 0 {
		p.s.stats.early.Add(1)
		return nil // sound before the first picture
	}
	parts, err := p.packager.Write(pkt, c)
	if aerr := p.addAll(parts); err == nil {
		err = aerr
	}
	if l := p.lane(pkt.Track); l != nil && err == nil {
		err = p.arrive(l, o, &pkt)
	}
	return err
}

// addAll takes parts over. After the first that must not be shown none is.
func (p *publisher) addAll(parts []pack.Part) (err error) {
	for i := range parts {
		l := p.lane(parts[i].Track)
		if l != nil && l.in != nil && err == nil {
			err = l.in.owns(&parts[i])
		}
		if l != nil && l.in != nil && err == nil {
			p.add(l, &parts[i])
		} else {
			parts[i].Block.Release()
		}
	}
	return err
}

// close lists what a closed chunk has left in each rendition, and hands it to the
// coordinator. It takes the reference over.
func (p *publisher) close(c *chunk.Chunk, render bool) (err error) {
	defer c.Release()
	p.s.stats.count(c)
	o := p.opened(c)
	if render && p.packager != nil && len(p.lanes) > 0 {
		var parts []pack.Part
		parts, err = p.packager.Close(c)
		if aerr := p.addAll(parts); err == nil {
			err = aerr
		}
	}
	p.late(c)
	for _, l := range p.lanes {
		switch {
		case l.in == o:
			if ferr := p.finish(l); err == nil {
				err = ferr
			}
		case l.r.Last() < int64(c.Seq):
			p.gap(l, o)
		}
		if l.r.Track.Kind == av.Video {
			l.r.FrameRate = l.rate.Verdict(l.tb).Rational
		}
	}
	p.s.end = max(p.s.end, endOf(c)+time.Duration(p.offset)*time.Second)
	for i, x := range p.open {
		if x == o {
			p.open = append(p.open[:i], p.open[i+1:]...)
			break
		}
	}
	if len(p.lanes) > 0 {
		wait := p.pace.ahead(time.Now())
		if p.elastic || p.ctx.Err() != nil {
			wait = 1<<63 - 1
		}
		p.coord.commit(p, o, wait)
	}
	return err
}

// endOf is when the last packet of a chunk ends.
func endOf(ck *chunk.Chunk) time.Duration {
	var end time.Duration
	for i, run := range ck.Runs {
		for k := range run {
			end = max(end, ck.Tracks[i].Timebase.Duration(run[k].PTS+run[k].Dur))
		}
	}
	return end
}
