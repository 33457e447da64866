package hls

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
)

// Media reads a media playlist. Durations become spans of nanoseconds, one behind
// the other from 0. The error is a *LineError; with r.Fault set, what could be
// read is returned.
func (r *Reader) Media(b []byte) (*Media, error) {
	lines, err := r.Lines(b)
	if err != nil {
		return nil, err
	}
	return r.MediaLines(lines)
}

// MediaLines is Media for what Lines returned.
func (r *Reader) MediaLines(lines []Line) (*Media, error) {
	p := &mediaReader{scanner: newScanner(r), m: &Media{Version: 1}, dur: -1}
	for _, l := range lines {
		l, err := p.expand(l)
		if err == nil {
			err = p.entry(l)
		}
		if err == nil {
			if err = p.line(l); err != nil {
				err = r.fault(l.Number, l.Tag, "%w", err)
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if p.dur >= 0 {
		if err := r.fault(p.seg.Line, "EXTINF", "%w: no URI follows", av.ErrTruncated); err != nil {
			return nil, err
		}
	}
	if p.pending {
		p.seg.Span = Span{Start: p.pos, Dur: p.part, Timebase: av.Nanosecond}
		p.m.Segments = append(p.m.Segments, p.seg)
	}
	if p.m.TargetDuration < 1 {
		return p.m, r.fault(1, "EXT-X-TARGETDURATION", "%w: missing or 0", av.ErrInvalid)
	}
	return p.m, nil
}

// Faults that checkers tell apart. They wrap av.ErrInvalid.
var (
	ErrNoDuration = fmt.Errorf("%w: no EXTINF before it", av.ErrInvalid)
	ErrNoOffset   = fmt.Errorf("%w: no offset, and no range of that resource before it", av.ErrInvalid)
)

// mediaReader is a media playlist that is being read.
type mediaReader struct {
	scanner
	m       *Media
	seg     Segment // the next one
	pending bool    // a tag of seg has been read
	pos     int64   // where seg begins, ns
	part    int64   // sum of its parts, ns
	dur     time.Duration
	ranged  ByteRange // of seg
	lastURI string    // of the range before
	lastEnd int64
}

// longest bounds a playlist: 146 years in nanoseconds.
const longest = 1 << 62

func (p *mediaReader) line(l Line) error {
	switch l.Tag {
	case "":
		return p.uri(l)
	case "EXTINF":
		return p.extinf(l)
	case "EXT-X-PART", "EXT-X-PART-INF", "EXT-X-SERVER-CONTROL", "EXT-X-SKIP", "EXT-X-PRELOAD-HINT", "EXT-X-RENDITION-REPORT":
		return p.lowLatency(l)
	case "EXT-X-BYTERANGE", "EXT-X-DISCONTINUITY", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-PROGRAM-DATE-TIME", "EXT-X-GAP", "EXT-X-BITRATE":
		return p.segmentTag(l)
	case "EXT-X-DATERANGE":
		return p.dateRange(l)
	}
	return p.head(l)
}

// head reads a tag that concerns the whole playlist.
func (p *mediaReader) head(l Line) (err error) {
	m := p.m
	switch l.Tag {
	case "EXT-X-VERSION":
		err = version(l.Value, &m.Version)
	case "EXT-X-TARGETDURATION":
		m.TargetDuration, err = parseInt(l.Value)
	case "EXT-X-MEDIA-SEQUENCE":
		m.Sequence, err = parseInt(l.Value)
	case "EXT-X-DISCONTINUITY-SEQUENCE":
		m.DiscontinuitySequence, err = parseInt(l.Value)
	case "EXT-X-PLAYLIST-TYPE":
		if m.Type = PlaylistType(l.Value); m.Type != VOD && m.Type != Event {
			m.Type = Live
			err = fmt.Errorf("%w: %.20q is neither VOD nor EVENT", av.ErrInvalid, l.Value)
		}
	case "EXT-X-INDEPENDENT-SEGMENTS":
		m.IndependentSegments = true
	case "EXT-X-I-FRAMES-ONLY":
		m.IFramesOnly = true
	case "EXT-X-ENDLIST":
		m.EndList = true
	case "EXT-X-START":
		m.Start, err = parseStart(l.Value)
	case "EXT-X-DEFINE":
		var d Define
		if d, err = p.define(l); err == nil {
			m.Defines = append(m.Defines, d)
		}
	}
	return err
}

func version(s string, dst *int) error {
	n, err := parseInt(s)
	if err == nil && (n < 1 || n > 1000) {
		err = fmt.Errorf("%w: %d", av.ErrInvalid, n)
	}
	if err == nil {
		*dst = int(n)
	}
	return err
}

func (p *mediaReader) segmentTag(l Line) (err error) {
	s := &p.seg
	first := !p.pending && len(p.m.Segments) == 0
	switch l.Tag {
	case "EXT-X-BYTERANGE":
		p.ranged, err = parseRange(l.Value)
	case "EXT-X-DISCONTINUITY":
		s.Discontinuity = true
	case "EXT-X-KEY":
		var k Key
		if k, err = parseKey(l); err == nil {
			s.Keys = with(s.Keys, k)
		}
	case "EXT-X-MAP":
		var m Map
		if m, err = parseMap(l.Value); first && err == nil {
			p.m.Map = m // before anything of a segment
			return nil
		}
		s.Map = m
	case "EXT-X-PROGRAM-DATE-TIME":
		s.ProgramDateTime, err = ParseDate(l.Value)
	case "EXT-X-GAP":
		s.Gap = true
	case "EXT-X-BITRATE":
		s.Bitrate, err = parseInt(l.Value)
	}
	p.pending = true
	return err
}

func (p *mediaReader) extinf(l Line) error {
	length, title, _ := strings.Cut(l.Value, ",")
	d, err := parseSeconds(strings.TrimSpace(length))
	if err != nil {
		return err
	}
	p.seg.Title, p.dur, p.seg.Line, p.pending = title, d, l.Number, true
	return nil
}

// uri ends a segment.
func (p *mediaReader) uri(l Line) error {
	var err error
	if p.dur < 0 {
		p.dur, err = 0, fmt.Errorf("URI %.60q: %w", l.Value, ErrNoDuration)
	}
	s := p.seg
	s.URI, s.Line = l.Value, l.Number
	if p.ranged.Length > 0 {
		if e := p.place(&p.ranged, s.URI); e != nil && err == nil {
			err = e
		}
		s.Range = p.ranged
	}
	s.Span = Span{Start: p.pos, Dur: int64(p.dur), Timebase: av.Nanosecond}
	if p.pos += int64(p.dur); p.pos > longest {
		return fmt.Errorf("%w: more than %d s", av.ErrTooLarge, int64(longest/time.Second))
	}
	p.m.Segments = append(p.m.Segments, s)
	p.seg, p.pending, p.dur, p.part, p.ranged = Segment{}, false, -1, 0, ByteRange{}
	return err
}

// place gives a range without an offset its place behind the one before it, which
// must be of the same resource (4.4.4.2, 4.4.4.9).
func (p *mediaReader) place(r *ByteRange, uri string) error {
	if r.Offset < 0 {
		if uri != p.lastURI {
			r.Offset = 0
			return fmt.Errorf("range of %d bytes of %.60q: %w", r.Length, uri, ErrNoOffset)
		}
		r.Offset = p.lastEnd
	}
	p.lastURI, p.lastEnd = uri, r.Offset+r.Length
	return nil
}

func (p *mediaReader) dateRange(l Line) error {
	v, err := attributes(l.Value)
	if err != nil {
		return err
	}
	d := DateRange{
		ID: v.text("ID", true), Class: v.text("CLASS", false), Cue: v.text("CUE", false), Start: v.date("START-DATE", false),
		End: v.date("END-DATE", false), EndOnNext: v.yes("END-ON-NEXT"),
		Command: v.hexadecimal("SCTE35-CMD"), Out: v.hexadecimal("SCTE35-OUT"), In: v.hexadecimal("SCTE35-IN"), Line: l.Number,
	}
	for _, f := range [...]struct {
		name string
		to   **time.Duration
	}{{"DURATION", &d.Duration}, {"PLANNED-DURATION", &d.Planned}} {
		if _, has := v.list.Lookup(f.name); has {
			x := v.seconds(f.name, true)
			*f.to = &x
		}
	}
	for i := range v.list {
		if strings.HasPrefix(v.list[i].Name, "X-") {
			d.Client = append(d.Client, v.list[i])
		}
	}
	p.m.Dates = append(p.m.Dates, d)
	return v.err
}

func parseKey(l Line) (Key, error) {
	v, err := attributes(l.Value)
	if err != nil {
		return Key{}, err
	}
	k := Key{
		Method: v.word("METHOD", true), Format: v.text("KEYFORMAT", false), Versions: v.text("KEYFORMATVERSIONS", false),
		IV: v.hexadecimal("IV"), Line: l.Number,
	}
	k.URI = v.text("URI", k.Method != "NONE")
	// No rule says what KEYID is: anything else is passed over.
	if digits, ok := strings.CutPrefix(strings.ToLower(v.list.Get("KEYID")), "0x"); ok {
		if id, err := hex.DecodeString(digits); err == nil && len(id) == 16 {
			k.ID = id
		}
	}
	return k, v.err
}

func parseMap(s string) (Map, error) {
	v, err := attributes(s)
	if err != nil {
		return Map{}, err
	}
	m := Map{URI: v.text("URI", true)}
	if s := v.text("BYTERANGE", false); s != "" {
		if m.Range, err = parseRange(s); err != nil {
			v.fail("BYTERANGE", "%w", err)
		} else if m.Range.Offset < 0 {
			m.Range.Offset = 0
			v.fail("BYTERANGE", "%q: %w", s, ErrNoOffset)
		}
	}
	return m, v.err
}

func parseStart(s string) (*Start, error) {
	v, err := attributes(s)
	if err != nil {
		return nil, err
	}
	text, negative := strings.CutPrefix(v.word("TIME-OFFSET", true), "-")
	d, err := parseSeconds(text)
	if err != nil && v.err == nil {
		v.err = err
	}
	if negative {
		d = -d
	}
	return &Start{Offset: d, Precise: v.yes("PRECISE")}, v.err
}

func attributes(s string) (*values, error) {
	list, err := ParseAttributes(s)
	return &values{list: list}, err
}

// with adds a key to those before it, unless one of both ends encryption.
func with(keys []Key, k Key) []Key {
	if k.Method == MethodNone || len(keys) > 0 && keys[0].Method == MethodNone {
		keys = keys[:0]
	}
	return append(keys, k)
}
