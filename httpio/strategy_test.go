package httpio

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/internal/tcpinfo"
)

func TestStrategies(t *testing.T) {
	for _, s := range Strategies() {
		if got, err := ParseStrategy(s.String()); got != s || err != nil {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
	if _, err := ParseStrategy("eager"); err == nil {
		t.Error("eager is one")
	}
	seen := map[string]bool{}
	for _, r := range Reasons() {
		seen[r.String()] = true
	}
	for _, c := range Causes() {
		seen[c.String()] = true
	}
	for _, s := range States() {
		seen[s.String()] = true
	}
	if len(seen) != len(Reasons())+len(Causes())+len(States()) {
		t.Error(seen)
	}
}

// TestPlan: what plan.next's comment says.
func TestPlan(t *testing.T) {
	const ms = time.Millisecond
	way := func(rtt time.Duration, backlog, rate int64) *tcpinfo.Info {
		return &tcpinfo.Info{RTT: rtt, Backlog: backlog, Rate: rate}
	}
	for name, c := range map[string]struct {
		before plan
		facts  facts
		want   plan
		why    Reason
	}{
		"nothing is known":              {plan{}, facts{nil, 1 << 20, 1000}, plan{}, Unknown},
		"nothing is known any more":     {plan{4000, 9 * ms}, facts{nil, 1 << 20, 1000}, plan{}, Unknown},
		"near":                          {plan{}, facts{way(200*time.Microsecond, 0, 0), 1 << 20, 1000}, plan{}, Latency},
		"far, and slow to be given":     {plan{}, facts{way(100*ms, 0, 0), 20000, 1000}, plan{}, Latency},
		"far":                           {plan{}, facts{way(100*ms, 0, 0), 1 << 20, 1000}, plan{2000, 50 * ms}, RoundTrip},
		"it grows to twice its size":    {plan{2000, 50 * ms}, facts{way(100*ms, 0, 0), 1 << 20, 1000}, plan{4000, 50 * ms}, RoundTrip},
		"as much as comes in that time": {plan{50000, 50 * ms}, facts{way(100*ms, 0, 0), 1_000_000, 1000}, plan{50000, 50 * ms}, RoundTrip},
		"it shrinks at once":            {plan{50000, 50 * ms}, facts{way(20*ms, 0, 0), 1_000_000, 1000}, plan{10000, 10 * ms}, Latency},
		"it is near again":              {plan{50000, 50 * ms}, facts{way(ms, 0, 0), 1_000_000, 1000}, plan{}, Latency},
		"a backlog of 200 ms":           {plan{15000, 10 * ms}, facts{way(20*ms, 100_000, 500_000), 100_000, 1000}, plan{20000, 200 * ms}, Backlog},
		"a backlog that ends never":     {plan{50000, 10 * ms}, facts{way(20*ms, 1<<40, 1), 100_000, 1000}, plan{50000, maxHold}, Backlog},
		"no more than maxBatch":         {plan{50000, 10 * ms}, facts{way(20*time.Second, 0, 0), 1 << 40, 1000}, plan{maxBatch, maxHold}, RoundTrip},
	} {
		if got, why := c.before.next(c.facts); got != c.want || why != c.why {
			t.Errorf("%s: %+v, %v, want %+v, %v", name, got, why, c.want, c.why)
		}
	}
}

func TestStates(t *testing.T) {
	for _, c := range []struct {
		from State
		e    event
		to   State
		err  error
	}{
		{Open, give, Writing, nil},
		{Writing, give, Writing, nil},
		{Flushed, give, Writing, nil},
		{Closed, give, Closed, ErrClosed},
		{Open, left, Open, nil},
		{Writing, left, Flushed, nil},
		{Flushed, left, Flushed, nil},
		{Closed, left, Closed, ErrClosed},
		{Open, end, Closed, nil},
		{Writing, end, Closed, nil},
		{Flushed, end, Closed, nil},
		{Closed, end, Closed, nil},
	} {
		if to, err := c.from.next(c.e); to != c.to || err != c.err {
			t.Errorf("%v, event %d: %v, %v", c.from, c.e, to, err)
		}
	}
}

// TestProgress: a deadline is what the client's progress lets expect, four times, at
// least half of the ceiling and at most that.
func TestProgress(t *testing.T) {
	const ceiling = 4 * time.Second
	var p progress
	if d := p.deadline(1000, ceiling); d != ceiling {
		t.Error("of a client that is not known:", d)
	}
	p.took(1<<20, waited-1)
	if p.rate != 0 {
		t.Error("what went at once says something:", p.rate)
	}
	p.took(100_000, time.Second)
	for n, want := range map[int]time.Duration{1: 2 * time.Second, 75_000: 3 * time.Second, 1 << 20: ceiling} {
		if d := p.deadline(n, ceiling); d != want {
			t.Errorf("%d bytes: %v, want %v", n, d, want)
		}
	}
	p.took(500_000, time.Second)
	if p.rate != 200_000 {
		t.Error(p.rate)
	}
}

// TestWantsDigest: RFC 9530 4.
func TestWantsDigest(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   bool
	}{
		{nil, false},
		{[]string{"sha-256=1"}, true},
		{[]string{"sha-256=10, sha-512=3"}, true},
		{[]string{"sha-512=3", "sha-256=5;x=1"}, true},
		{[]string{"sha-256=0"}, false},
		{[]string{"sha-256=11"}, false},
		{[]string{"sha-256"}, false},
		{[]string{"sha-256=\"1\""}, false},
		{[]string{"sha-256=5, sha-256=0"}, false},
		{[]string{"sha-2567=5"}, false},
	} {
		if got := wantsDigest(c.values); got != c.want {
			t.Errorf("%q: %v", c.values, got)
		}
	}
}
