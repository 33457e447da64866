package ts

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// pull takes the next unit from cur.
func (d *Demuxer) pull() {
	s := d.cur
	u, ok := s.next(d.final)
	if !ok {
		if s.compact(); d.final && s.kind == av.Audio {
			s.dropTail()
		}
		d.cur = nil
		return
	}
	if !d.prepare(s, &u) {
		return
	}
	if d.probing {
		d.note(s, &u)
		return
	}
	d.unit, d.pending = u, true
}

// prepare reads what the unit says about its track; false drops it.
func (d *Demuxer) prepare(s *stream, u *unit) bool {
	u.size = len(u.data)
	if s.kind != av.Video {
		return true
	}
	size, changed, err := s.video.es.Scan(u.data, u.codes)
	if err != nil {
		d.stats.add(warnBadUnit, 1)
		return false
	}
	c := s.video.es.Config()
	if c == nil {
		d.stats.add(warnNoConfig, 1)
		return false
	}
	if changed {
		u.config = c
	}
	if t := &s.video.times; t.counts(u.hasPTS) {
		if poc, first, ok := s.video.es.Order(u.data); ok {
			t.place(u, poc, first, pocStep(s.codec))
		}
	}
	u.size = size
	return size > 0
}

// pocStep is by what counts usually rise from frame to frame: in H.264 each
// field counts.
func pocStep(c av.Codec) int64 {
	if c == av.H264 {
		return 2
	}
	return 1
}

// deliver turns the pending unit into a packet; before that it announces the
// track that it makes necessary.
func (d *Demuxer) deliver(a av.Allocator) (av.Packet, bool, error) {
	s, u := d.cur, &d.unit
	if d.adopt(s, u) {
		d.announce = true
		return av.Packet{}, false, nil
	}
	d.pending = false
	if s.insp == nil {
		return av.Packet{}, false, nil
	}
	data, err := a.Alloc(s.index, u.size)
	if err != nil {
		return av.Packet{}, false, err
	}
	if s.kind == av.Video {
		s.video.es.Write(data, u.data)
	} else {
		copy(data, u.data)
	}
	if u.noTime {
		u.pts, u.dts = d.clock, d.clock
		u.flags |= av.Derived
	} else if s == d.lead {
		d.clock = u.dts
	}
	p := av.Packet{Track: s.index, DTS: u.dts, PTS: u.pts, Dur: u.dur, Flags: u.flags, Data: data}
	p.Flags |= s.insp.Flags(data)
	return p, true, nil
}

// adopt makes what the unit says part of its track; true means that the tracks
// changed.
func (d *Demuxer) adopt(s *stream, u *unit) bool {
	changed := !s.known()
	s.stale = s.stale || changed
	if u.config != nil {
		if string(s.config) != string(u.config) {
			s.config = append([]byte(nil), u.config...)
			changed, s.stale = true, true
		}
		u.config = nil
	}
	s.ready = true
	return changed
}

// known reports whether the stream is one of the tracks.
func (s *stream) known() bool { return s.index >= 0 }

// inspector makes the track's Inspector anew.
func (s *stream) inspector(t *av.Track) *codec.Inspector {
	i, err := codec.NewInspector(t)
	if err != nil {
		s.stats.add(warnBadUnit, 1)
		return nil
	}
	return i
}
