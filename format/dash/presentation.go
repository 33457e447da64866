package dash

import (
	"fmt"
	"strconv"
	"time"

	"github.com/cleave-video/cleave/av"
)

// Presentation returns a static manifest in the words of the writer: written
// again, it is the same text if Append wrote it. The error wraps
// av.ErrUnsupported for what Presentation has no words for.
func (r *Reader) Presentation(m *MPD) (*Presentation, error) {
	if m.Dynamic {
		return nil, fmt.Errorf("dash: %w: a dynamic manifest", av.ErrUnsupported)
	}
	out := &Presentation{MinBuffer: max(m.MinBuffer, 0)}
	for i := range m.Stretches {
		p := &m.Stretches[i]
		period := Period{Duration: max(p.Duration, 0)}
		for k := range p.Sets {
			set, err := r.set(&p.Sets[k], p.Duration)
			if err != nil {
				return nil, err
			}
			period.Sets = append(period.Sets, set)
		}
		out.Periods = append(out.Periods, period)
	}
	return out, nil
}

func (r *Reader) set(a *Adaptation, period time.Duration) (Set, error) {
	kind := av.KindUnknown
	switch a.ContentType {
	case "video":
		kind = av.Video
	case "audio":
		kind = av.Audio
	}
	out := Set{Kind: kind, Language: a.Language, StartsWithSAP: uint32(min(a.SAP, 6))}
	if len(a.Tracks) == 0 || kind == av.KindUnknown {
		return Set{}, fmt.Errorf("dash: line %d: %w: no video or audio Representation", a.Line, av.ErrUnsupported)
	}
	for i := range a.Tracks {
		rep, err := r.representation(&a.Tracks[i], period)
		switch {
		case err != nil:
			return Set{}, err
		case i == 0:
			out.Representation = rep
		default:
			out.More = append(out.More, rep)
		}
	}
	return out, nil
}

func (r *Reader) representation(t *Track, period time.Duration) (Representation, error) {
	if t.Addressing.How != ByTimeline {
		return Representation{}, fmt.Errorf("dash: line %d: %w: not a Representation with a timeline", t.Line, av.ErrUnsupported)
	}
	x := &t.Addressing
	rep := Representation{
		ID: t.ID, Codecs: t.Codecs, Bandwidth: t.Bandwidth, Width: int(t.Width), Height: int(t.Height), SAR: t.SAR, FrameRate: t.FrameRate,
		SampleRate: int(t.SampleRate), Timescale: uint32(x.Timescale), TimeOffset: x.Offset, Init: x.Init, Media: x.Media, StartNumber: int(x.StartNumber),
	}
	if t.Channels != "" {
		n, err := strconv.Atoi(t.Channels)
		if err != nil {
			return Representation{}, fmt.Errorf("dash: line %d: %w: AudioChannelConfiguration %.20q", t.Line, av.ErrInvalid, t.Channels)
		}
		rep.Channels = n
	}
	list, err := r.Segments(t, period, 0)
	if err != nil {
		return Representation{}, err
	}
	for _, s := range list {
		rep.Segments = append(rep.Segments, Segment{s.Time, s.Dur})
	}
	return rep, nil
}
