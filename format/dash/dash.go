// Package dash writes DASH manifests (ISO/IEC 23009-1) of finished output and of live
// streams, and reads those of others. It knows nothing of files or of the network: templates
// and times come in, text goes out.
package dash

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/Eyevinn/dash-mpd/mpd"

	"github.com/cleave-video/cleave/av"
)

// Presentation is a manifest: static, which means that all of it is there and nothing
// follows, or with Live dynamic.
type Presentation struct {
	Live *Live
	// MinBuffer is how much a client should hold at the stated bandwidths; 0 is
	// two seconds.
	MinBuffer time.Duration
	Periods   []Period // one behind the other
}

// Period is a stretch without a discontinuity or a new initialization section
// (5.3.2).
type Period struct {
	ID       string        // empty: its place
	Start    time.Duration // 0: where the one before ends
	Duration time.Duration // of presentation, rounded up; 0: not known yet
	Sets     []Set
}

// Set is an AdaptationSet (5.3.3), as a rule of one Representation: segments of one track
// are aligned with themselves, so segmentAlignment is true.
type Set struct {
	Kind     av.Kind
	Language string // RFC 5646, or empty
	// StartsWithSAP is 1 if every segment begins with a closed GOP, 0 otherwise:
	// then it is not written.
	StartsWithSAP  uint32
	Protection     *Protection // nil: in the clear
	Representation Representation
	// More are others of the same, whose segments have the same numbers and times:
	// players may switch between them.
	More []Representation
}

// representations returns all of them.
func (s *Set) representations() []*Representation {
	list := []*Representation{&s.Representation}
	for i := range s.More {
		list = append(list, &s.More[i])
	}
	return list
}

// Protection is the common encryption of a Set, with what a ClearKey client needs
// (5.8.4.1; ISO 23001-7 11.2; DASH-IF IOP 6, 7.6).
type Protection struct {
	Scheme     string // "cenc" or "cbcs"
	DefaultKID [16]byte
	PSSH       []byte // a box of the W3C's common system that names all keys; nil: DefaultKID does
	LicenseURL string // where a ClearKey client asks for keys; or empty
}

// Representation is one track as segments (5.3.5, 5.3.9).
type Representation struct {
	ID         string
	Codecs     string // RFC 6381
	Bandwidth  int64  // bits a second; see 5.3.5.2
	Width      int
	Height     int
	SAR        av.Rational // Den 0: not written
	FrameRate  av.Rational // Den 0: not written
	SampleRate int
	Channels   int

	Timescale uint32 // that of the track's mdhd
	// TimeOffset is the media time, in ticks of Timescale, at which the Period begins.
	TimeOffset  int64
	Init, Media string // URL templates, relative to the manifest
	StartNumber int
	Segments    []Segment
	Chunks      *Chunks // nil: segments are there only when they are whole
}

// Segment is when one segment is presented: ticks of the Timescale, not negative.
type Segment struct{ Start, Dur int64 }

// Append writes the manifest behind dst and returns the result. It fails only if
// a time is negative.
func (p *Presentation) Append(dst []byte) ([]byte, error) {
	m := mpd.NewMPD(mpd.STATIC_TYPE)
	m.Profiles = mpd.ListOfProfilesType("urn:mpeg:dash:profile:isoff-live:2011,urn:mpeg:dash:profile:cmaf:2019")
	var total, longest time.Duration
	for i := range p.Periods {
		period, err := p.Periods[i].build(i, max(total, p.Periods[i].Start))
		if err != nil {
			return dst, err
		}
		m.AppendPeriod(period)
		total = max(total, p.Periods[i].Start) + p.Periods[i].Duration
		longest = max(longest, p.Periods[i].longest())
	}
	m.MediaPresentationDuration = duration(total)
	m.MinBufferTime = duration(p.MinBuffer)
	if p.MinBuffer <= 0 {
		m.MinBufferTime = duration(2 * time.Second)
	}
	m.MaxSegmentDuration = duration(longest)
	if p.Live != nil {
		p.Live.describe(m)
	}
	var b bytes.Buffer
	if _, err := m.Write(&b, "  ", true); err != nil {
		return dst, fmt.Errorf("dash: %w", err)
	}
	b.WriteByte('\n')
	return append(dst, b.Bytes()...), nil
}

func duration(d time.Duration) *mpd.Duration {
	v := mpd.Duration(d)
	return &v
}

// longest returns the longest segment, rounded up to the millisecond.
func (p *Period) longest() time.Duration {
	var longest time.Duration
	for i := range p.Sets {
		for _, r := range p.Sets[i].representations() {
			tb := av.Timebase{Num: 1, Den: r.Timescale}
			for _, s := range r.Segments {
				longest = max(longest, tb.Duration(s.Dur))
			}
		}
	}
	return (longest + time.Millisecond - 1).Truncate(time.Millisecond)
}

func (p *Period) build(i int, start time.Duration) (*mpd.Period, error) {
	out := mpd.NewPeriod()
	if out.Id = p.ID; p.ID == "" {
		out.Id = strconv.Itoa(i)
	}
	out.Start = duration(start)
	if p.Duration > 0 {
		out.Duration = duration(p.Duration)
	}
	for k := range p.Sets {
		set, err := p.Sets[k].build(k)
		if err != nil {
			return nil, err
		}
		out.AppendAdaptationSet(set)
	}
	return out, nil
}

func (s *Set) build(id int) (*mpd.AdaptationSetType, error) {
	kind := s.Kind.String()
	set := mpd.NewAdaptationSetWithParams(kind, kind+"/mp4", true, s.StartsWithSAP)
	n := uint32(id)
	set.Id, set.Lang = &n, s.Language
	if s.Kind == av.Audio {
		set.Roles = []*mpd.DescriptorType{{SchemeIdUri: "urn:mpeg:dash:role:2011", Value: "main"}}
	}
	if s.Protection != nil {
		set.ContentProtections = s.Protection.build()
	}
	for _, r := range s.representations() {
		rep, err := r.build()
		if err != nil {
			return nil, err
		}
		set.AppendRepresentation(rep)
	}
	return set, nil
}

func (r *Representation) build() (*mpd.RepresentationType, error) {
	rep := mpd.NewRepresentationWithID(r.ID, r.Codecs, "", int(r.Bandwidth))
	rep.Width, rep.Height = uint32(r.Width), uint32(r.Height)
	if r.SAR.Den != 0 && r.Width != 0 {
		rep.Sar = mpd.RatioType(fmt.Sprintf("%d:%d", r.SAR.Num, r.SAR.Den))
	}
	rep.FrameRate = mpd.FrameRateType(frameRate(r.FrameRate))
	if r.SampleRate > 0 {
		rate := mpd.UIntVectorType(strconv.Itoa(r.SampleRate))
		rep.AudioSamplingRate = &rate
	}
	if r.Channels > 0 {
		rep.AudioChannelConfigurations = []*mpd.DescriptorType{{
			SchemeIdUri: "urn:mpeg:dash:23003:3:audio_channel_configuration:2011", Value: strconv.Itoa(r.Channels),
		}}
	}
	timeline, err := r.timeline()
	if err != nil {
		return nil, err
	}
	t := mpd.NewSegmentTemplate()
	t.Initialization, t.Media = r.Init, r.Media
	t.SetTimescale(r.Timescale)
	if r.Timescale == 1 { // the library leaves the default out
		one := uint32(1)
		t.Timescale = &one
	}
	number, offset := uint32(r.StartNumber), uint64(r.TimeOffset)
	t.StartNumber, t.PresentationTimeOffset, t.SegmentTimeline = &number, &offset, timeline
	rep.SegmentTemplate = t
	r.describe(rep)
	return rep, nil
}

// The schemes of ContentProtection. There is no element of the common system,
// 1077efec: shaka-player takes it for one of ClearKey that lacks its server.
const (
	schemeMP4   = "urn:mpeg:dash:mp4protection:2011"
	schemeClear = "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e"
)

func (p *Protection) build() []*mpd.ContentProtectionType {
	element := func(scheme, value string) *mpd.ContentProtectionType {
		return &mpd.ContentProtectionType{DescriptorType: mpd.DescriptorType{SchemeIdUri: mpd.AnyURI(scheme), Value: value}}
	}
	first := element(schemeMP4, p.Scheme)
	k := p.DefaultKID
	first.DefaultKID = fmt.Sprintf("%x-%x-%x-%x-%x", k[:4], k[4:6], k[6:8], k[8:10], k[10:])
	clear := element(schemeClear, "ClearKey1.0")
	if p.PSSH != nil {
		clear.Pssh = &mpd.PsshType{Value: base64.StdEncoding.EncodeToString(p.PSSH)}
	}
	if p.LicenseURL != "" {
		clear.LaURL = &mpd.LaURLType{LicenseType: "EME-1.0", Value: mpd.AnyURI(p.LicenseURL)}
	}
	return []*mpd.ContentProtectionType{first, clear}
}

// frameRate is "25" or "30000/1001".
func frameRate(r av.Rational) string {
	switch r = r.Reduced(); r.Den {
	case 0:
		return ""
	case 1:
		return strconv.Itoa(int(r.Num))
	}
	return fmt.Sprintf("%d/%d", r.Num, r.Den)
}

// timeline merges runs of equal segments that follow each other (5.3.9.6).
func (r *Representation) timeline() (*mpd.SegmentTimelineType, error) {
	out := mpd.NewSegmentTimeline()
	next := int64(-1)
	for _, s := range r.Segments {
		if s.Start < 0 || s.Dur <= 0 || r.TimeOffset < 0 {
			return nil, fmt.Errorf("dash: %s: segment at %d of %d ticks, offset %d: %w", r.ID, s.Start, s.Dur, r.TimeOffset, av.ErrInvalid)
		}
		last := len(out.S) - 1
		if s.Start == next && out.S[last].D == uint64(s.Dur) {
			out.S[last].R++
		} else {
			e := &mpd.S{D: uint64(s.Dur)}
			if s.Start != next {
				t := uint64(s.Start)
				e.T = &t
			}
			out.S = append(out.S, e)
		}
		next = s.Start + s.Dur
	}
	return out, nil
}
