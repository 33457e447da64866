// Package probe says what an input holds: tracks, frame rates, GOPs.
package probe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/ingest/file"
	"github.com/cleave-video/cleave/timeline"
)

// Report is what an input holds. Its JSON is the command's.
type Report struct {
	Format   string   `json:"format"`
	Duration float64  `json:"duration"` // seconds, of the longest track
	Tracks   []Track  `json:"tracks"`
	GOPs     []GOP    `json:"gops"` // of the first video track
	Warnings []string `json:"warnings,omitempty"`
	Broken   string   `json:"broken,omitempty"` // why the input ended before its end
}

// Track is one elementary stream.
type Track struct {
	Kind        string    `json:"kind"`
	Codec       string    `json:"codec"`
	CodecString string    `json:"codec_string"`
	Timebase    string    `json:"timebase"`
	FrameRate   FrameRate `json:"frame_rate"`
	Packets     int       `json:"packets"`
	Keyframes   int       `json:"keyframes"`
	Bytes       int64     `json:"bytes"`
	Width       int       `json:"width,omitempty"`
	Height      int       `json:"height,omitempty"`
	SampleRate  int       `json:"sample_rate,omitempty"`
	Channels    int       `json:"channels,omitempty"`
	Language    string    `json:"language,omitempty"`
	Seconds     float64   `json:"duration"`
}

// FrameRate is what was observed: constant only if all distances agree within a tick.
type FrameRate struct {
	Num  uint32 `json:"num"`
	Den  uint32 `json:"den"`
	Mode string `json:"mode"` // "cfr", "vfr" or, if unknown, ""
}

// GOP is a key frame and what follows it.
type GOP struct {
	PTS     int64   `json:"pts"` // ticks of the first video track
	Seconds float64 `json:"time"`
	Length  float64 `json:"duration"` // seconds to the next key frame, or the end
	Frames  int     `json:"frames"`
	Bytes   int64   `json:"bytes"`
	Class   string  `json:"class"`             // "closed", "open" or "gradual"
	Types   string  `json:"types,omitempty"`   // of its first 64 frames, in decode order
	Leading int     `json:"leading,omitempty"` // pictures that need the GOP before

	open bool // leading pictures would refer back
}

// maxTypes is how many frame types of a GOP are kept.
const maxTypes = 64

// Run reads all of an input. An input that breaks off is reported as far as it
// went, with Broken set; the error is of one that holds nothing.
func Run(ctx context.Context, name string, o file.Options) (*Report, error) {
	in, err := file.Open(ctx, name, o)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	p := &prober{report: &Report{Format: in.Format, GOPs: []GOP{}}, video: -1}
	for ctx.Err() == nil {
		pkt, err := in.ReadPacket(av.Heap{})
		switch {
		case err == nil:
			p.packet(&pkt)
			continue
		case errors.Is(err, av.ErrTracks):
			if err := p.setTracks(in.Tracks()); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			continue
		case errors.Is(err, io.EOF):
		case p.packets == 0:
			return nil, fmt.Errorf("%s: %w", name, err)
		default:
			p.report.Broken = err.Error()
		}
		p.finish()
		p.report.Warnings = in.Warnings()
		if p.packets == 0 {
			return nil, fmt.Errorf("%s: %w: it holds no packet", name, av.ErrTruncated)
		}
		return p.report, nil
	}
	return nil, context.Cause(ctx)
}

// prober is one reading.
type prober struct {
	report  *Report
	tracks  []trackState
	video   int // the first video track, or -1
	packets int
}

// trackState is what is followed of one track.
type trackState struct {
	tb         av.Timebase
	at         int // in report.Tracks
	rate       timeline.Rate
	inspect    *codec.Inspector
	begun      bool
	start, end int64
}

// setTracks begins a set of tracks; those that go on keep their line.
func (p *prober) setTracks(tracks []av.Track) error {
	old := p.tracks
	p.tracks = make([]trackState, len(tracks))
	p.video = -1
	for i := range tracks {
		t, s := &tracks[i], &p.tracks[i]
		info, err := codec.Describe(t)
		if err != nil {
			return err
		}
		if p.video < 0 && t.Kind == av.Video {
			p.video = i
		}
		*s = trackState{tb: t.Timebase, at: len(p.report.Tracks)}
		if t.Codec != av.Private {
			if s.inspect, err = codec.NewInspector(t); err != nil {
				return err
			}
		}
		line := Track{
			Kind: t.Kind.String(), Codec: t.Codec.String(), CodecString: info.String, Timebase: t.Timebase.String(),
			Width: info.Width, Height: info.Height, SampleRate: info.SampleRate, Channels: info.Channels, Language: t.Language,
		}
		if i < len(old) && old[i].tb == t.Timebase && p.report.Tracks[old[i].at].CodecString == info.String &&
			p.report.Tracks[old[i].at].Width == info.Width && p.report.Tracks[old[i].at].Kind == line.Kind {
			inspect := s.inspect
			*s = old[i]
			s.inspect = inspect
			continue
		}
		p.report.Tracks = append(p.report.Tracks, line)
	}
	for i := range old {
		p.close(&old[i])
	}
	return nil
}

func (p *prober) packet(pkt *av.Packet) {
	p.packets++
	s := &p.tracks[pkt.Track]
	line := &p.report.Tracks[s.at]
	line.Packets++
	line.Bytes += int64(len(pkt.Data))
	if pkt.Flags&av.Key != 0 {
		line.Keyframes++
	}
	if !s.begun {
		s.begun, s.start, s.end = true, pkt.PTS, pkt.PTS
	}
	s.start, s.end = min(s.start, pkt.PTS), max(s.end, pkt.PTS+pkt.Dur)
	s.rate.Add(pkt.DTS)
	if pkt.Track == p.video {
		p.gop(s, pkt)
	}
}

// gop follows the GOPs of the first video track.
func (p *prober) gop(s *trackState, pkt *av.Packet) {
	gops := p.report.GOPs
	if pkt.Flags&av.Key != 0 {
		if n := len(gops); n > 0 {
			gops[n-1].Length = s.tb.Seconds(pkt.PTS - gops[n-1].PTS)
		}
		class := "closed"
		if pkt.Flags&av.Gradual != 0 {
			class = "gradual"
		}
		gops = append(gops, GOP{PTS: pkt.PTS, Seconds: s.tb.Seconds(pkt.PTS), Class: class, open: pkt.Flags&av.Open != 0})
		p.report.GOPs = gops
	}
	if len(gops) == 0 {
		return // before the first key frame
	}
	g := &gops[len(gops)-1]
	g.Frames++
	g.Bytes += int64(len(pkt.Data))
	if g.Frames > 1 && pkt.PTS < g.PTS && (g.open || pkt.Flags&av.Leading != 0) {
		g.Leading++
		if g.Class == "closed" {
			g.Class = "open"
		}
	}
	if s.inspect != nil && len(g.Types) < maxTypes {
		g.Types += string(s.inspect.FrameType(pkt.Data))
	}
}

func (p *prober) finish() {
	for i := range p.tracks {
		p.close(&p.tracks[i])
	}
	if n := len(p.report.GOPs); n > 0 && p.video >= 0 {
		g, s := &p.report.GOPs[n-1], &p.tracks[p.video]
		g.Length = s.tb.Seconds(s.end - g.PTS)
	}
}

// close completes a track's line.
func (p *prober) close(s *trackState) {
	line := &p.report.Tracks[s.at]
	line.Seconds = s.tb.Seconds(s.end - s.start)
	p.report.Duration = max(p.report.Duration, line.Seconds)
	if line.Kind != av.Video.String() {
		return
	}
	v := s.rate.Verdict(s.tb)
	line.FrameRate = FrameRate{Num: v.Num, Den: v.Den}
	switch {
	case v.Den == 0:
	case v.CFR:
		line.FrameRate.Mode = "cfr"
	default:
		line.FrameRate.Mode = "vfr"
	}
}

// short prints seconds as people read them.
func short(seconds float64) string {
	if d := time.Duration(seconds * float64(time.Second)); d >= time.Minute {
		return d.Round(10 * time.Millisecond).String()
	}
	return fmt.Sprintf("%.3f s", seconds)
}
