package hls

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cleave-video/cleave/av"
)

// Multivariant reads a multivariant playlist. The error is a *LineError; with
// r.Fault set, what could be read is returned.
func (r *Reader) Multivariant(b []byte) (*Multivariant, error) {
	lines, err := r.Lines(b)
	if err != nil {
		return nil, err
	}
	return r.MultivariantLines(lines)
}

// MultivariantLines is Multivariant for what Lines returned.
func (r *Reader) MultivariantLines(lines []Line) (*Multivariant, error) {
	p := &multiReader{scanner: newScanner(r), m: &Multivariant{Version: 1}}
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
	if p.open != nil {
		return p.m, r.fault(p.open.Line, "EXT-X-STREAM-INF", "%w: no URI follows", av.ErrTruncated)
	}
	return p.m, nil
}

// multiReader is a multivariant playlist that is being read.
type multiReader struct {
	scanner
	m    *Multivariant
	open *Variant // waits for its URI
}

func (p *multiReader) line(l Line) (err error) {
	m := p.m
	if p.open != nil && l.Tag != "" {
		line := p.open.Line
		p.open = nil
		return fmt.Errorf("%w: EXT-X-STREAM-INF of line %d has no URI behind it", av.ErrInvalid, line)
	}
	switch l.Tag {
	case "":
		return p.uri(l)
	case "EXT-X-VERSION":
		return version(l.Value, &m.Version)
	case "EXT-X-INDEPENDENT-SEGMENTS":
		m.IndependentSegments = true
	case "EXT-X-START":
		m.Start, err = parseStart(l.Value)
	case "EXT-X-DEFINE":
		var d Define
		if d, err = p.define(l); err == nil {
			m.Defines = append(m.Defines, d)
		}
	case "EXT-X-MEDIA":
		return p.media(l)
	case "EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF":
		return p.variant(l)
	case "EXT-X-SESSION-KEY":
		var k Key
		if k, err = parseKey(l); err == nil {
			m.SessionKeys = append(m.SessionKeys, k)
		}
	case "EXT-X-SESSION-DATA", "EXT-X-CONTENT-STEERING":
		return p.session(l)
	}
	return err
}

func (p *multiReader) uri(l Line) error {
	if p.open == nil {
		return fmt.Errorf("URI %.60q: %w: no EXT-X-STREAM-INF before it", l.Value, av.ErrInvalid)
	}
	p.open.URI = l.Value
	p.m.Variants = append(p.m.Variants, *p.open)
	p.open = nil
	return nil
}

func (p *multiReader) variant(l Line) error {
	v, err := attributes(l.Value)
	if err != nil {
		return err
	}
	iframes := l.Tag == "EXT-X-I-FRAME-STREAM-INF"
	x := Variant{
		Bandwidth: v.whole("BANDWIDTH", 0, true), AverageBandwidth: v.whole("AVERAGE-BANDWIDTH", 0, false),
		Codecs: v.text("CODECS", false), VideoRange: v.word("VIDEO-RANGE", false), Line: l.Number,
	}
	x.Width, x.Height = v.resolution("RESOLUTION")
	known := []string{"BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS", "RESOLUTION", "VIDEO-RANGE", "URI"}
	if !iframes {
		x.FrameRate, x.Audio = v.rate("FRAME-RATE"), v.text("AUDIO", false)
		known = append(known[:5], "FRAME-RATE", "AUDIO")
	}
	x.More = v.list.without(known)
	if iframes {
		x.URI = v.text("URI", true)
		p.m.IFrames = append(p.m.IFrames, x)
	} else {
		p.open = &x
	}
	return v.err
}

func (p *multiReader) media(l Line) error {
	v, err := attributes(l.Value)
	if err != nil {
		return err
	}
	x := Rendition{
		Type: v.word("TYPE", true), GroupID: v.text("GROUP-ID", true), Name: v.text("NAME", true), Language: v.text("LANGUAGE", false),
		Default: v.yes("DEFAULT"), Autoselect: v.yes("AUTOSELECT"), Channels: v.text("CHANNELS", false), URI: v.text("URI", false), Line: l.Number,
	}
	x.More = v.list.without([]string{"TYPE", "GROUP-ID", "NAME", "LANGUAGE", "DEFAULT", "AUTOSELECT", "CHANNELS", "URI"})
	p.m.Media = append(p.m.Media, x)
	return v.err
}

func (p *multiReader) session(l Line) error {
	v, err := attributes(l.Value)
	if err != nil {
		return err
	}
	if l.Tag == "EXT-X-CONTENT-STEERING" {
		p.m.Steering = &Steering{URI: v.text("SERVER-URI", true), Pathway: v.text("PATHWAY-ID", false), Line: l.Number}
		return v.err
	}
	d := SessionData{
		ID: v.text("DATA-ID", true), Value: v.text("VALUE", false), URI: v.text("URI", false), Language: v.text("LANGUAGE", false), Line: l.Number,
	}
	p.m.SessionData = append(p.m.SessionData, d)
	return v.err
}

func (a Attributes) without(names []string) Attributes {
	var out Attributes
	for i := range a {
		if !slices.Contains(names, a[i].Name) {
			out = append(out, a[i])
		}
	}
	return out
}

// scanner counts entries and puts variables in.
type scanner struct {
	r       *Reader
	vars    map[string]string
	entries int
	size    int // of the text that variables made
}

func newScanner(r *Reader) scanner { return scanner{r: r} }

// entry counts what a playlist can list without end.
func (s *scanner) entry(l Line) error {
	switch l.Tag {
	case "", "EXT-X-PART", "EXT-X-KEY", "EXT-X-DATERANGE", "EXT-X-PRELOAD-HINT", "EXT-X-RENDITION-REPORT", "EXT-X-DEFINE",
		"EXT-X-MEDIA", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-SESSION-DATA", "EXT-X-SESSION-KEY":
	default:
		return nil
	}
	limit := orDefault(s.r.MaxEntries, DefaultMaxEntries)
	if s.entries++; s.entries > limit {
		return &LineError{l.Number, l.Tag, fmt.Errorf("%w: more than %d entries", av.ErrTooLarge, limit)}
	}
	return nil
}

// expand puts variables into a line (4.3). Their values are not looked through
// again, so that none can grow another.
func (s *scanner) expand(l Line) (Line, error) {
	if s.vars == nil || !strings.Contains(l.Value, "{$") {
		return l, nil
	}
	var out strings.Builder
	rest := l.Value
	for {
		before, after, ok := strings.Cut(rest, "{$")
		out.WriteString(before)
		if !ok {
			break
		}
		name, behind, ok := strings.Cut(after, "}")
		if !ok || !isVariable(name) {
			out.WriteString("{$")
			rest = after
			continue
		}
		value, ok := s.vars[name]
		if !ok {
			if err := s.r.fault(l.Number, l.Tag, "%w: variable %.40q is not defined", av.ErrInvalid, name); err != nil {
				return l, err
			}
		}
		out.WriteString(value)
		rest = behind
		if limit := orDefault(s.r.MaxBytes, DefaultMaxBytes); s.size+out.Len() > limit {
			return l, &LineError{l.Number, l.Tag, fmt.Errorf("%w: more than %d bytes with variables put in", av.ErrTooLarge, limit)}
		}
	}
	s.size += out.Len()
	l.Value = out.String()
	return l, nil
}

func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

func (s *scanner) define(l Line) (Define, error) {
	v, err := attributes(l.Value)
	if err != nil {
		return Define{}, err
	}
	d := Define{Name: v.text("NAME", false), Import: v.text("IMPORT", false), Query: v.text("QUERYPARAM", false), Line: l.Number}
	name, value, ok := d.Name, "", true
	switch {
	case d.Name != "":
		value = v.text("VALUE", false)
		d.Value = value
	case d.Import != "":
		name = d.Import
		value, ok = s.r.Import[name]
	case d.Query != "":
		name = d.Query
		if ok = s.r.Query != nil; ok {
			value, ok = s.r.Query(name)
		}
	default:
		v.fail("NAME", "%w: missing, and so are IMPORT and QUERYPARAM", av.ErrInvalid)
	}
	if !ok {
		v.fail(name, "%w: there is no such variable to take", av.ErrInvalid)
	}
	if _, twice := s.vars[name]; twice {
		v.fail(name, "%w: defined twice", av.ErrInvalid)
	}
	if v.err == nil {
		if s.vars == nil {
			s.vars = map[string]string{}
		}
		s.vars[name] = value
	}
	return d, v.err
}

// Variables returns what a playlist's EXT-X-DEFINE tags define by NAME, for the
// Import of a Reader.
func (m *Multivariant) Variables() map[string]string {
	out := map[string]string{}
	for _, d := range m.Defines {
		if d.Name != "" {
			out[d.Name] = d.Value
		}
	}
	return out
}
