package probe

import (
	"fmt"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/timeline"
)

// prober is one reading.
type prober struct {
	report  *Report
	tracks  []trackState
	video   int // the first video track, or -1
	lead    int // the track that decides cuts: that one, else the first audio; or -1
	packets int
	types   []byte // of the GOP under way
	inGOP   bool   // a key frame came since the set of tracks began
	cuts    *cutters

	records  records
	moreGOPs int // that are not listed
}

// trackState is what is followed of one track.
type trackState struct {
	tb         av.Timebase
	at         int // in report.Tracks
	rate       timeline.Rate
	inspect    *codec.Inspector
	video      bool
	begun      bool
	start, end int64
	last, dist int64 // newest DTS and distance
	types      [256]int
}

// maxLines bounds report.Tracks: an input whose tracks keep changing adds to the
// last line of the same kind then.
const maxLines = 128

func newProber(name string, c *Config) (*prober, error) {
	p := &prober{report: &Report{GOPs: []GOP{}, name: title(name)}, video: -1, lead: -1}
	var err error
	if p.cuts, err = newCutters(c.Cut); err != nil {
		return nil, err
	}
	if c.Picture {
		p.report.picture = &picture{}
	}
	return p, nil
}

// setTracks begins a set of tracks; those that go on keep their line.
func (p *prober) setTracks(tracks []av.Track) error {
	p.endGOP()
	old := p.tracks
	for i := range old {
		p.close(&old[i])
	}
	p.tracks = make([]trackState, len(tracks))
	p.video, p.lead = -1, -1
	for i := range tracks {
		t, s := &tracks[i], &p.tracks[i]
		info, err := codec.Describe(t)
		if err != nil {
			return err
		}
		if p.video < 0 && t.Kind == av.Video {
			p.video, p.lead = i, i
		}
		if p.lead < 0 && t.Kind == av.Audio {
			p.lead = i
		}
		line := Track{
			Kind: t.Kind.String(), Codec: t.Codec.String(), CodecString: info.String, Timebase: t.Timebase.String(),
			Width: info.Width, Height: info.Height, SampleRate: info.SampleRate, Channels: info.Channels, Language: t.Language,
		}
		if i < len(old) && old[i].tb == t.Timebase && p.report.Tracks[old[i].at].same(&line) {
			*s = old[i]
		} else {
			*s = trackState{tb: t.Timebase, at: p.line(&line), video: t.Kind == av.Video}
		}
		s.inspect = nil
		if t.Codec != av.Private {
			if s.inspect, err = codec.NewInspector(t); err != nil {
				return err
			}
		}
	}
	if p.report.picture != nil {
		p.report.picture.changed(p.lead >= 0 && len(old) > 0)
	}
	p.cuts.setTracks(tracks)
	return nil
}

// line returns the place of a new line of the report.
func (p *prober) line(t *Track) int {
	l := p.report.Tracks
	if len(l) >= maxLines {
		for i := len(l) - 1; i >= 0; i-- {
			if l[i].Kind == t.Kind {
				return i
			}
		}
	}
	p.report.Tracks = append(l, *t)
	return len(l)
}

// same reports whether o describes the same stream.
func (x *Track) same(o *Track) bool {
	return x.Kind == o.Kind && x.Codec == o.Codec && x.CodecString == o.CodecString && x.Width == o.Width && x.Height == o.Height &&
		x.SampleRate == o.SampleRate && x.Channels == o.Channels
}

func (p *prober) packet(pkt *av.Packet) error {
	if pkt.Track < 0 || pkt.Track >= len(p.tracks) {
		return fmt.Errorf("probe: packet of track %d of %d", pkt.Track, len(p.tracks))
	}
	p.packets++
	p.records.bytes += int64(len(pkt.Data))
	s := &p.tracks[pkt.Track]
	line := &p.report.Tracks[s.at]
	line.Packets++
	line.Bytes += int64(len(pkt.Data))
	if pkt.Flags&av.Key != 0 {
		line.Keyframes++
	}
	kind := byte('?')
	if s.inspect != nil && s.video {
		kind = s.inspect.FrameType(pkt.Data)
	}
	if s.video {
		s.types[kind]++
		if pkt.Flags&(av.Disposable|av.Key) == av.Disposable {
			line.Disposable++
		}
	}
	if d := pkt.DTS - s.last; s.begun && d > 0 {
		s.dist = d
	}
	s.last = pkt.DTS
	dur := pkt.Dur
	if dur <= 0 && line.Kind != av.Data.String() { // data comes when it likes
		dur = s.dist
	}
	if pkt.Track == p.video {
		p.gop(s, pkt, kind)
	}
	if p.report.picture != nil {
		p.draw(s, pkt, kind, dur)
	}
	if !s.begun {
		s.begun, s.start, s.end = true, pkt.PTS, pkt.PTS
	}
	s.start, s.end = min(s.start, pkt.PTS), max(s.end, pkt.PTS+dur)
	s.rate.Add(pkt.DTS)
	return p.cuts.packet(*pkt)
}

func (p *prober) finish(warnings []string) {
	p.endGOP()
	for i := range p.tracks {
		p.close(&p.tracks[i])
	}
	p.report.Strategies = p.cuts.finish()
	p.report.Warnings = warnings
	if p.moreGOPs > 0 {
		p.report.Warnings = append(p.report.Warnings, fmt.Sprintf("%d more GOPs, of a few bytes each, are left out of the list", p.moreGOPs))
	}
	for i := range p.report.Strategies {
		if s := &p.report.Strategies[i]; len(s.list) < s.Chunks && p.report.picture != nil {
			p.report.Warnings = append(p.report.Warnings, fmt.Sprintf("%s: %d more chunks, of a few bytes each, are left out of the picture", s.Name, s.Chunks-len(s.list)))
		}
	}
	if p.cuts.refused != "" {
		p.report.Warnings = append(p.report.Warnings, p.cuts.refused)
	}
}

// close brings a track's line up to date.
func (p *prober) close(s *trackState) {
	line := &p.report.Tracks[s.at]
	line.Seconds = s.tb.Seconds(s.end - s.start)
	p.report.Duration = max(p.report.Duration, line.Seconds)
	v := s.rate.Verdict(s.tb)
	line.FrameRate = FrameRate{Num: v.Num, Den: v.Den, Mode: "vfr"}
	if v.CFR {
		line.FrameRate.Mode = "cfr"
	}
	for kind, n := range s.types {
		if n > 0 {
			if line.FrameTypes == nil {
				line.FrameTypes = make(map[string]int)
			}
			line.FrameTypes[string(rune(kind))] = n
		}
	}
}
