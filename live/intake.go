package live

import (
	"context"
	"errors"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/mem"
)

// intake is what a publisher's demuxer allocates from. Before the budget stops a
// packet, history that nobody is bound to read is given up. Then an elastic source
// waits, and one that is ahead of real time until it is not; what else a real-time source sends is dropped up to the next key frame: it goes
// into memory that is used again and again.
type intake struct {
	p        *publisher
	scratch  []byte
	dropping bool
	marks    []bool // tracks whose next packet is to be marked
	packets  int64  // dropped in a row
}

// maxScratch bounds what is used again and again.
const maxScratch = 16 << 20

// Alloc implements av.Allocator.
func (i *intake) Alloc(track, n int) ([]byte, error) {
	p := i.p
	b, err := p.arena.TryAlloc(track, n)
	for errors.Is(err, mem.ErrFull) && (p.s.memory.shed() || p.s.ring.shed()) {
		b, err = p.arena.TryAlloc(track, n)
	}
	switch {
	case !errors.Is(err, mem.ErrFull):
		return b, err
	case p.elastic:
		return p.arena.Alloc(track, n)
	}
	if wait := p.pace.ahead(time.Now()); wait > 0 {
		ctx, cancel := context.WithTimeout(p.ctx, wait)
		b, err = p.arena.AllocUntil(ctx, track, n)
		cancel()
		if err == nil || p.ctx.Err() != nil {
			return b, err
		}
	}
	switch {
	case n > maxScratch:
		return nil, err
	}
	if n > len(i.scratch) {
		i.scratch = make([]byte, max(n, 64<<10))
	}
	return i.scratch[:n:n], nil
}

// reset forgets what was of other tracks.
func (i *intake) reset() { i.marks = i.marks[:0] }

// admit reports whether a packet is to be used. One that was not stored for lack of
// memory is not, nor is any behind it before a key packet of the lead that was; the
// first of each track behind them is marked Discont.
func (i *intake) admit(pkt *av.Packet) bool {
	p := i.p
	held := p.elastic || p.arena.Holds(pkt.Track, pkt.Data)
	if !held && !i.dropping {
		i.dropping = true
		p.s.hub.cfg.Log.Warn("memory is full: packets are dropped up to a key frame", "stream", p.s.name,
			"stream_bytes", p.pool.InUse(), "all_bytes", p.s.hub.pool.InUse())
	}
	if i.dropping {
		if !held || pkt.Track != p.lead || pkt.Flags&av.Key == 0 {
			p.arena.Passed(pkt.Track, pkt.Data)
			i.packets++
			p.s.stats.dropped.Add(1)
			return false
		}
		p.s.hub.cfg.Log.Warn("memory is there again", "stream", p.s.name, "dropped_packets", i.packets)
		i.dropping, i.packets, i.scratch = false, 0, nil
		i.marks = i.marks[:0]
		for range p.in.Tracks() {
			i.marks = append(i.marks, true)
		}
	}
	if pkt.Track < len(i.marks) && i.marks[pkt.Track] {
		i.marks[pkt.Track] = false
		pkt.Flags |= av.Discont
	}
	return true
}

// pace tells how far a source has come in media time, and so whether it can be held
// up: one that sends faster than in real time, as a program does that publishes a file,
// loses nothing by it.
type pace struct {
	begun   bool
	start   time.Time
	from    time.Duration
	reached time.Duration
}

// note takes the decode time of the newest packet of the lead.
func (p *pace) note(at time.Duration, now time.Time) {
	if !p.begun {
		*p = pace{begun: true, start: now, from: at}
	}
	p.reached = max(p.reached, at-p.from)
}

// slack is how far a source may be ahead that sends in real time: it begins with what
// it had buffered.
const slack = 2 * time.Second

// ahead returns how long the source may be held up.
func (p *pace) ahead(now time.Time) time.Duration {
	if !p.begun {
		return 0
	}
	return max(0, p.reached-now.Sub(p.start)-slack)
}
