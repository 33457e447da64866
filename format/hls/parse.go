package hls

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cleave-video/cleave/av"
)

// The limits of what is parsed. A playlist within them costs at most a few
// megabytes of memory, whatever it says.
const (
	MaxSize    = 1 << 20 // bytes of a playlist
	MaxEntries = 10000   // segments, parts, variants, renditions, hints and reports
)

// IsMultivariant reports whether text looks like a multivariant playlist: it
// has a variant or a rendition.
func IsMultivariant(text []byte) bool {
	s := string(text[:min(len(text), MaxSize)])
	return strings.Contains(s, "\n#EXT-X-STREAM-INF:") || strings.Contains(s, "\n#EXT-X-MEDIA:") ||
		strings.Contains(s, "\n#EXT-X-I-FRAME-STREAM-INF:")
}

// scanner goes through the lines of a playlist and remembers where it is, for
// errors.
type scanner struct {
	text    string
	next    int // first byte behind the line
	line    int // number of the line, from 1
	off     int // its first byte
	tag     string
	value   string // what follows the tag's colon, or the URI if tag is empty
	entries int
	seen    map[string]bool // tags that may stand only once
}

func newScanner(data []byte) (*scanner, error) {
	s := &scanner{seen: make(map[string]bool)}
	if len(data) > MaxSize {
		return nil, s.errorf("%w: %d bytes > %d", av.ErrTooLarge, len(data), MaxSize)
	}
	if !utf8.Valid(data) {
		return nil, s.errorf("%w: not UTF-8", av.ErrInvalid)
	}
	s.text = string(data)
	if !strings.HasPrefix(s.text, "#EXTM3U\n") && !strings.HasPrefix(s.text, "#EXTM3U\r\n") && s.text != "#EXTM3U" {
		s.tag = "EXTM3U"
		return nil, s.errorf("%w: not the first line", av.ErrInvalid)
	}
	return s, nil
}

// scan goes to the next line that is a tag or a URI.
func (s *scanner) scan() (bool, error) {
	for s.next < len(s.text) {
		s.off = s.next
		s.line++
		line, _, _ := strings.Cut(s.text[s.off:], "\n")
		s.next = s.off + len(line) + 1
		line = strings.TrimSuffix(line, "\r")
		s.tag, s.value = "", ""
		for i := range len(line) {
			if line[i] < ' ' || line[i] == 0x7F {
				return false, s.errorf("%w: control character 0x%02x", av.ErrInvalid, line[i])
			}
		}
		switch {
		case line == "", strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "#EXT"):
			continue // blank or comment
		case line[0] == '#':
			s.tag, s.value, _ = strings.Cut(line[1:], ":")
		default:
			s.value = line
		}
		return true, nil
	}
	return false, nil
}

func (s *scanner) errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	field := s.tag
	if field == "" {
		field = "URI"
	}
	return &av.Error{Format: "hls", Offset: int64(s.off), Field: field, Err: fmt.Errorf("line %d: %w", s.line, err)}
}

// once fails when the tag has been there before (4.4: at most one per playlist).
func (s *scanner) once() error {
	if s.seen[s.tag] {
		return s.errorf("%w: second time", av.ErrInvalid)
	}
	s.seen[s.tag] = true
	return nil
}

// count fails when there are more entries than MaxEntries.
func (s *scanner) count() error {
	if s.entries++; s.entries > MaxEntries {
		return s.errorf("%w: more than %d entries", av.ErrTooLarge, MaxEntries)
	}
	return nil
}

// integer reads a decimal-integer (4.2).
func (s *scanner) integer(name, v string) (int64, error) {
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		return 0, s.errorf("%s%w: %q is no decimal integer", name, av.ErrInvalid, v)
	}
	return int64(n), nil
}

// seconds reads a decimal-floating-point number of seconds (4.2) to the
// nearest microsecond.
func (s *scanner) seconds(name, v string) (int64, error) {
	whole, frac, point := strings.Cut(v, ".")
	sec, err := strconv.ParseUint(whole, 10, 31)
	if err != nil || (point && frac == "") || len(frac) > 20 {
		return 0, s.errorf("%s%w: %q is no decimal number of seconds", name, av.ErrInvalid, v)
	}
	us, unit := int64(sec)*1000000, int64(100000)
	for i := range len(frac) {
		if frac[i] < '0' || frac[i] > '9' {
			return 0, s.errorf("%s%w: %q is no decimal number of seconds", name, av.ErrInvalid, v)
		}
		if i == 6 && frac[i] >= '5' {
			us++
		}
		us += int64(frac[i]-'0') * unit
		unit /= 10
	}
	return us, nil
}

// byteRange reads n[@o]; offset is -1 if there is none (4.4.4.2).
func (s *scanner) byteRange(name, v string) (r ByteRange, err error) {
	length, offset, at := strings.Cut(v, "@")
	if r.Length, err = s.integer(name, length); err != nil {
		return r, err
	}
	if r.Offset = -1; at {
		if r.Offset, err = s.integer(name, offset); err != nil {
			return r, err
		}
	}
	if r.Length == 0 || r.Offset > 1<<62-r.Length {
		return r, s.errorf("%s%w: range %q", name, av.ErrInvalid, v)
	}
	return r, nil
}

// attribute is one NAME=VALUE of an attribute list (4.2).
type attribute struct {
	name, value string
	quoted      bool
}

// attributes splits the tag's value. No name may stand twice.
func (s *scanner) attributes() ([]attribute, error) {
	var list []attribute
	for rest := s.value; ; {
		a, tail, err := s.attribute(rest)
		if err != nil {
			return nil, err
		}
		for i := range list {
			if list[i].name == a.name {
				return nil, s.errorf("%w: second %s", av.ErrInvalid, a.name)
			}
		}
		// The standard's longest list has 22 names; the limit keeps the search
		// above short.
		if list = append(list, a); len(list) > 64 {
			return nil, s.errorf("%w: more than 64 attributes", av.ErrTooLarge)
		}
		if tail == "" {
			return list, nil
		}
		rest = tail[1:]
	}
}

// attribute takes one attribute off text; tail is empty or starts with a comma.
func (s *scanner) attribute(text string) (a attribute, tail string, err error) {
	name, rest, ok := strings.Cut(text, "=")
	if !ok || name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
		return a, "", s.errorf("%w: no attribute name in %.40q", av.ErrInvalid, text)
	}
	a.name = name
	if strings.HasPrefix(rest, `"`) {
		a.quoted = true
		if a.value, tail, ok = strings.Cut(rest[1:], `"`); !ok {
			return a, "", s.errorf("%s: %w: no closing quote", name, av.ErrInvalid)
		}
	} else {
		end := strings.IndexByte(rest, ',')
		if end < 0 {
			end = len(rest)
		}
		a.value, tail = rest[:end], rest[end:]
		if a.value == "" || strings.ContainsAny(a.value, "\" ") {
			return a, "", s.errorf("%s: %w: value %.40q", name, av.ErrInvalid, a.value)
		}
	}
	if tail != "" && tail[0] != ',' {
		return a, "", s.errorf("%s: %w: %.40q behind the value", name, av.ErrInvalid, tail)
	}
	return a, tail, nil
}

// fields reads an attribute list by a table; what the table lacks is skipped
// (6.3.1), and every name in need must be there.
func (s *scanner) fields(set func(a attribute) error, need ...string) error {
	list, err := s.attributes()
	if err != nil {
		return err
	}
	for _, name := range need {
		found := false
		for i := range list {
			found = found || list[i].name == name
		}
		if !found {
			return s.errorf("%w: no %s", av.ErrInvalid, name)
		}
	}
	for _, a := range list {
		if err := set(a); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) text1(a attribute, dst *string) error {
	if !a.quoted {
		return s.errorf("%s: %w: not a quoted string", a.name, av.ErrInvalid)
	}
	*dst = a.value
	return nil
}

func (s *scanner) enum(a attribute, dst *string) error {
	if a.quoted {
		return s.errorf("%s: %w: quoted", a.name, av.ErrInvalid)
	}
	*dst = a.value
	return nil
}

func (s *scanner) flag(a attribute, dst *bool) error {
	if a.quoted || (a.value != "YES" && a.value != "NO") {
		return s.errorf("%s: %w: %q is neither YES nor NO", a.name, av.ErrInvalid, a.value)
	}
	*dst = a.value == "YES"
	return nil
}

func (s *scanner) int1(a attribute, dst *int64) (err error) {
	*dst, err = s.integer(a.name+": ", a.value)
	return err
}

func (s *scanner) duration(a attribute, dst *time.Duration) error {
	us, err := s.seconds(a.name+": ", a.value)
	*dst = time.Duration(us) * time.Microsecond
	return err
}
