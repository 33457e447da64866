package dash

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
)

// values reads attributes; the first fault sticks.
type values struct{ err error }

func (v *values) fail(n *Node, name, format string, args ...any) {
	if v.err == nil {
		v.err = &LineError{n.Line, n.Name + "@" + name, fmt.Errorf(format, args...)}
	}
}

func (v *values) text(n *Node, name string) string {
	s, _ := n.Get(name)
	return s
}

// whole returns an unsigned integer below 2^62.
func (v *values) whole(n *Node, name string, absent int64) int64 {
	s, ok := n.Get(name)
	if !ok {
		return absent
	}
	x, err := strconv.ParseUint(strings.TrimSpace(s), 10, 62)
	if err != nil {
		v.fail(n, name, "%w: %.40q is no number", av.ErrInvalid, s)
		return absent
	}
	return int64(x)
}

func (v *values) flag(n *Node, name string, absent bool) bool {
	switch s, ok := n.Get(name); {
	case !ok:
		return absent
	case s == "true" || s == "1":
		return true
	case s == "false" || s == "0":
		return false
	default:
		v.fail(n, name, "%w: %.20q is neither true nor false", av.ErrInvalid, s)
		return absent
	}
}

// Absent is a duration that is not stated.
const Absent time.Duration = -1

// duration reads an xs:duration of days and less; it is not negative.
func (v *values) duration(n *Node, name string) time.Duration {
	s, ok := n.Get(name)
	if !ok {
		return Absent
	}
	d, err := parseDuration(strings.TrimSpace(s))
	if err != nil {
		v.fail(n, name, "%w", err)
		return Absent
	}
	return d
}

// parseDuration reads P[nY][nM][nD][T[nH][nM][nS]]; a year is 365 days and a month
// 30, as players have it.
func parseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%w: %.40q is no duration", av.ErrInvalid, s)
	rest, ok := strings.CutPrefix(s, "P")
	if !ok || rest == "" {
		return 0, bad
	}
	const day = 24 * time.Hour
	units := map[byte]time.Duration{'Y': 365 * day, 'M': 30 * day, 'D': day}
	var total time.Duration
	for rest != "" {
		if rest[0] == 'T' {
			units = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second}
			rest = rest[1:]
			continue
		}
		i := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if i <= 0 {
			return 0, bad
		}
		unit, ok := units[rest[i]]
		x, err := strconv.ParseFloat(rest[:i], 64)
		if !ok || err != nil || x*float64(unit) > float64(100*365*day) {
			return 0, bad
		}
		// Whole and fraction apart: a float has no nanoseconds left at years.
		whole, frac, _ := strings.Cut(rest[:i], ".")
		n, _ := strconv.ParseInt("0"+whole, 10, 62)
		f, _ := strconv.ParseFloat("0."+frac+"0", 64)
		total += time.Duration(n)*unit + time.Duration(f*float64(unit)+0.5)
		delete(units, rest[i])
		rest = rest[i+1:]
	}
	return total, nil
}

// date reads an xs:dateTime; one without a zone is UTC.
func (v *values) date(n *Node, name string) time.Time {
	s, ok := n.Get(name)
	if !ok {
		return time.Time{}
	}
	for _, layout := range [...]string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, strings.TrimSpace(s)); err == nil {
			return t
		}
	}
	v.fail(n, name, "%w: %.40q is no date", av.ErrInvalid, s)
	return time.Time{}
}

// ratio reads "30000/1001", "30" or, with another separator, "16:9".
func (v *values) ratio(n *Node, name, separator string) av.Rational {
	s, ok := n.Get(name)
	if !ok {
		return av.Rational{}
	}
	a, b, has := strings.Cut(s, separator)
	x, err1 := strconv.ParseUint(a, 10, 32)
	y, err2 := uint64(1), error(nil)
	if has {
		y, err2 = strconv.ParseUint(b, 10, 32)
	}
	if err1 != nil || err2 != nil || y == 0 {
		v.fail(n, name, "%w: %.40q is no ratio", av.ErrInvalid, s)
		return av.Rational{}
	}
	return av.Rational{Num: uint32(x), Den: uint32(y)}
}

// span reads "first-last" in bytes.
func (v *values) span(n *Node, name string) (r ByteRange) {
	s, ok := n.Get(name)
	if !ok {
		return r
	}
	a, b, _ := strings.Cut(s, "-")
	x, err1 := strconv.ParseUint(a, 10, 62)
	y, err2 := strconv.ParseUint(b, 10, 62)
	if err1 != nil || err2 != nil || y < x {
		v.fail(n, name, "%w: %.40q is no range", av.ErrInvalid, s)
		return r
	}
	return ByteRange{Offset: int64(x), Length: int64(y - x + 1)}
}
