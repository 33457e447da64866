package dash

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
)

// MPD is a manifest that was read (5.3.1). Durations that are not stated are
// Absent, dates zero.
type MPD struct {
	*Node
	Dynamic           bool
	AvailabilityStart time.Time
	Publish           time.Time
	Duration          time.Duration // mediaPresentationDuration
	MinBuffer         time.Duration
	MaxSegment        time.Duration
	Update            time.Duration // minimumUpdatePeriod
	TimeShift         time.Duration // timeShiftBufferDepth
	Delay             time.Duration // suggestedPresentationDelay
	Profiles          string
	Base              string // BaseURL, or empty
	Stretches         []Stretch
}

// Stretch is a Period that was read (5.3.2).
type Stretch struct {
	*Node
	ID       string
	Start    time.Duration // stated, or where the one before ends
	Duration time.Duration // stated, or up to the next or the end; Absent if neither says
	Sets     []Adaptation
}

// Adaptation is an AdaptationSet that was read (5.3.3).
type Adaptation struct {
	*Node
	ContentType string // stated, or the first word of mimeType: "video"
	Language    string
	Aligned     bool  // segmentAlignment
	SAP         int64 // startWithSAP; 0 if it is not stated
	Tracks      []Track
}

// Track is a Representation that was read, with what it inherits (5.3.5).
type Track struct {
	*Node
	ID, Codecs, MimeType string
	Bandwidth            int64
	Width, Height        int64
	FrameRate, SAR       av.Rational
	SampleRate           int64
	Channels             string
	Base                 []string // BaseURLs from the Period's down
	Addressing           Addressing
}

// How a Representation's segments are named.
const (
	NoAddress      = iota
	ByNumber       // SegmentTemplate with @duration
	ByTimeline     // SegmentTemplate with a SegmentTimeline
	BySegmentList  // SegmentList
	BySegmentIndex // SegmentBase: one file and its sidx
)

// Addressing is what SegmentTemplate, SegmentList or SegmentBase say, each with
// what it inherits (5.3.9).
type Addressing struct {
	*Node       // the lowest of the elements, nil if there is none
	How         int
	Timescale   int64 // at least 1
	Offset      int64 // presentationTimeOffset
	StartNumber int64
	EndNumber   int64 // 0 if it is not stated
	Duration    int64
	Init, Media string
	Runs        []Run
	// Early is availabilityTimeOffset; EarlyAll if it is INF.
	Early    time.Duration
	HasEarly bool
	Complete bool      // availabilityTimeComplete
	Index    ByteRange // of the sidx, Length 0 if it is not stated
	InitAt   ByteRange
	List     []ListEntry
}

// EarlyAll is an availabilityTimeOffset of "INF".
const EarlyAll = time.Duration(math.MaxInt64)

// Run is one S of a SegmentTimeline (5.3.9.6).
type Run struct {
	Line   int
	T      int64 // -1 if it is not stated
	D, R   int64 // R -1: up to the next or the end of the Period
	K      int64 // 1 if it is not stated
	Number int64 // 0 if it is not stated
}

// ListEntry is one SegmentURL.
type ListEntry struct {
	URL   string
	Range ByteRange
	Line  int
}

// ByteRange is a part of a resource; Length 0 means all of it.
type ByteRange struct{ Length, Offset int64 }

// MPD reads a manifest. The error is a *LineError.
func (r *Reader) MPD(b []byte) (*MPD, error) {
	n, err := r.Tree(b)
	if err != nil {
		return nil, err
	}
	v := &values{}
	m := &MPD{
		Node: n, Dynamic: v.text(n, "type") == "dynamic", Profiles: v.text(n, "profiles"),
		AvailabilityStart: v.date(n, "availabilityStartTime"), Publish: v.date(n, "publishTime"),
		Duration: v.duration(n, "mediaPresentationDuration"), MinBuffer: v.duration(n, "minBufferTime"),
		MaxSegment: v.duration(n, "maxSegmentDuration"), Update: v.duration(n, "minimumUpdatePeriod"),
		TimeShift: v.duration(n, "timeShiftBufferDepth"), Delay: v.duration(n, "suggestedPresentationDelay"),
	}
	if base := n.First("BaseURL"); base != nil {
		m.Base = base.Text
	}
	for _, p := range n.All("Period") {
		m.Stretches = append(m.Stretches, readPeriod(v, p))
	}
	m.place()
	return m, v.err
}

// place gives Periods the start and the duration that others say (5.3.2.1).
func (m *MPD) place() {
	for i := range m.Stretches {
		p := &m.Stretches[i]
		if p.Start == Absent && i == 0 {
			p.Start = 0
		}
		if p.Start == Absent {
			if b := &m.Stretches[i-1]; b.Duration != Absent && b.Start != Absent {
				p.Start = b.Start + b.Duration
			}
		}
		if i > 0 && m.Stretches[i-1].Duration == Absent && p.Start != Absent {
			b := &m.Stretches[i-1]
			b.Duration = p.Start - b.Start
		}
	}
	if n := len(m.Stretches); n > 0 && m.Stretches[n-1].Duration == Absent && m.Duration != Absent {
		p := &m.Stretches[n-1]
		p.Duration = max(m.Duration-p.Start, 0)
	}
}

func readPeriod(v *values, n *Node) Stretch {
	p := Stretch{Node: n, ID: v.text(n, "id"), Start: v.duration(n, "start"), Duration: v.duration(n, "duration")}
	for _, s := range n.All("AdaptationSet") {
		p.Sets = append(p.Sets, readSet(v, n, s))
	}
	return p
}

func readSet(v *values, period, n *Node) Adaptation {
	a := Adaptation{
		Node: n, ContentType: v.text(n, "contentType"), Language: v.text(n, "lang"),
		Aligned: v.flag(n, "segmentAlignment", false), SAP: v.whole(n, "startWithSAP", 0),
	}
	for _, rep := range n.All("Representation") {
		a.Tracks = append(a.Tracks, readTrack(v, period, n, rep))
	}
	if a.ContentType == "" && len(a.Tracks) > 0 {
		a.ContentType, _, _ = strings.Cut(a.Tracks[0].MimeType, "/")
	}
	return a
}

func readTrack(v *values, period, set, n *Node) Track {
	// An attribute is the Representation's, or else the AdaptationSet's.
	from := func(name string) *Node {
		if _, ok := n.Get(name); ok {
			return n
		}
		return set
	}
	t := Track{
		Node: n, ID: v.text(n, "id"), Codecs: v.text(from("codecs"), "codecs"), MimeType: v.text(from("mimeType"), "mimeType"),
		Bandwidth: v.whole(n, "bandwidth", 0), Width: v.whole(from("width"), "width", 0), Height: v.whole(from("height"), "height", 0),
		FrameRate: v.ratio(from("frameRate"), "frameRate", "/"), SAR: v.ratio(from("sar"), "sar", ":"),
		SampleRate: v.whole(from("audioSamplingRate"), "audioSamplingRate", 0),
	}
	for _, e := range []*Node{n.First("AudioChannelConfiguration"), set.First("AudioChannelConfiguration")} {
		if e != nil && t.Channels == "" {
			t.Channels = v.text(e, "value")
		}
	}
	for _, e := range []*Node{period, set, n} {
		if base := e.First("BaseURL"); base != nil {
			t.Base = append(t.Base, base.Text)
		}
	}
	t.Addressing = readAddressing(v, [3]*Node{period, set, n})
	return t
}

// readAddressing reads the lowest of SegmentTemplate, SegmentList and SegmentBase;
// what it does not say, the ones above say.
func readAddressing(v *values, levels [3]*Node) Addressing {
	a := Addressing{Timescale: 1, StartNumber: 1, Complete: true, EndNumber: 0}
	for _, level := range levels {
		for _, name := range [...]string{"SegmentBase", "SegmentList", "SegmentTemplate"} {
			if n := level.First(name); n != nil {
				a.inherit(v, n)
			}
		}
	}
	if a.Node != nil && a.Timescale < 1 {
		v.fail(a.Node, "timescale", "%w: 0", av.ErrInvalid)
		a.Timescale = 1
	}
	return a
}

func (a *Addressing) inherit(v *values, n *Node) {
	a.Node = n
	a.Timescale = v.whole(n, "timescale", a.Timescale)
	a.Offset = v.whole(n, "presentationTimeOffset", a.Offset)
	a.StartNumber = v.whole(n, "startNumber", a.StartNumber)
	a.EndNumber = v.whole(n, "endNumber", a.EndNumber)
	a.Duration = v.whole(n, "duration", a.Duration)
	if r := v.span(n, "indexRange"); r.Length > 0 {
		a.Index = r
	}
	a.early(v, n)
	if e := n.First("Initialization"); e != nil {
		a.InitAt = v.span(e, "range")
		if s, ok := e.Get("sourceURL"); ok {
			a.Init = s
		}
	}
	switch n.Name {
	case "SegmentBase":
		a.How = BySegmentIndex
		return
	case "SegmentList":
		a.How = BySegmentList
		for _, e := range n.All("SegmentURL") {
			a.List = append(a.List, ListEntry{v.text(e, "media"), v.span(e, "mediaRange"), e.Line})
		}
	default:
		if a.How != ByTimeline {
			a.How = ByNumber
		}
		if s, ok := n.Get("initialization"); ok {
			a.Init = s
		}
		if s, ok := n.Get("media"); ok {
			a.Media = s
		}
	}
	if t := n.First("SegmentTimeline"); t != nil {
		if n.Name == "SegmentTemplate" {
			a.How = ByTimeline
		}
		a.Runs = a.Runs[:0:0]
		for _, s := range t.All("S") {
			a.Runs = append(a.Runs, readRun(v, s))
		}
	}
}

func readRun(v *values, s *Node) Run {
	r := Run{
		Line: s.Line, T: v.whole(s, "t", -1), D: v.whole(s, "d", 0), K: v.whole(s, "k", 1), Number: v.whole(s, "n", 0),
	}
	if text, _ := s.Get("r"); strings.HasPrefix(strings.TrimSpace(text), "-") {
		r.R = -1
	} else {
		r.R = v.whole(s, "r", 0)
	}
	return r
}

func (a *Addressing) early(v *values, n *Node) {
	a.Complete = v.flag(n, "availabilityTimeComplete", a.Complete)
	s, ok := n.Get("availabilityTimeOffset")
	if !ok {
		return
	}
	a.HasEarly = true
	if s == "INF" {
		a.Early = EarlyAll
		return
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || x < -1e6 || x > 1e6 || x != x {
		v.fail(n, "availabilityTimeOffset", "%w: %.20q", av.ErrInvalid, s)
		return
	}
	a.Early = time.Duration(x * float64(time.Second))
}

// SegmentRef is one segment that an Addressing names.
type SegmentRef struct {
	Number    int64
	Time, Dur int64 // ticks of the timescale, with Offset in them
	URL       string
	Range     ByteRange
	Line      int
}

// Segments returns the segments of the Track in a Period of that duration (Absent:
// without an end; then only what a timeline or a list names). Of those by number,
// only the ones from number first on are returned. It fails if there are more than
// the Reader allows. BySegmentIndex has none: the sidx has.
func (r *Reader) Segments(t *Track, period time.Duration, first int64) ([]SegmentRef, error) {
	a := &t.Addressing
	limit := orDefault(r.MaxEntries, DefaultMaxEntries)
	tb := av.Timebase{Num: 1, Den: uint32(min(a.Timescale, math.MaxUint32))}
	end := int64(math.MaxInt64)
	if period != Absent {
		end = a.Offset + tb.Ticks(period)
	}
	var out []SegmentRef
	add := func(s SegmentRef) error {
		if len(out) >= limit {
			return &LineError{s.Line, "", fmt.Errorf("%w: more than %d segments", av.ErrTooLarge, limit)}
		}
		if a.How != BySegmentList {
			s.URL = t.Expand(a.Media, s.Number, s.Time)
		}
		out = append(out, s)
		return nil
	}
	switch a.How {
	case ByTimeline:
		err := a.walk(end, add)
		return out, err
	case ByNumber:
		err := a.count(end, first, add)
		return out, err
	case BySegmentList:
		at := a.Offset
		for i, e := range a.List {
			s := SegmentRef{Number: a.StartNumber + int64(i), Time: at, Dur: a.Duration, URL: e.URL, Range: e.Range, Line: e.Line}
			if err := add(s); err != nil {
				return out, err
			}
			at += a.Duration
		}
	}
	return out, nil
}

// count names segments of equal length up to end.
func (a *Addressing) count(end, first int64, add func(SegmentRef) error) error {
	if a.Duration <= 0 || end == math.MaxInt64 && a.EndNumber == 0 {
		return nil
	}
	for n := max(first, a.StartNumber); ; n++ {
		index := n - a.StartNumber
		if index > (math.MaxInt64-a.Offset)/a.Duration-1 {
			return nil
		}
		at := a.Offset + index*a.Duration
		if at >= end || a.EndNumber > 0 && n > a.EndNumber {
			return nil
		}
		if err := add(SegmentRef{Number: n, Time: at, Dur: min(a.Duration, end-at), Line: a.Line}); err != nil {
			return err
		}
	}
}

// walk names the segments of a timeline (5.3.9.6).
func (a *Addressing) walk(end int64, add func(SegmentRef) error) error {
	at, number := int64(0), a.StartNumber
	for i, run := range a.Runs {
		if run.T >= 0 {
			at = run.T
		}
		if run.Number > 0 {
			number = run.Number
		}
		if run.D <= 0 || run.D > 1<<61 || at > 1<<61 {
			return &LineError{run.Line, "S@d", fmt.Errorf("%w: %d at %d", av.ErrInvalid, run.D, at)}
		}
		until := end
		if i+1 < len(a.Runs) && a.Runs[i+1].T >= 0 {
			until = a.Runs[i+1].T
		}
		for k := int64(0); run.R < 0 && at < until && until != math.MaxInt64 || run.R >= k; k++ {
			if err := add(SegmentRef{Number: number, Time: at, Dur: run.D, Line: run.Line}); err != nil {
				return err
			}
			if at += run.D; at > 1<<61 {
				return &LineError{run.Line, "S@d", fmt.Errorf("%w: ends at %d", av.ErrTooLarge, at)}
			}
			number++
		}
	}
	return nil
}

// Expand puts the identifiers of table 16 into a template.
func (t *Track) Expand(template string, number, time int64) string {
	var out strings.Builder
	for rest := template; ; {
		before, after, ok := strings.Cut(rest, "$")
		out.WriteString(before)
		if !ok {
			return out.String()
		}
		name, behind, ok := strings.Cut(after, "$")
		if !ok {
			out.WriteString("$" + after)
			return out.String()
		}
		rest = behind
		name, width, _ := strings.Cut(name, "%0")
		n, _ := strconv.Atoi(strings.TrimSuffix(width, "d"))
		n = min(max(n, 1), 32)
		switch name {
		case "":
			out.WriteByte('$')
		case "RepresentationID":
			out.WriteString(t.ID)
		case "Number":
			fmt.Fprintf(&out, "%0*d", n, number)
		case "Time":
			fmt.Fprintf(&out, "%0*d", n, time)
		case "Bandwidth":
			fmt.Fprintf(&out, "%0*d", n, t.Bandwidth)
		default:
			out.WriteString("$" + name + "$")
		}
	}
}
