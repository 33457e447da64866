// Package plain has what is printed for people: strangers' texts made safe, and numbers
// with what they count.
package plain

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with what could move the cursor, turn the reading direction or hide
// written as Go writes it in quotes: \n, \x1b, \xff, \u202e.
func Text(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, odd) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case odd(r):
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

// Count is a number with its noun, which has a plural in s.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Bytes is a size to three digits, in the units that sizes are given in.
func Bytes(n int64) string {
	v := float64(n)
	for _, unit := range [...]string{"B", "KiB", "MiB"} {
		switch {
		case v < 999.5 && unit == "B":
			return fmt.Sprintf("%d B", n)
		case v < 999.5:
			return fmt.Sprintf("%.3g %s", v, unit)
		case v < 1023.5:
			return fmt.Sprintf("%.0f %s", v, unit)
		}
		v /= 1 << 10
	}
	if v < 999.5 {
		return fmt.Sprintf("%.3g GiB", v)
	}
	return fmt.Sprintf("%.0f GiB", v)
}

func odd(r rune) bool { return !unicode.IsPrint(r) }
