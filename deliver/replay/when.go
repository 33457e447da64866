package replay

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// maxUnix bounds times: the year 2261, behind which the index has none.
const maxUnix = 9_200_000_000

// ParseTime reads a time of day: RFC 3339, Unix seconds, or with a minus sign in front
// seconds before now. Seconds may have nine decimals.
func ParseTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, fmt.Errorf("it is empty")
	}
	if digits, before := strings.CutPrefix(text, "-"); before || strings.Trim(text, "0123456789.") == "" {
		d, err := parseSeconds(digits)
		if err != nil {
			return time.Time{}, err
		}
		if before {
			return now.Add(-time.Duration(d)), nil
		}
		return time.Unix(0, d), nil
	}
	// A plus sign that was not escaped comes as a space.
	t, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(strings.ToUpper(text), " ", "+"))
	if err != nil || t.Unix() < 0 || t.Unix() > maxUnix {
		return time.Time{}, fmt.Errorf("%.40q is neither a time such as 2026-01-31T12:00:00Z nor a number of seconds since 1970", text)
	}
	return t, nil
}

// parseSeconds reads digits with at most nine decimals, exactly, as nanoseconds.
func parseSeconds(text string) (int64, error) {
	whole, part, point := strings.Cut(text, ".")
	s, err := strconv.ParseUint(whole, 10, 63)
	if err != nil || s > maxUnix || point && (part == "" || len(part) > 9 || strings.Trim(part, "0123456789") != "") {
		return 0, fmt.Errorf("%.40q is no number of seconds with at most nine decimals", text)
	}
	ns, _ := strconv.ParseInt((part + "000000000")[:9], 10, 64) // nine digits
	return int64(s)*int64(time.Second) + ns, nil
}

// unix writes a time as ParseTime reads it, exactly.
func unix(t time.Time) string {
	ns := t.UnixNano()
	s := strconv.FormatInt(ns/int64(time.Second), 10)
	if part := ns % int64(time.Second); part != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%09d", part), "0")
	}
	return s
}

// period is what was asked for: a zero From is the beginning, a zero To the end.
type period struct{ From, To time.Time }

// parsePeriod reads from and to.
func parsePeriod(q url.Values, now time.Time) (p period, err error) {
	for _, f := range [...]struct {
		name string
		to   *time.Time
	}{{"from", &p.From}, {"to", &p.To}} {
		if len(q[f.name]) > 1 {
			return p, bad(f.name + ": given twice")
		}
		if !q.Has(f.name) {
			continue
		}
		if *f.to, err = ParseTime(q.Get(f.name), now); err != nil {
			return p, bad(f.name + ": " + err.Error())
		}
	}
	if !p.From.IsZero() && !p.To.IsZero() && !p.From.Before(p.To) {
		return p, bad(fmt.Sprintf("from %s is not before to %s", shown(p.From), shown(p.To)))
	}
	return p, nil
}

// shown is a time as messages have it.
func shown(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z") }

// query is the period as a query, without "?".
func (p period) query() string { return "from=" + unix(p.From) + "&to=" + unix(p.To) }
