package live

import (
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
)

// roundsDown is what a segment may be longer than the target duration: EXTINF is
// compared with it rounded to the nearest second (RFC 8216bis 4.4.3.1). It leaves
// a frame of 20 a second to go.
const roundsDown = 450 * time.Millisecond

// soon is the least length of a stream's first chunk, which ends with its first GOP:
// players begin when it is whole.
const soon = 500 * time.Millisecond

// firstGOP watches for the second key frame of the lead, at which the length of GOPs
// is known and the promise can be made.
type firstGOP struct {
	begun  bool
	from   int64
	last   int64
	length int64 // of the longest so far
}

// policy is keyframe, which must keep what was promised to players.
func (p *publisher) policy() chunk.Policy {
	td := time.Duration(p.s.edge.Load().TargetDuration) * time.Second
	k := chunk.Keyframe{Target: p.s.hub.cfg.Target, TD: td}
	if td == 0 {
		return early{k, min(soon, p.s.hub.cfg.Target)}
	}
	return k
}

// early cuts at the first key frame that is after from the start, so that the first
// segment is one GOP.
type early struct {
	chunk.Keyframe
	after time.Duration
}

// Cut implements chunk.Policy.
func (e early) Cut(s chunk.Span, h chunk.Head) chunk.Reason {
	if h.Lead && h.Flags&av.Key != 0 && s.Frames > 0 && h.PTS-s.Start >= s.Timebase.Ticks(e.after) {
		return chunk.Grid
	}
	return e.Keyframe.Cut(s, h)
}

// longest is the longest segment that keeps the promise; 0: none was made.
func (p *publisher) longest() time.Duration {
	if td := p.s.edge.Load().TargetDuration; td > 0 {
		return time.Duration(td)*time.Second + roundsDown
	}
	return 0
}

// shareOfChunk is how much of a stream's memory a chunk's payload may be: it is there
// twice, as packets and as parts, while the one before it is closed and the one before
// that is stored.
const shareOfChunk = 8

func (p *publisher) bounds() chunk.Bounds {
	b := chunk.Bounds{MaxDur: p.s.hub.cfg.MaxChunk, MaxBytes: min(64<<20, p.s.hub.cfg.StreamMemory/shareOfChunk)}
	if d := p.longest(); d > 0 {
		b.MaxDur = d
	}
	return b
}

// promise freezes, when the first GOP of the stream's life has ended with pkt, what
// playlists promise, before the chunk that it begins.
func (p *publisher) promise(pkt av.Packet) {
	if pkt.Track != p.lead || pkt.Flags&av.Key == 0 || p.s.edge.Load().TargetDuration > 0 || p.set == nil {
		return
	}
	g := &p.first
	if !g.begun {
		*g = firstGOP{begun: true, from: pkt.PTS, last: pkt.PTS}
		return
	}
	g.length, g.last = max(g.length, pkt.PTS-g.last), pkt.PTS
	tb := p.set.tracks[p.lead].Timebase
	if p.packager != nil && tb.Duration(pkt.PTS-g.from) >= min(soon, p.s.hub.cfg.Target) {
		p.freeze(tb.Duration(g.length))
	}
}

// late makes the promise when the first chunk was closed without a second key frame.
func (p *publisher) late(c *chunk.Chunk) {
	if p.s.edge.Load().TargetDuration == 0 && p.packager != nil {
		p.freeze(c.Span.Timebase.Duration(c.Span.MaxPTS - c.Span.Start))
	}
}

// freeze makes the promise, from the length of a GOP. What was rendered before keeps it,
// too.
func (p *publisher) freeze(gop time.Duration) {
	cfg := &p.s.hub.cfg
	gop = min(gop, cfg.MaxChunk)
	for _, l := range p.lanes {
		if l.in != nil {
			gop = max(gop, l.output().Duration(l.seg.Dur))
		}
		if n := len(l.r.Segments); n > 0 {
			gop = max(gop, l.r.Segments[n-1].Duration())
		}
	}
	td := max(1, int64((cfg.Target+time.Second/2)/time.Second), int64((gop+time.Second-1)/time.Second))
	if cfg.Part > 0 {
		p.partTarget = p.packager.Promise()
	}
	p.s.change(func(e *Edge) { e.TargetDuration, e.PartTarget = td, p.partTarget })
	p.s.memory.reach(time.Duration(td) * time.Second)
	p.packager.Bound(0, p.longest())
	p.chunker.Swap(p.policy())
	if err := p.chunker.SetBounds(p.bounds()); err != nil {
		panic(err) // positive by the lines above
	}
	p.note()
	cfg.Log.Info("promised", "stream", p.s.name, "target_duration", td, "part_target", p.partTarget, "gop", gop)
	if gop > cfg.Target+cfg.Target/2 {
		cfg.Log.Warn("GOP is longer than the target: segments are as long as GOPs", "stream", p.s.name, "gop", gop, "target", cfg.Target)
	}
}

// leadGaps finds where the lead's packets are missing.
type leadGaps struct {
	begun     bool
	last, dur int64
}

// hole is what is taken for missing pictures and not for a slow one.
const hole = time.Second

// mark flags the packet behind a hole in the lead as a discontinuity: the picture
// before it is not to be shown for as long as the hole lasts.
func (g *leadGaps) mark(pkt *av.Packet, p *publisher) {
	if pkt.Track != p.lead {
		return
	}
	d := pkt.DTS - g.last
	if g.begun && d > p.in.Tracks()[p.lead].Timebase.Ticks(hole) && d > 4*g.dur {
		pkt.Flags |= av.Discont
	} else if g.begun && d > 0 {
		g.dur = d
	}
	g.begun, g.last = true, pkt.DTS
}
