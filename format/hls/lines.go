package hls

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cleave-video/cleave/av"
)

// The bounds of a Reader that states none.
const (
	DefaultMaxBytes   = 1 << 20
	DefaultMaxEntries = 10000
)

// Reader reads playlists, which may come from anywhere. The zero Reader is ready.
type Reader struct {
	// MaxBytes bounds a playlist's text, also after variables were put in;
	// 0 is DefaultMaxBytes.
	MaxBytes int
	// MaxEntries bounds the segments, parts, renditions and so on that a playlist
	// lists; 0 is DefaultMaxEntries.
	MaxEntries int
	// Import is what EXT-X-DEFINE:IMPORT finds: the variables of the multivariant
	// playlist. Query answers EXT-X-DEFINE:QUERYPARAM (4.4.2.3).
	Import map[string]string
	Query  func(name string) (string, bool)
	// Fault, if set, is told of each fault, and reading goes on behind it: what the
	// line said is then missing. Without it the first fault ends the reading.
	// Bounds end it in any case.
	Fault func(*LineError)
}

// LineError is a fault of a playlist's text. Err wraps one of the kinds in av.
type LineError struct {
	Line int    // counts from 1
	Tag  string // without '#'; empty for a URI or the text as a whole
	Err  error
}

func (e *LineError) Error() string {
	s := fmt.Sprintf("hls: line %d: ", e.Line)
	if e.Tag != "" {
		s += e.Tag + ": "
	}
	return s + e.Err.Error()
}

// Unwrap returns the kind of fault.
func (e *LineError) Unwrap() error { return e.Err }

// Line is one line of a playlist that is neither empty nor a comment.
type Line struct {
	Number int    // counts from 1
	Tag    string // "EXT-X-KEY", or empty: Value is a URI
	Value  string // what follows the colon
}

// Lines returns the lines of a playlist (4.1). Variables are not put in.
func (r *Reader) Lines(b []byte) ([]Line, error) {
	limit := orDefault(r.MaxBytes, DefaultMaxBytes)
	if len(b) > limit {
		return nil, &LineError{Line: 1, Err: fmt.Errorf("%w: %d bytes, at most %d are read", av.ErrTooLarge, len(b), limit)}
	}
	if bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		if err := r.fault(1, "", "%w: begins with a byte order mark", av.ErrInvalid); err != nil {
			return nil, err
		}
		b = b[3:]
	}
	if !utf8.Valid(b) {
		if err := r.fault(1, "", "%w: not UTF-8", av.ErrInvalid); err != nil {
			return nil, err
		}
	}
	var out []Line
	for n := 1; len(b) > 0; n++ {
		text, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		l, ok, err := r.line(n, string(bytes.TrimSuffix(text, []byte("\r"))))
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, l)
		}
	}
	if len(out) == 0 || out[0].Tag != "EXTM3U" || out[0].Number != 1 {
		return out, r.fault(1, "EXTM3U", "%w: not the first line", av.ErrInvalid)
	}
	return out, nil
}

// line splits one line; ok is false for what says nothing.
func (r *Reader) line(n int, s string) (l Line, ok bool, err error) {
	if s == "" || s[0] == '#' && !strings.HasPrefix(s, "#EXT") {
		return l, false, nil
	}
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7F {
			return l, false, r.fault(n, "", "%w: control character 0x%02x", av.ErrInvalid, s[i])
		}
	}
	if s[0] != '#' {
		return Line{n, "", s}, true, nil
	}
	tag, value, _ := strings.Cut(s[1:], ":")
	return Line{n, tag, value}, true, nil
}

// fault tells of a fault; what it returns ends the reading.
func (r *Reader) fault(line int, tag, format string, args ...any) error {
	e := &LineError{Line: line, Tag: tag, Err: fmt.Errorf(format, args...)}
	if r.Fault == nil {
		return e
	}
	r.Fault(e)
	return nil
}

func orDefault(v, def int) int {
	if v <= 0 {
		return def
	}
	return v
}

// IsMultivariant reports whether the lines are those of a multivariant playlist:
// it lists variants or renditions and no segments.
func IsMultivariant(lines []Line) bool {
	for i := range lines {
		switch lines[i].Tag {
		case "EXTINF", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE":
			return false
		case "EXT-X-STREAM-INF", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-MEDIA":
			return true
		}
	}
	return false
}

// Attribute is one of an attribute list (4.2).
type Attribute struct {
	Name, Value string
	Quoted      bool
}

// Attributes is an attribute list.
type Attributes []Attribute

// maxCompared is how many attributes of a list others are compared with: no tag has as
// many, and a list that has may have as many as its line has room for.
const maxCompared = 64

// ParseAttributes reads an attribute list. The error wraps av.ErrInvalid; what
// was read before it is returned.
func ParseAttributes(s string) (Attributes, error) {
	var out Attributes
	for {
		s = strings.TrimLeft(s, " \t") // some writers put a space behind the comma
		if s == "" {
			return out, nil
		}
		name, rest, ok := strings.Cut(s, "=")
		if !ok || !isName(name) {
			return out, fmt.Errorf("attribute %.40q: %w: no name and '='", s, av.ErrInvalid)
		}
		a := Attribute{Name: name}
		if strings.HasPrefix(rest, `"`) {
			a.Quoted = true
			if a.Value, rest, ok = strings.Cut(rest[1:], `"`); !ok {
				return out, fmt.Errorf("%s: %w: the quotes do not end", name, av.ErrInvalid)
			}
			if rest != "" && rest[0] != ',' {
				return out, fmt.Errorf("%s: %w: %.20q behind the quotes", name, av.ErrInvalid, rest)
			}
			s = strings.TrimPrefix(rest, ",")
		} else {
			a.Value, s, _ = strings.Cut(rest, ",")
			a.Value = strings.TrimRight(a.Value, " \t")
		}
		if _, twice := out[:min(len(out), maxCompared)].Lookup(name); twice {
			return out, fmt.Errorf("%s: %w: stands twice", name, av.ErrInvalid)
		}
		out = append(out, a)
	}
}

func isName(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != ""
}

// Get returns the value of an attribute, empty if it is not there.
func (a Attributes) Get(name string) string {
	v, _ := a.Lookup(name)
	return v
}

// Lookup returns the value of an attribute and whether it is there.
func (a Attributes) Lookup(name string) (string, bool) {
	for i := range a {
		if a[i].Name == name {
			return a[i].Value, true
		}
	}
	return "", false
}
