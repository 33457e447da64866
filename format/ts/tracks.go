package ts

import (
	"bytes"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/opus"
)

const (
	probeTicks = 90000   // media looked at for the tracks, by second of Patience
	probeUnits = 256     // packets looked at for the tracks, likewise
	probeBytes = 4 << 20 // input kept meanwhile

	// streamEvery bounds the memory that a PMT which always changes can take:
	// one new stream in so many bytes of input.
	streamEvery = 2048
	maxVideos   = 8
	videoEvery  = 64 << 10
)

// switchProgram replaces the streams by those of the waiting PMT; streams that
// stay keep what they gathered. New ones start a search for their tracks.
func (d *Demuxer) switchProgram() {
	p := d.waiting
	d.waiting = nil
	old := d.streams
	for _, s := range old {
		if d.pids[s.pid] >= slotStream {
			d.pids[s.pid] = 0
		}
	}
	d.streams = nil
	fresh := false
	for _, s := range old {
		d.removed = d.removed || s.known() && !p.holds(s)
	}
	for _, e := range p.streams {
		if d.pids[e.pid] != 0 {
			continue // a PID of PAT or PMT
		}
		if len(d.streams) == maxPIDs {
			d.stats.add(warnManyPIDs, 1)
			break
		}
		s := find(old, &e)
		if s == nil {
			e.desc = bytes.Clone(e.desc)
			s = newStream(e, &d.stats)
			d.setOpus(s)
			d.made++
			d.limitVideo(s)
			fresh = true
		}
		d.pids[e.pid] = slotStream + pidSlot(len(d.streams))
		d.streams = append(d.streams, s)
	}
	if fresh && d.probing && len(old) == 0 {
		d.kept.pushAll(&d.replay) // look at what came before the PMT too
		d.replay, d.kept = d.kept, backlog{}
	}
	if fresh && !d.probing {
		d.probing, d.flushed = true, false
		d.units, d.before = 0, d.stats
	}
	if !d.probing && d.removed {
		d.announce = true
	}
	if d.made > maxPIDs+d.src.offset()/streamEvery {
		d.err = av.Errorf("ts", d.src.offset(), "PMT", "%w: changes too often", av.ErrInvalid)
	}
	d.checkProbe()
}

// limitVideo passes a video stream through if there were too many: the state of
// each takes tens of kilobytes, for five bytes of a PMT.
func (d *Demuxer) limitVideo(s *stream) {
	if s.kind != av.Video {
		return
	}
	if d.videos++; d.videos > maxVideos+d.src.offset()/videoEvery {
		s.passThrough()
	}
}

func find(l []*stream, e *esInfo) *stream {
	for _, s := range l {
		if s.equal(e) {
			return s
		}
	}
	return nil
}

// setOpus reads the configuration of Opus, which only the PMT has.
func (d *Demuxer) setOpus(s *stream) {
	if s.codec != av.Opus {
		return
	}
	c, err := opus.ParseTSDescriptor(s.desc)
	if err != nil {
		d.stats.add(warnBadPSI, 1)
		s.passThrough()
		return
	}
	s.config = c.Append(nil)
}

// keep puts a packet aside while tracks are looked for.
func (d *Demuxer) keep(p []byte) error {
	d.kept.push(p, &d.spare)
	if d.kept.size < probeBytes {
		return nil
	}
	if d.current < 0 {
		d.chooseAny()
	}
	d.endProbe()
	if d.probing && d.src.offset() > maxSearch {
		return av.Errorf("ts", d.src.offset(), "PMT", "%w: no stream that can be read within %d bytes", av.ErrInvalid, maxSearch)
	}
	return nil
}

// note takes a unit that was found while tracks are looked for.
func (d *Demuxer) note(s *stream, u *unit) {
	if u.config != nil && s.config == nil {
		s.config = append([]byte(nil), u.config...)
	}
	pr := &s.probe
	if pr.units == 0 {
		pr.first = u.dts
	}
	pr.last = u.dts
	pr.units++
	d.units++
	s.ready = s.config != nil && (s.kind != av.Video || s.settled(u))
	d.checkProbe()
	span, n := since(pr.last, pr.first), max(d.Patience, 1)
	most := int64(n) * probeTicks
	if d.probing && (d.units >= n*probeUnits || !u.noTime && (span >= most || span <= -most)) {
		d.endProbe()
	}
}

// settled reports whether it is known how the stream writes its times.
func (s *stream) settled(u *unit) bool {
	pr := &s.probe
	if pr.units == 1 {
		t := av.Track{Kind: s.kind, Codec: s.codec, Timebase: av.Clock90k, Config: s.config}
		pr.reorder = -1
		if i, err := codec.Describe(&t); err == nil {
			pr.reorder = i.Reorder
			s.video.times.setRate(i.FrameRate)
		}
	}
	return pr.see(u, pr.reorder, &s.video.times)
}

// checkProbe ends the search when no audio or video is missing.
func (d *Demuxer) checkProbe() {
	if !d.probing || len(d.streams) == 0 {
		return
	}
	for _, s := range d.streams {
		if !s.ready {
			return
		}
	}
	d.endProbe()
}

// endProbe ends the search if it found anything: the tracks are announced and
// the packets that were kept are read again. Else it goes on without them.
func (d *Demuxer) endProbe() {
	found := d.started
	for _, s := range d.streams {
		found = found || s.ready || s.config != nil && s.probe.units > 0
	}
	if !found {
		if d.kept.size >= probeBytes {
			d.before.add(warnQueue, int64(d.kept.size/packetSize))
			d.kept = backlog{}
		}
		return
	}
	d.kept.pushAll(&d.replay)
	d.replay, d.kept = d.kept, backlog{}
	d.probing = false
	d.cur, d.pending, d.finals = nil, false, d.finals[:0]
	d.stats = d.before
	d.pat.reset()
	for i := range d.programs {
		d.programs[i].psi.reset()
	}
	changed := !d.started || d.removed
	for _, s := range d.streams {
		if !s.known() {
			s.probe.finish(s.probe.reorder, &s.video.times)
			s.ready = s.config != nil && (s.ready || s.probe.units > 0)
			changed = changed || s.ready
			s.reset()
		}
	}
	d.announce, d.started = changed, true
}

// buildTracks makes the tracks of the streams that are ready.
func (d *Demuxer) buildTracks() {
	d.removed = false
	d.tracks = make([]av.Track, 0, len(d.streams))
	d.lead = nil
	for _, s := range d.streams {
		if !s.ready {
			continue
		}
		t := av.Track{
			Kind: s.kind, Codec: s.codec, Timebase: av.Clock90k, Config: s.config,
			Language: s.language(), ID: uint32(s.pid),
		}
		if s.codec == av.Private {
			t.Private = av.PrivateTS
		}
		if s.insp == nil || s.stale {
			s.insp, s.stale = s.inspector(&t), false
		}
		if d.lead == nil || s.kind < d.lead.kind {
			d.lead = s
			if !s.known() {
				d.clock = s.probe.first
			}
		}
		s.index = len(d.tracks)
		d.tracks = append(d.tracks, t)
	}
}
