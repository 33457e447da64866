package chunk

import "github.com/cleave-video/cleave/av"

// enqueue keeps a packet of another track until the lead has passed it: before,
// no one knows in which chunk it belongs.
func (c *Chunker) enqueue(t *trackState, p av.Packet) {
	bytes, packets := c.waiting()
	if !c.begun && c.stats.DroppedLead > 0 && c.cfg.Bounds.exceeded(2*bytes, 2*packets) != None {
		c.dropOldest(t)
	}
	c.cfg.Arena.Pin(&t.pins, p.Track, p.Data)
	t.queue = append(t.queue, p)
	t.qbytes += int64(len(p.Data))
	c.cfg.Arena.Charge(&t.pins, int64(len(t.queue))*PacketCost)
	full := c.cfg.Bounds.exceeded(bytes+int64(len(p.Data)), packets+1) != None
	switch {
	case c.tracks[p.Track].Kind != av.Data:
		t.broke = t.broke || p.Flags&av.Discont != 0
		c.missLead(t, p, full)
	case full && c.begun:
		c.force = true
	case full: // and nothing to begin a chunk with
		c.dropOldest(t)
	}
}

// patience is how many times MaxSkew the lead track is waited for at the start.
const patience = 5

// missLead goes on without the lead track when that is silent: once another one is
// MaxSkew of media ahead of it, or more waits than a chunk may hold. One that is further
// ahead while the lead goes on, by as much all the time, waits for it: only what it has
// come further since the lead's newest packet counts then.
func (c *Chunker) missLead(t *trackState, p av.Packet, full bool) {
	tb := c.tracks[c.lead].Timebase
	at := c.tracks[p.Track].Timebase.RescaleFloor(p.PTS, tb)
	skew := tb.Ticks(c.cfg.MaxSkew)
	switch {
	case c.begun:
		if !t.alone {
			t.alone, t.from = true, c.state[c.lead].lastDTS
			if at-t.from > skew {
				t.from = at
			}
		}
		if !t.broke && at-t.from > skew {
			c.passed = max(c.passed, at-skew)
		}
	case c.stats.DroppedLead > 0:
		return // the lead is there; its key frame is not
	case full || c.tracks[p.Track].Timebase.RescaleFloor(t.waiting()[0].PTS, tb) < at-patience*skew:
		c.beginWithout(None)
		c.passed = at - skew
	}
	c.force = c.begun && full
}

// dropOldest forgets the front half of a queue that waits for a first chunk.
func (c *Chunker) dropOldest(t *trackState) {
	n := (len(t.waiting()) + 1) / 2
	for _, p := range t.waiting()[:n] {
		t.qbytes -= int64(len(p.Data))
	}
	t.drained(n)
	c.stats.DroppedOther += n
}

// assign moves packets out of the queues into the chunks they belong to. With
// c.force all goes.
func (c *Chunker) assign() {
	if len(c.open) == 0 {
		return
	}
	for i := range c.state {
		if i == c.lead {
			continue
		}
		t := &c.state[i]
		n := 0
		for _, p := range t.waiting() {
			to := c.home(i, t, &p)
			if to == nil {
				break
			}
			n++
			t.qbytes -= int64(len(p.Data))
			to.pins.ShareOf(&t.pins, p.Data)
			c.add(to, t, p)
		}
		if n > 0 {
			t.drained(n)
		}
	}
	c.force = false
}

// waiting is the queue's packets, oldest first.
func (t *trackState) waiting() []av.Packet { return t.queue[t.head:] }

// drained removes the first n packets of a queue and lets go of their slabs. The rest is
// moved to the front once it is no longer than what is free there.
func (t *trackState) drained(n int) {
	clear(t.queue[t.head : t.head+n])
	t.head += n
	left := t.waiting()
	if len(left) <= t.head {
		copy(t.queue, left)
		clear(left)
		t.queue, t.head = t.queue[:len(left)], 0
	}
	if len(t.queue) == 0 {
		t.pins.Release()
		return
	}
	t.pins.DropBefore(t.waiting()[0].Data)
}

// home returns the chunk that a packet belongs to: the first whose cut is not
// before the packet's middle. It is nil while that is unknown.
func (c *Chunker) home(track int, t *trackState, p *av.Packet) *Chunk {
	tb, lead := c.tracks[track].Timebase, c.tracks[c.lead].Timebase
	middle := p.PTS + p.Dur/2
	began := t.in == nil
	for _, o := range c.open {
		if !began && o != t.in {
			continue
		}
		began = true
		if o.isCut {
			if tb.Compare(middle, lead, o.cut) <= 0 {
				if c.fits(o, p) {
					return o
				}
				c.stats.Late++ // the byte bound goes before the time rule
			}
			continue
		}
		seen := tb.Compare(middle, lead, c.state[c.lead].lastDTS) <= 0
		if !seen && !c.force && tb.Compare(middle, lead, c.passed) > 0 {
			return nil
		}
		return c.into(o, p, !seen || c.force)
	}
	return nil
}

// into returns the open chunk o if p fits. If not, p waits for the cut that this
// forces at the next lead packet; without a lead the chunk is cut now.
func (c *Chunker) into(o *Chunk, p *av.Packet, without bool) *Chunk {
	tb, lead := c.tracks[p.Track].Timebase, c.tracks[c.lead].Timebase
	end := c.span.Start + lead.Ticks(c.cfg.Bounds.MaxDur)
	long := without && tb.Compare(p.PTS+p.Dur/2, lead, end) > 0
	switch {
	case o.packets == 0 || c.fits(o, p) && !long:
		return o
	case !without:
		return nil
	}
	o.isCut, o.cut, o.Why = true, tb.RescaleFloor(p.PTS, lead), MaxBytes
	if long {
		o.Why = MaxDur
	}
	o.Span = c.span
	return c.beginWithout(o.Why)
}

// fits reports whether p keeps o within the bounds on bytes and packets: everybody's, and
// that of a Memory policy.
func (c *Chunker) fits(o *Chunk, p *av.Packet) bool {
	after := o.bytes + int64(len(p.Data))
	if m, ok := c.used.(Memory); ok && o.bytes > 0 && after > m.MaxBytes {
		return false
	}
	return c.cfg.Bounds.exceeded(after, o.packets+1) == None
}

// beginWithout opens a chunk that has no lead packet: that track is silent or has
// ended. It ends when the track comes back.
func (c *Chunker) beginWithout(why Reason) *Chunk {
	tb := c.tracks[c.lead].Timebase
	start, first := int64(0), true
	for i := range c.state {
		if q := c.state[i].waiting(); len(q) > 0 && c.tracks[i].Kind != av.Data {
			if at := c.tracks[i].Timebase.RescaleFloor(q[0].PTS, tb); first || at < start {
				start, first = at, false
			}
		}
	}
	if n := len(c.open); n > 0 {
		start = max(start, c.open[n-1].cut) // what does not fit there
	}
	n := c.begin(av.Packet{PTS: start, DTS: start}, why)
	n.without = true
	return n
}

// split ends a chunk without the lead at the bound on its duration, if the lead comes
// back with p behind that and there are packets in between.
func (c *Chunker) split(cur *Chunk, p av.Packet) *Chunk {
	tb := c.tracks[c.lead].Timebase
	bound := c.span.Start + tb.Ticks(c.cfg.Bounds.MaxDur)
	if p.PTS <= bound {
		return cur
	}
	for i := range c.state {
		q := c.state[i].waiting()
		if len(q) == 0 || c.tracks[i].Timebase.Compare(q[len(q)-1].PTS, tb, bound) <= 0 {
			continue
		}
		cur.isCut, cur.cut, cur.Why, cur.Span = true, bound, MaxDur, c.span
		next := c.begin(av.Packet{PTS: bound, DTS: bound}, MaxDur)
		next.without = true
		return next
	}
	return cur
}

// add puts a packet into a chunk.
func (c *Chunker) add(to *Chunk, t *trackState, p av.Packet) {
	run := to.Runs[p.Track]
	if n := len(run); n > 0 && p.Flags&av.Discont != 0 && p.DTS > run[n-1].DTS {
		run[n-1].Dur = p.DTS - run[n-1].DTS // one behind the other, a gap is the sample's
	}
	to.Runs[p.Track] = append(run, p)
	to.bytes += int64(len(p.Data))
	to.packets++
	c.held++
	c.cfg.Arena.Charge(&to.pins, int64(to.packets)*PacketCost)
	t.in = to
	c.events = append(c.events, Event{Op: Add, Chunk: to, Packet: p})
}

// closeDone closes cut chunks, oldest first, that every track has passed or that
// have waited long enough.
func (c *Chunker) closeDone() {
	for len(c.open) > 0 && c.open[0].isCut && (c.complete(c.open[0]) || c.crowded()) {
		c.closeFirst()
	}
}

// crowded reports whether more is held than laggards are worth.
func (c *Chunker) crowded() bool {
	_, packets := c.waiting()
	return len(c.open) > maxOpen || c.held+packets > maxHeld*c.cfg.Bounds.MaxPackets
}

func (c *Chunker) complete(o *Chunk) bool {
	lead := c.tracks[c.lead].Timebase
	if c.passed > o.cut+lead.Ticks(c.cfg.MaxSkew) {
		return true
	}
	for i := range c.state {
		t := &c.state[i]
		switch {
		case i == c.lead:
		case !t.seen, c.tracks[i].Kind == av.Data:
			// A track that is not there, or comes when it likes, is not waited for.
		case t.in != nil && t.in != o && t.in.Seq > o.Seq:
		case len(t.waiting()) > 0 && c.tracks[i].Timebase.Compare(t.waiting()[0].PTS+t.waiting()[0].Dur/2, lead, o.cut) > 0:
		default:
			return false
		}
	}
	return true
}

func (c *Chunker) closeFirst() {
	o := c.open[0]
	c.open = append(c.open[:0], c.open[1:]...)
	c.held -= o.packets
	for i := range c.state {
		if t := &c.state[i]; t.in == o {
			t.in = nil // from now on nobody writes to it
		}
	}
	o.Span.Bytes = o.bytes
	c.finishRuns(o)
	c.events = append(c.events, Event{Op: Close, Chunk: o})
}

// finishRuns gives every packet a duration and the chunk its true end.
func (c *Chunker) finishRuns(o *Chunk) {
	for i, run := range o.Runs {
		if n := len(run); n > 0 && run[n-1].Dur <= 0 {
			run[n-1].Dur = max(c.state[i].dist, 1)
		}
	}
	end := o.Span.Start
	lead := o.Tracks[o.Lead].Timebase
	for i, run := range o.Runs {
		if i != o.Lead && len(o.Runs[o.Lead]) > 0 {
			continue
		}
		for k := range run {
			end = max(end, o.Tracks[i].Timebase.RescaleFloor(run[k].PTS+run[k].Dur, lead))
		}
	}
	o.Span.MaxPTS = end
}

// flush ends everything: no packet of these tracks follows.
func (c *Chunker) flush(why Reason) {
	c.force = true
	c.assign()
	if cur := c.current(); cur != nil {
		cur.isCut, cur.cut, cur.Why = true, c.span.MaxPTS, why
		cur.Span = c.span
	}
	for len(c.open) > 0 {
		c.closeFirst()
	}
	for i := range c.state {
		t := &c.state[i]
		c.stats.DroppedOther += len(t.waiting())
		t.queue, t.head, t.qbytes = nil, 0, 0
		t.pins.Release()
	}
}

// Close ends the stream and closes what is open. The Chunker can be used again
// after SetTracks. Close events hand over references, as Write's do.
func (c *Chunker) Close(why Reason) []Event {
	c.events = c.events[:0]
	if c.tracks != nil {
		c.flush(why)
	}
	return c.events
}

// take returns an empty chunk with one reference.
func (c *Chunker) take() *Chunk {
	c.mu.Lock()
	defer c.mu.Unlock()
	var n *Chunk
	if k := len(c.free); k > 0 {
		n = c.free[k-1]
		c.free = c.free[:k-1]
	} else {
		n = &Chunk{owner: c}
	}
	for len(n.Runs) < len(c.tracks) {
		n.Runs = append(n.Runs, nil)
	}
	n.Runs = n.Runs[:len(c.tracks)]
	n.refs.Store(1)
	return n
}

// maxKept is how many packets a list has room for that is kept.
const maxKept = 8192

// recycle keeps the memory of a released chunk's packet lists for the next.
func (c *Chunker) recycle(o *Chunk) {
	runs := o.Runs
	for i := range runs {
		if cap(runs[i]) > maxKept {
			runs[i] = nil
		}
		clear(runs[i])
		runs[i] = runs[i][:0]
	}
	pins := o.pins
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := &Chunk{owner: c, Runs: runs, pins: pins}
	if len(c.free) < 4 {
		c.free = append(c.free, fresh)
	}
}
