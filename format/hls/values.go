package hls

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
)

// values reads the attributes of one tag; the first fault sticks.
type values struct {
	list Attributes
	err  error
}

func (v *values) fail(name, format string, args ...any) {
	if v.err == nil {
		v.err = fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...))
	}
}

// text returns a quoted-string. Enumerated strings are read by word.
func (v *values) text(name string, need bool) string {
	for i := range v.list {
		if a := &v.list[i]; a.Name == name {
			if !a.Quoted {
				v.fail(name, "%w: %.40q has no quotes", av.ErrInvalid, a.Value)
			}
			if need && a.Value == "" {
				v.fail(name, "%w: empty", av.ErrInvalid)
			}
			return a.Value
		}
	}
	if need {
		v.fail(name, "%w: missing", av.ErrInvalid)
	}
	return ""
}

func (v *values) word(name string, need bool) string {
	for i := range v.list {
		if a := &v.list[i]; a.Name == name {
			if a.Quoted {
				v.fail(name, "%w: %.40q stands in quotes", av.ErrInvalid, a.Value)
			}
			return a.Value
		}
	}
	if need {
		v.fail(name, "%w: missing", av.ErrInvalid)
	}
	return ""
}

func (v *values) yes(name string) bool {
	switch w := v.word(name, false); w {
	case "YES":
		return true
	case "", "NO":
		return false
	default:
		v.fail(name, "%w: %.20q is neither YES nor NO", av.ErrInvalid, w)
		return false
	}
}

// whole returns a decimal-integer, or absent if it is not there.
func (v *values) whole(name string, absent int64, need bool) int64 {
	s, ok := v.list.Lookup(name)
	if !ok {
		if need {
			v.fail(name, "%w: missing", av.ErrInvalid)
		}
		return absent
	}
	n, err := parseInt(s)
	if err != nil {
		v.fail(name, "%w", err)
	}
	return n
}

func (v *values) seconds(name string, need bool) time.Duration {
	s := v.word(name, need)
	if s == "" {
		return 0
	}
	d, err := parseSeconds(s)
	if err != nil {
		v.fail(name, "%w", err)
	}
	return d
}

// date returns a date; zero is zero if it is not there.
func (v *values) date(name string, need bool) time.Time {
	s := v.text(name, need)
	if s == "" {
		return time.Time{}
	}
	t, err := ParseDate(s)
	if err != nil {
		v.fail(name, "%w", err)
	}
	return t
}

func (v *values) resolution(name string) (w, h int) {
	s := v.word(name, false)
	if s == "" {
		return 0, 0
	}
	a, b, ok := strings.Cut(s, "x")
	x, err1 := strconv.ParseUint(a, 10, 31)
	y, err2 := strconv.ParseUint(b, 10, 31)
	if !ok || err1 != nil || err2 != nil {
		v.fail(name, "%w: %.20q is not WIDTHxHEIGHT", av.ErrInvalid, s)
		return 0, 0
	}
	return int(x), int(y)
}

// hexadecimal returns the bytes of a hexadecimal-sequence.
func (v *values) hexadecimal(name string) []byte {
	s := v.word(name, false)
	if s == "" {
		return nil
	}
	digits, ok := strings.CutPrefix(strings.ToLower(s), "0x")
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	b, err := hex.DecodeString(digits)
	if !ok || err != nil {
		v.fail(name, "%w: %.40q is no hexadecimal-sequence", av.ErrInvalid, s)
		return nil
	}
	return b
}

// maxRate bounds EXT-X-STREAM-INF's FRAME-RATE: more is no video's, but a sign of times
// that are wrong.
const maxRate = 100_000

// rate returns a decimal-floating-point as a fraction of three digits, or the
// fraction by 1001 that it is the rounding of.
func (v *values) rate(name string) av.Rational {
	s := v.word(name, false)
	if s == "" {
		return av.Rational{}
	}
	d, err := parseSeconds(s)
	if err != nil || d > maxRate*time.Second {
		v.fail(name, "%w: %.20q is no frame rate", av.ErrInvalid, s)
		return av.Rational{}
	}
	milli := uint32((d + 500*time.Microsecond).Milliseconds())
	if n := (milli + 999) / 1000; milli%1000 != 0 && (n*1000000+500)/1001 == milli {
		return av.Rational{Num: n * 1000, Den: 1001}
	}
	return av.Rational{Num: milli, Den: 1000}.Reduced()
}

// parseInt reads a decimal-integer (4.2).
func parseInt(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || s[0] == '+' {
		return 0, fmt.Errorf("%w: %.40q is no decimal-integer", av.ErrInvalid, s)
	}
	return int64(n), nil
}

// parseSeconds reads a decimal-floating-point that is not negative, to the
// nanosecond (4.2).
func parseSeconds(s string) (time.Duration, error) {
	whole, frac, point := strings.Cut(s, ".")
	n, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || whole[0] == '+' || n > 1e9 {
		return 0, fmt.Errorf("%w: %.40q is no length in seconds", av.ErrInvalid, s)
	}
	ns := int64(0)
	for i := range 9 {
		ns *= 10
		if i < len(frac) {
			ns += int64(frac[i] - '0')
		}
	}
	for i := range len(frac) {
		if frac[i] < '0' || frac[i] > '9' {
			point = true
			frac = ""
			break
		}
	}
	if point && frac == "" {
		return 0, fmt.Errorf("%w: %.40q is no length in seconds", av.ErrInvalid, s)
	}
	return time.Duration(n)*time.Second + time.Duration(ns), nil
}

// ParseDate reads a date of ISO 8601 as playlists have it. One without a zone is
// taken as UTC (4.4.4.6 asks for a zone, not for the colon in it).
func ParseDate(s string) (time.Time, error) {
	for _, layout := range [...]string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: %.40q is no date of ISO 8601", av.ErrInvalid, s)
}

// parseRange reads LENGTH[@OFFSET]; the offset is -1 if it is left out (4.4.4.2).
func parseRange(s string) (ByteRange, error) {
	length, offset, has := strings.Cut(s, "@")
	n, err := parseInt(length)
	at := int64(-1)
	if err == nil && has {
		at, err = parseInt(offset)
	}
	if err != nil {
		return ByteRange{}, err
	}
	if n == 0 || n > 1<<62 || at > 1<<62 {
		return ByteRange{}, fmt.Errorf("%w: range %.40q", av.ErrInvalid, s)
	}
	return ByteRange{Length: n, Offset: at}, nil
}
