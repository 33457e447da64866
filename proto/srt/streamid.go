package srt

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Mode is what a caller wants of a stream.
type Mode uint8

// The modes. Request is the standard form's default, which reads.
const (
	ModePublish Mode = iota + 1
	ModeRead
)

func (m Mode) String() string {
	return [...]string{"none", "publish", "read"}[m]
}

// ID is what a stream id says.
type ID struct {
	Mode Mode
	Name string // not checked
}

// Errors of ParseID.
var (
	ErrStreamID = errors.New("srt: not a stream id")
	ErrMode     = errors.New("srt: mode or type not supported")
)

// MaxStreamID is the most bytes of a stream id. SRT 3.2.1.3
const MaxStreamID = 512

// standardForm begins the form of SRT's access control guidelines.
const standardForm = "#!::"

// ParseID reads "publish:NAME", "read:NAME", or the standard form
// "#!::r=NAME,m=publish" with keys in any order, of which u, h, s and foreign ones
// are passed over. Errors: ErrStreamID, ErrMode.
func ParseID(s string) (ID, error) {
	if s == "" || len(s) > MaxStreamID {
		return ID{}, fmt.Errorf("%w: %d bytes", ErrStreamID, len(s))
	}
	if i := strings.IndexFunc(s, hidden); i >= 0 {
		return ID{}, fmt.Errorf("%w: a character that is not printed at %d", ErrStreamID, i)
	}
	if rest, ok := strings.CutPrefix(s, standardForm); ok {
		return parseStandard(rest)
	}
	word, name, ok := strings.Cut(s, ":")
	switch {
	case ok && name != "" && word == "publish":
		return ID{ModePublish, name}, nil
	case ok && name != "" && word == "read":
		return ID{ModeRead, name}, nil
	}
	return ID{}, fmt.Errorf("%w: neither publish:NAME, read:NAME nor %sr=NAME,m=publish", ErrStreamID, standardForm)
}

func hidden(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// parseStandard reads the list of a standard form. A key that stands twice is an
// error: which of them was checked must not be a question.
func parseStandard(s string) (ID, error) {
	id := ID{Mode: ModeRead}
	var seen [256]bool
	for _, pair := range strings.Split(s, ",") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return ID{}, fmt.Errorf("%w: %q is not key=value", ErrStreamID, pair)
		}
		if len(key) > 1 {
			continue // an application's own
		}
		if seen[key[0]] {
			return ID{}, fmt.Errorf("%w: %s stands twice", ErrStreamID, key)
		}
		seen[key[0]] = true
		switch key {
		case "r":
			id.Name = value
		case "m":
			switch value {
			case "publish":
				id.Mode = ModePublish
			case "request":
			default:
				return ID{}, fmt.Errorf("%w: m=%s", ErrMode, value)
			}
		case "t":
			if value != "stream" {
				return ID{}, fmt.Errorf("%w: t=%s", ErrMode, value)
			}
		}
	}
	if id.Name == "" {
		return ID{}, fmt.Errorf("%w: without r", ErrStreamID)
	}
	return id, nil
}
