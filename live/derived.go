package live

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/stage"
)

// derived is a rendition that a stage makes of a lane's chunks when they are closed. It
// belongs to the publisher's goroutine, which takes over what comes, chunk by chunk.
type derived struct {
	made  string // its name among those that are made
	r     Rendition
	of    *lane
	heirs int64 // key frames so far
	late  int64 // chunks that were not made before the first that was
}

// known is what is said of a rendition, and of its gaps.
type known struct {
	init   string
	header []byte // nil: it was stored long ago
	info   *codec.Info
	track  av.Track
	// settled: segments since the last discontinuity have it, and others must not differ.
	settled bool
}

// made is a segment of a derived rendition, in the order of the chunks. One of which no
// init is known yet is none.
type made struct {
	name  string
	seg   Segment
	track av.Track
}

// derive readies the renditions that stages make of the lanes, which continue those of
// the same name.
func (p *publisher) derive(tracks []av.Track) {
	p.derived, p.rates = nil, nil
	if p.s.sealer != nil {
		return // it would be in the clear
	}
	for _, s := range p.s.hub.cfg.Stages {
		m, ok := s.(stage.Maker)
		if !ok {
			continue
		}
		for _, r := range m.Makes(p.s.name, tracks) {
			of := p.lane(r.Of)
			if of == nil || r.Of != p.lead {
				continue
			}
			if len(p.lanes)+len(p.derived) == index.MaxTracks {
				p.s.hub.cfg.Log.Warn("rendition left out", "stream", p.s.name, "rendition", r.Name, "tracks", len(p.lanes))
				continue
			}
			name := of.r.Name + "-" + r.Name
			d := &derived{made: r.Name, r: Rendition{Name: name, Track: av.Track{Kind: of.r.Track.Kind}}, of: of, heirs: p.s.account.keys}
			if was := p.s.edge.Load().Rendition(name); was != nil {
				d.r = *was
				d.r.Open = nil
				if n := len(was.Segments); n > 0 {
					d.heirs = was.Segments[n-1].FirstKey + int64(len(was.Segments[n-1].Keys))
				}
			}
			p.derived = append(p.derived, d)
		}
	}
}

// take makes segments of what the stages made, when those of the chunks before are, and
// adds them to the object. What was not made is a gap.
func (j *job) take() {
	w, g := j.work, j.c.staging
	if w == nil {
		return
	}
	defer close(w.done)
	<-w.before
	for i := range w.list {
		x := &w.list[i]
		if k, ok := g.known[x.name]; ok && x.seg.Discontinuity {
			k.settled = false
			g.known[x.name] = k
		}
		err := j.segment(x)
		j.c.tell(w, x.name, err)
		k, ok := g.known[x.name]
		if !ok {
			k.track = x.of.r.Track
		}
		x.seg.Init, x.seg.Info, x.seg.section, x.seg.object = k.init, k.info, len(j.at), j.object
		g.give(made{x.name, x.seg, k.track})
		if ok {
			j.addTrack(x)
		}
	}
}

// tell counts, and logs when it changes whether chunks have what they should.
func (c *coordinator) tell(w *work, name string, err error) {
	g, log := c.staging, c.s.hub.cfg.Log
	if errors.Is(err, errNothing) {
		return
	}
	if err == nil {
		c.s.stats.derived.Add(1)
		if g.said && !g.well {
			log.Info("rendition goes on", "stream", c.s.name, "rendition", name, "chunk", w.object.Chunk.Seq)
		}
		g.well, g.said = true, true
		return
	}
	c.s.stats.underived.Add(1)
	if g.well || !g.said {
		log.Error("rendition not made: gaps until it can be", "stream", c.s.name, "rendition", name, "error", err)
	}
	g.well, g.said = false, true
}

// segment renders what was made for x, with the source's times.
func (j *job) segment(x *derivation) error {
	var m *stage.Made
	for i := range j.work.object.Made {
		if j.work.object.Made[i].Name == x.made {
			m = &j.work.object.Made[i]
		}
	}
	switch {
	case m == nil && j.work.err != nil:
		return j.work.err
	case m == nil || len(m.Packets) == 0:
		return fmt.Errorf("live: no stage has made %s", x.name)
	}
	if err := j.describe(x, m); err != nil {
		return err
	}
	l, s := x.of, &x.seg
	last := len(m.Packets) - 1
	for i := range m.Packets[:last] {
		m.Packets[i].Dur = m.Packets[i+1].DTS - m.Packets[i].DTS
	}
	m.Packets[last].Dur = max(1, (s.End()-l.off)/l.factor-m.Packets[last].DTS)
	if m.Packets[0].DTS*l.factor+l.off < 0 {
		return fmt.Errorf("live: %s begins before 0", x.name)
	}
	gather(m.Packets)
	var r pack.Segment
	r.Render(m.Packets, pack.Style{TrackID: uint32(l.track + 1), Timebase: l.tb, Offset: l.off / int64(l.scale), Video: m.Track.Kind == av.Video}, uint32(s.MSN)+1)
	block, err := j.c.staging.blocks.NewBlock(0, int(r.Size))
	if err != nil {
		return err
	}
	b := block.Bytes()
	for _, buf := range r.Bufs {
		b = b[copy(b, buf):]
	}
	for _, k := range r.Keys {
		s.Keys = append(s.Keys, Key{PTS: k.PTS*l.factor + l.off, Offset: k.Offset, Size: k.Size})
	}
	s.Parts = []Part{{DTS: s.DTS, Dur: s.Dur, Size: r.Size, Independent: true, block: block}}
	s.Size, s.Gap = r.Size, false
	block.Retain() // for the store, beside who shows it
	j.blocks = append(j.blocks, []*mem.Block{block})
	return nil
}

// gather puts the payload of packets behind each other, as pack.Segment has it.
func gather(packets []av.Packet) {
	size := 0
	for i := range packets {
		size += len(packets[i].Data)
	}
	all := make([]byte, 0, size)
	for i := range packets {
		at := len(all)
		all = append(all, packets[i].Data...)
		packets[i].Data = all[at:len(all):len(all)]
	}
}

// describe makes the initialization section of a rendition, unless it is known.
func (j *job) describe(x *derivation, m *stage.Made) error {
	header, err := mp4.AppendInit(nil, &m.Track, uint32(x.of.track+1), 0)
	if err != nil {
		return err
	}
	name, k := initName(header), j.c.staging.known[x.name]
	switch {
	case k.settled && k.init != name:
		return fmt.Errorf("live: %s has another header, %s after %s, and nothing has changed", x.name, name, k.init)
	case k.init == name:
		k.settled = true
		j.c.staging.known[x.name] = k
		return nil
	}
	info, err := codec.Describe(&m.Track)
	if err != nil {
		return err
	}
	j.c.staging.known[x.name] = known{name, header, &info, m.Track, true}
	j.c.s.headers.put(name, header)
	return nil
}

// derivedTrack is what the index keeps of a segment that a stage made.
func derivedTrack(name string, s *Segment, at int64) index.Track {
	return index.Track{Name: name, Init: s.Init, Timescale: s.Timescale, Start: s.Start, Duration: max(s.Dur, 1), Offset: at, Size: s.Size, Gap: s.Gap, Independent: true}
}

// withGaps returns an entry in which the renditions are gaps that stages make, behind the
// others: they are not there yet, and would be lost in a crash. One whose header is neither
// stored nor kept with the chunk's parts is left out: the header may be nowhere then.
func (p *publisher) withGaps(o *opened, e index.Entry) *index.Entry {
	if len(o.kin) > 0 {
		e.Tracks = slices.Clone(e.Tracks)
	}
	for i, d := range p.derived {
		if i >= len(o.kin) || len(e.Tracks) <= d.of.section {
			continue
		}
		init := o.kin[i]
		if n := len(d.r.Segments); n > 0 && p.coord.has(d.r.Segments[n-1].Init) {
			init = d.r.Segments[n-1].Init
		}
		if init != "" {
			t := e.Tracks[d.of.section] // the same times
			t.Name, t.Init, t.Offset, t.Size, t.Gap, t.Independent = d.r.Name, init, e.Size, 0, true, true
			e.Tracks = append(e.Tracks, t)
		}
	}
	return &e
}

// accept takes over what stages have made since.
func (p *publisher) accept() {
	if p.coord == nil || !p.coord.staging.news.Load() {
		return
	}
	g := p.coord.staging
	g.mu.Lock()
	list := g.made
	g.made = nil
	g.news.Store(false)
	g.mu.Unlock()
	for i := range list {
		p.acceptOne(&list[i])
	}
}

func (p *publisher) acceptOne(m *made) {
	s := &m.seg
	var d *derived
	for _, x := range p.derived {
		if x.r.Name == m.name {
			d = x
		}
	}
	if d == nil || s.Init == "" { // of tracks that are no more, or there was none yet
		for i := range s.Parts {
			s.Parts[i].block.Release()
		}
		if d != nil {
			d.late++
		}
		p.changed = true
		return
	}
	if n := len(d.r.Segments); n == 0 || d.r.Segments[n-1].MSN+1 != s.MSN {
		d.r.Segments, d.r.Past, d.r.Discontinuities = nil, nil, d.of.r.discontinuitiesAt(s.MSN)
		s.Discontinuity = false // it is counted
	}
	s.FirstKey = d.heirs
	d.heirs += int64(len(s.Keys))
	p.s.account.keys = max(p.s.account.keys, d.heirs)
	p.s.memory.keep(s, av.Timebase{Num: 1, Den: s.Timescale}.Duration(s.End())) // the lane may be of other tracks by now
	d.r.Track, d.r.FrameRate = m.track, d.of.r.FrameRate
	if s.Info != nil {
		d.r.Info = *s.Info
	}
	d.r.Segments = append(d.r.Segments, *s)
	p.s.slide(&d.r)
	p.changed = true
}

// discontinuitiesAt returns how many there are up to a segment, its own included.
func (r *Rendition) discontinuitiesAt(msn int64) int64 {
	n := r.Discontinuities
	for i := range r.Segments {
		if r.Segments[i].Discontinuity && r.Segments[i].MSN <= msn {
			n++
		}
	}
	for i := range r.Past {
		if r.Past[i].Discontinuity && r.Past[i].MSN > msn {
			n--
		}
	}
	return n
}

// patienceForFirst is how many segments of the source are waited for before a rendition
// is shown that has none: who asks for playlists before is told of all.
const patienceForFirst = 3

// withDerived appends the renditions that are shown beside the lanes.
func (p *publisher) withDerived(list []Rendition) []Rendition {
	for _, d := range p.derived {
		if len(d.r.Segments) > 0 || d.late == 0 && len(d.of.r.Segments) < patienceForFirst && len(d.of.r.Past) == 0 {
			list = append(list, d.r)
		}
	}
	return list
}
