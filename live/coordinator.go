package live

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/timeline"
)

// maxCommits is how many chunks of a stream are rendered and stored at a time. A
// publisher that cuts faster waits.
const maxCommits = 3

// coordinator takes each closed chunk through rendering and store in a goroutine
// of its own, and shows them in the order in which they were cut.
type coordinator struct {
	s      *Stream
	ctx    context.Context // of the publisher's chunks; outlives ctx of Publish by the drain
	cancel context.CancelFunc
	slots  chan struct{}
	group  sync.WaitGroup
	last   chan struct{} // closed when the chunk before has been shown

	// Of the goroutine that commits.
	tracks []av.Track
	rends  []rendition
	rates  map[string]*timeline.Rate
}

// rendition is a track that CMAF can carry.
type rendition struct {
	name  string
	track int
	kind  av.Kind
	tb    av.Timebase
	info  codec.Info
	init  string // name of its initialization section
}

func newCoordinator(ctx context.Context, s *Stream) *coordinator {
	c := &coordinator{s: s, slots: make(chan struct{}, maxCommits), last: make(chan struct{}), rates: make(map[string]*timeline.Rate)}
	close(c.last)
	// What was cut before the end is to be kept: the drain bounds how long that takes.
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(s.hub.cfg.Drain, c.cancel) })
	return c
}

// wait returns when every chunk is committed or given up.
func (c *coordinator) wait() {
	c.group.Wait()
	c.cancel()
}

// commit begins the life of a closed chunk, whose parts it takes over. It waits
// while too many are under way.
func (c *coordinator) commit(p *publisher, ck *chunk.Chunk, parts []pack.Part) {
	if len(c.tracks) == 0 || &c.tracks[0] != &ck.Tracks[0] {
		if err := c.setTracks(p.packager, ck.Tracks); err != nil {
			c.s.hub.cfg.Log.Error("chunk given up", "stream", c.s.name, "error", err)
			releaseParts(parts)
			return
		}
	}
	j := &job{
		c: c, tracks: ck.Tracks, rends: c.rends, parts: parts, seq: c.s.seq, epoch: c.s.epoch,
		before: c.last, done: make(chan struct{}), rates: make(map[string]av.Rational),
	}
	j.segments(p, ck)
	c.watch(j, ck)
	c.s.seq++
	c.s.end = max(c.s.end, end(ck)+time.Duration(p.offset)*time.Second)
	c.last = j.done
	c.slots <- struct{}{}
	c.group.Go(func() {
		defer func() { <-c.slots }()
		j.run()
	})
}

// watch notes the frame rates observed up to this chunk.
func (c *coordinator) watch(j *job, ck *chunk.Chunk) {
	for _, r := range j.rends {
		if r.kind != av.Video {
			continue
		}
		rate := c.rates[r.name]
		if rate == nil {
			rate = new(timeline.Rate)
			c.rates[r.name] = rate
		}
		for i := range ck.Runs[r.track] {
			rate.Add(ck.Runs[r.track][i].DTS)
		}
		j.rates[r.name] = rate.Verdict(r.tb).Rational
	}
}

// setTracks stores the initialization sections of a new set of tracks.
func (c *coordinator) setTracks(k *pack.Packager, tracks []av.Track) error {
	var rends []rendition
	var kinds [4]int
	for i := range tracks {
		t := &tracks[i]
		header := k.Init(i)
		if header == nil {
			if t.Kind != av.Data {
				c.s.hub.cfg.Log.Warn("track left out", "stream", c.s.name, "track", i, "codec", t.Codec.String())
			}
			continue
		}
		info, err := codec.Describe(t)
		if err != nil {
			return err
		}
		r := rendition{name: fmt.Sprintf("%s%d", t.Kind, kinds[t.Kind]), track: i, kind: t.Kind, tb: t.Timebase, info: info, init: initName(header)}
		kinds[t.Kind]++
		key := c.s.name + "/" + r.init
		if err := c.s.hub.cfg.Store.Put(c.ctx, key, newBytes(header), int64(len(header))); err != nil {
			return err
		}
		rends = append(rends, r)
	}
	c.tracks, c.rends = tracks, rends
	clear(c.rates)
	return nil
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
	tracks       []av.Track
	rends        []rendition
	parts        []pack.Part
	segs         []Segment // of rends
	rates        map[string]av.Rational
	seq          int64
	epoch        uint32
	before, done chan struct{}
}

// end is when the last packet of a chunk ends.
func end(ck *chunk.Chunk) time.Duration {
	var end time.Duration
	for i, run := range ck.Runs {
		for k := range run {
			end = max(end, ck.Tracks[i].Timebase.Duration(run[k].PTS+run[k].Dur))
		}
	}
	return end
}

// segments describes each rendition's segment, which is its parts.
func (j *job) segments(p *publisher, ck *chunk.Chunk) {
	for _, r := range j.rends {
		scale, factor := r.tb.Timescale()
		seg := Segment{
			MSN: j.seq, Epoch: j.epoch, Init: r.init, Timescale: scale,
			Discontinuity: ck.Discont, Independent: ck.Independent || r.kind != av.Video,
		}
		off := p.offset * int64(scale)
		if packets := ck.Runs[r.track]; len(packets) > 0 {
			start, end := pack.Presented(packets)
			seg.Start, seg.Dur = start*factor+off, max(1, (end-start)*factor)
		} else {
			lead := ck.Span
			seg.Gap = true
			seg.Start = lead.Timebase.Rescale(lead.Start, r.tb)*factor + off
			seg.Dur = max(1, lead.Timebase.Rescale(lead.MaxPTS-lead.Start, r.tb)*factor)
		}
		tb := av.Timebase{Num: 1, Den: scale}
		seg.Date = p.began.Add(tb.Duration(seg.Start) - p.base)
		j.segs = append(j.segs, seg)
	}
}

// run stores the chunk, then waits for its turn to be shown. A chunk that cannot
// be stored becomes a gap: the stream goes on.
func (j *job) run() {
	defer close(j.done)
	body := j.object()
	key := chunkKey(j.c.s.name, j.epoch, j.seq)
	err := j.c.s.hub.cfg.Store.Put(j.c.ctx, key, body, body.size)
	releaseParts(j.parts)
	if err != nil {
		j.c.s.hub.cfg.Log.Error("chunk not stored", "stream", j.c.s.name, "key", key, "error", err)
	}
	for i := range j.segs {
		j.segs[i].Key = key
		j.segs[i].Gap = j.segs[i].Gap || err != nil
	}
	<-j.before
	j.c.s.list(j)
}

// object is the renditions' segments, one behind the other.
func (j *job) object() *buffers {
	body := &buffers{}
	for i, r := range j.rends {
		seg := &j.segs[i]
		seg.Offset = body.size
		for k := range j.parts {
			if j.parts[k].Track == r.track {
				body.add(j.parts[k].Block.Bytes())
			}
		}
		seg.Size = body.size - seg.Offset
		seg.Gap = seg.Gap || seg.Size == 0
	}
	return body
}

// list shows a chunk's segments and drops what left the window.
func (s *Stream) list(j *job) {
	segs := j.segs
	now := time.Now()
	old := s.edge.Load()
	e := &Edge{TargetDuration: old.TargetDuration, Live: old.Live, Ended: old.Ended}
	for i, r := range j.rends {
		n := Rendition{Name: r.name, Track: j.tracks[r.track], Info: r.info, FrameRate: j.rates[r.name]}
		if was := old.Rendition(r.name); was != nil {
			n.Segments = append(n.Segments, was.Segments...)
			n.Past, n.Discontinuities = was.Past, was.Discontinuities
			if k := len(was.Segments); k > 0 {
				last := &was.Segments[k-1]
				segs[i].Discontinuity = segs[i].Discontinuity || last.Epoch != segs[i].Epoch || last.Init != segs[i].Init
			}
		}
		n.Segments = append(n.Segments, segs[i])
		s.slide(&n, i == 0, now)
		e.Renditions = append(e.Renditions, n)
	}
	s.show(e)
}

// slide moves the segments that left the window to Past, and lets the objects of
// those expire that left Past.
func (s *Stream) slide(r *Rendition, expire bool, now time.Time) {
	keep := s.newest(r.Segments)
	for i := range r.Segments[:keep] {
		if r.Segments[i].Discontinuity {
			r.Discontinuities++
		}
	}
	past := append(r.Past[:len(r.Past):len(r.Past)], r.Segments[:keep]...)
	r.Segments = r.Segments[keep:]
	gone := s.newest(past)
	if expire {
		for i := range past[:gone] {
			s.expire(past[i].Key, now)
		}
	}
	r.Past = past[gone:]
}

// newest returns from where on list is as long as the window, and at least four
// segments.
func (s *Stream) newest(list []Segment) int {
	var length time.Duration
	keep := len(list)
	for keep > 0 && (length < s.hub.cfg.Window || len(list)-keep < 4) {
		keep--
		length += av.Timebase{Num: 1, Den: list[keep].Timescale}.Duration(list[keep].Dur)
	}
	return keep
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
