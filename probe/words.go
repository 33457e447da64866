package probe

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cleave-video/cleave/internal/plain"
)

// short prints seconds as people read them, and as the axis of a picture has them:
// "12.480 s", "1:30", "1:02:30.5".
func short(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second)).Round(10 * time.Millisecond)
	if d < time.Minute {
		return fmt.Sprintf("%.3f s", seconds)
	}
	h, m, s := d/time.Hour, d/time.Minute%60, d%time.Minute
	text := fmt.Sprintf("%d:%02d", m, s/time.Second)
	if h > 0 {
		text = fmt.Sprintf("%d:%02d:%02d", h, m, s/time.Second)
	}
	if part := s % time.Second; part > 0 {
		text += strings.TrimRight(fmt.Sprintf(".%02d", part/(10*time.Millisecond)), "0")
	}
	return text
}

// seconds prints a length that is given, such as 2 s, without loss.
func seconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'g', -1, 64) + " s"
}

// binary prints a number of bytes that is given, in the units people give it in.
func binary(n int64) string {
	for _, u := range [...]struct {
		shift int
		name  string
	}{{30, "GiB"}, {20, "MiB"}, {10, "KiB"}} {
		if n >= 1<<u.shift && n&(1<<u.shift-1) == 0 {
			return fmt.Sprintf("%d %s", n>>u.shift, u.name)
		}
	}
	return plain.Bytes(n)
}

// duration prints a measured time to three digits.
func duration(seconds float64) string {
	switch {
	case seconds < 999.5e-9:
		return fmt.Sprintf("%.0f ns", seconds*1e9)
	case seconds < 999.5e-6:
		return fmt.Sprintf("%.3g µs", seconds*1e6)
	case seconds < 0.9995:
		return fmt.Sprintf("%.3g ms", seconds*1e3)
	case seconds < 999.5:
		return fmt.Sprintf("%.3g s", seconds)
	}
	return fmt.Sprintf("%.0f s", seconds)
}

// bitrate prints bits a second to three digits.
func bitrate(v float64) string {
	switch {
	case v < 999.5:
		return fmt.Sprintf("%.0f bit/s", v)
	case v < 999.5e3:
		return fmt.Sprintf("%.3g kbit/s", v/1e3)
	case v < 999.5e6:
		return fmt.Sprintf("%.3g Mbit/s", v/1e6)
	}
	return fmt.Sprintf("%.4g Gbit/s", v/1e9)
}

// counted lists the names in order with how many there are of each.
func counted(n map[string]int, order []string) string {
	var out []string
	for _, k := range order {
		if n[k] > 0 {
			out = append(out, fmt.Sprintf("%d %s", n[k], k))
		}
	}
	return strings.Join(out, ", ")
}

// clean replaces what could move the cursor, turn the reading direction or hide:
// names and texts of an input are strangers' words.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// title names an input for people: a file without its folder, a URL without what may
// be secret in it.
func title(name string) string {
	if name == "-" {
		return "standard input"
	}
	if u, err := url.Parse(name); err == nil && (u.Scheme == "http" || u.Scheme == "https") {
		return clean(u.Host + u.Path)
	}
	return clean(filepath.Base(name))
}

// maxPattern is the room for a GOP's frame types in a table.
const maxPattern = 24

// pattern shortens the list of a GOP's frame types: repeated ones are counted, as in
// "IP(BBBP)×7".
func pattern(g *GOP) string {
	var b strings.Builder
	room := maxPattern
	put := func(s string) bool {
		n := len([]rune(s))
		if n >= room {
			return false
		}
		room -= n
		b.WriteString(s)
		return true
	}
	t := g.Types
	for i := 0; i < len(t); {
		unit, times := repeat(t[i:])
		text := t[i : i+unit]
		switch {
		case times > 1 && unit > 1:
			text = fmt.Sprintf("(%s)×%d", text, times)
		case times > 1:
			text = fmt.Sprintf("%s×%d", text, times)
		}
		if !put(text) {
			return b.String() + "…"
		}
		i += unit * times
	}
	if len(t) < g.Frames && len(t) > 0 {
		b.WriteString("…")
	}
	return b.String()
}

// repeat returns the unit at the start of t whose repetition saves most, and how
// often it stands there; 1 and 1 if none does.
func repeat(t string) (unit, times int) {
	unit, times = 1, 1
	saved := 0
	for u := 1; u <= 8 && 2*u <= len(t); u++ {
		n := 1
		for (n+1)*u <= len(t) && t[n*u:(n+1)*u] == t[:u] {
			n++
		}
		cost := u + 2 // times and a digit
		if u > 1 {
			cost += 2
		}
		if s := n*u - cost; n > 1 && s > saved {
			unit, times, saved = u, n, s
		}
	}
	return unit, times
}
