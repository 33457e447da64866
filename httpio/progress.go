package httpio

import "time"

// progress is how fast a client has taken what it was sent.
type progress struct{ rate float64 } // bytes a second; 0: it never kept us waiting

const (
	// waited is from when on a write has waited for the client, not for a processor.
	waited = 2 * time.Millisecond
	// tolerance is how many times as long as before a write may take.
	tolerance = 4
)

// took counts a write of n bytes that took d.
func (p *progress) took(n int, d time.Duration) {
	if d < waited || n == 0 {
		return
	}
	rate := float64(n) / d.Seconds()
	if p.rate == 0 {
		p.rate = rate
	}
	p.rate += (rate - p.rate) / 4
}

// deadline is how long a write of n bytes may take: by what the client has taken so
// far, but at least half of what any client may take, and at most that, which is also
// what a client has that never kept us waiting.
func (p *progress) deadline(n int, ceiling time.Duration) time.Duration {
	least := ceiling / 2
	if p.rate == 0 {
		return ceiling // nothing is known
	}
	d := time.Duration(min(tolerance*float64(n)/p.rate, ceiling.Seconds()) * float64(time.Second))
	return min(max(d, least), ceiling)
}
