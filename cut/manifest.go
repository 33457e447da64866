package cut

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/dash"
)

// presentation is the MPD: a Period for each timeline and configuration, in
// which every rendition goes on where the earliest one began.
func (r *run) presentation() *dash.Presentation {
	out := &dash.Presentation{}
	next := make([]int, len(r.rends))
	for n := 0; n <= r.period; n++ {
		if p := r.dashPeriod(r.stretches(n, next)); len(p.Sets) > 0 {
			out.Periods = append(out.Periods, p)
		}
	}
	return out
}

// stretch is the segments [from, to) of a rendition that belong to a period.
type stretch struct {
	rend     *rendition
	from, to int
}

func (s stretch) start() int64 { start, _ := s.rend.span(s.from); return start }

func (s stretch) end() int64 { start, dur := s.rend.span(s.to - 1); return start + dur }

// stretches are those of a period. next is, for each rendition, the first segment that
// is not of an earlier one, and is moved on.
func (r *run) stretches(period int, next []int) []stretch {
	var out []stretch
	for k, rend := range r.rends {
		s := stretch{rend, next[k], next[k]}
		for s.to < len(rend.segs) && rend.segs[s.to].period == int32(period) {
			s.to++
		}
		if next[k] = s.to; s.to > s.from {
			out = append(out, s)
		}
	}
	return out
}

func (r *run) dashPeriod(all []stretch) dash.Period {
	if len(all) == 0 {
		return dash.Period{}
	}
	first, last := all[0], all[0]
	for _, s := range all[1:] {
		if s.rend.timebase().Compare(s.start(), first.rend.timebase(), first.start()) < 0 {
			first = s
		}
		if s.rend.timebase().Compare(s.end(), last.rend.timebase(), last.end()) > 0 {
			last = s
		}
	}
	begin := first.rend.timebase().Duration(first.start())
	p := dash.Period{Duration: wait(last.rend.timebase().Duration(last.end()) - begin)}
	for _, s := range all {
		if kind := s.rend.kind; kind != av.Video && kind != av.Audio {
			continue
		}
		offset := first.rend.timebase().RescaleFloor(first.start(), s.rend.timebase())
		p.Sets = append(p.Sets, r.dashSet(s, offset))
	}
	return p
}

func (r *run) dashSet(s stretch, offset int64) dash.Set {
	rend := s.rend
	info := rend.headed[rend.segs[s.from].init]
	rep := dash.Representation{
		ID: rend.name, Codecs: info.String, Bandwidth: rend.peak, Timescale: rend.scale, TimeOffset: max(offset, 0),
		Init: rend.inits[rend.segs[s.from].init], Media: rend.name + "/$Number%05d$.m4s", StartNumber: s.from + 1,
		SampleRate: info.SampleRate, Channels: info.Channels,
	}
	set := dash.Set{Kind: rend.kind}
	if lang := rend.current[0].Language; lang != "und" {
		set.Language = lang
	}
	if rend.video() {
		rep.Width, rep.Height, rep.SAR, rep.FrameRate = info.Width, info.Height, info.SAR, rend.frameRate()
	}
	if !rend.dependent {
		set.StartsWithSAP = 1
	}
	for i := s.from; i < s.to; i++ {
		start, dur := rend.span(i)
		rep.Segments = append(rep.Segments, dash.Segment{Start: start, Dur: dur})
	}
	set.Protection = r.seal.dashProtection(s)
	set.Representation = rep
	return set
}
