package deliver

import (
	"fmt"
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
