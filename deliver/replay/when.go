package replay

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/deliver"
)

// unix writes a time as deliver.ParseTime reads it, exactly.
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
		if *f.to, err = deliver.ParseTime(q.Get(f.name), now); err != nil {
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
