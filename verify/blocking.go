package verify

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// patience is how long a blocking request may take: a server that has nothing new for
// three target durations says so (RFC 8216bis 6.2.5.2).
func (f *follow) patience() time.Duration { return 3*f.targetDuration() + 2*late }

// checkBlocked checks the answer to a blocking request that took long. It reports
// whether it was none that can be read: the stream stands still.
func (f *follow) checkBlocked(target string, a *answer, err error) bool {
	c, td := f.c, f.targetDuration()
	at := Place{File: f.name, group: f.name}
	_, query, _ := strings.Cut(target, "?")
	switch {
	case a == nil && errors.Is(err, context.DeadlineExceeded):
		c.saw("L23")
		c.find("L23", at, "%s is not answered within %s, TARGETDURATION is %s: 503 would say that the stream stands still", query, f.patience(), td)
		return true
	case a == nil || td == 0:
		return false
	}
	took := a.first.Sub(a.began)
	if took < 3*td-late {
		return false
	}
	c.saw("L23")
	if a.status == http.StatusServiceUnavailable {
		return true
	}
	if took > 3*td+late {
		c.find("L23", at, "%s is answered by %d after %s, TARGETDURATION is %s", query, a.status, took.Round(time.Millisecond), td)
	}
	return false
}

// checkKept checks that a blocking answer, which every player asks for by the same
// URL, may be kept by the caches between.
func (c *checker) checkKept(name string, a *answer) {
	if a.header == nil {
		return
	}
	c.saw("L28")
	said := strings.Join(a.header.Values("Cache-Control"), ",")
	for _, d := range strings.Split(strings.ToLower(said), ",") {
		if slices.Contains([]string{"no-store", "no-cache", "private", "max-age=0", "s-maxage=0"}, strings.TrimSpace(d)) {
			c.find("L28", Place{File: name, group: name}, "Cache-Control: %s of an answer to a blocking request: each player's comes to the origin", said)
			return
		}
	}
}

// roundTrip notes how long the server took to begin an answer for which it need not
// wait.
func (f *follow) roundTrip(a *answer) { f.trips = append(f.trips, a.first.Sub(a.began)) }

// leastTrips is of how many round trips a percentile is taken.
const leastTrips = 10

// checkTrips compares the 95th percentile of the round trips with PART-TARGET.
func (f *follow) checkTrips() {
	if f.last == nil || f.last.p.m.PartTarget == 0 || len(f.trips) < leastTrips {
		return
	}
	f.c.saw("A35")
	slices.Sort(f.trips)
	p95, target := f.trips[len(f.trips)*95/100], f.last.p.m.PartTarget
	if p95 > target {
		f.c.find("A35", Place{File: f.name, group: f.name}, "19 of 20 segments begin to come within %s, PART-TARGET is %s", p95.Round(time.Millisecond), target)
	}
}

// checkWait asks with directives and checks that the answer has the part of the
// segment, or the segment, that they name.
func (f *follow) checkWait(rule, query string, msn, part int64) {
	c, at := f.c, Place{File: f.name, group: f.name}
	p, a, status := f.ask(query, f.patience())
	if c.ctx.Err() != nil {
		return
	}
	if p == nil {
		switch status {
		case 0:
			c.saw("L23")
			c.find("L23", at, "%s is not answered within %s", query, f.patience())
		case http.StatusServiceUnavailable: // it stands still
		default:
			c.saw(rule)
			c.should(rule, at, "%s is answered by %d", query, status) // it may be an error
		}
		return
	}
	c.saw(rule)
	c.checkKept(f.name, a)
	if e, n := edge(p); !p.EndList && (e < msn-1 || e == msn-1 && (part < 0 || n < part)) {
		c.find(rule, at, "%s is answered by a playlist that ends at segment %d, part %d", query, e, n)
	}
}

// probeWaits asks for what comes next and checks that the answer has it.
func (f *follow) probeWaits(end int64, td time.Duration, low bool) {
	rule := "L17"
	if f.role == "iframes" {
		rule = "L30"
	}
	f.checkWait(rule, fmt.Sprintf("_HLS_msn=%d", end+1), end+1, -1)
	if !low {
		return
	}
	p, _, _ := f.ask("", td)
	if p == nil {
		return
	}
	end, part := edge(p)
	f.checkWait("L18", fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", end+1, part+1), end+1, part+1)
	if k := int(end - p.Sequence - p.Skipped); k >= 0 && k < len(p.Segments) && len(p.Segments[k].Parts) > 0 {
		n := len(p.Segments[k].Parts)
		f.checkWait("L19", fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", end, n), end+1, 0)
	}
}
