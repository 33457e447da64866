package rtp

import "time"

// clock puts the tracks of a session on one timeline. A track's RTP timestamps
// begin anywhere: sender reports say what they are on the sender's wall clock
// (RFC 3550 6.4.1); until there are any, the arrival of the first packets decides.
type clock struct {
	tracks []trackClock
	base   time.Time // arrival of the first packet of all
	lead   int
}

// trackClock counts in ticks of the track.
type trackClock struct {
	rate    int64
	started bool
	last    uint32 // timestamp
	ticks   int64  // of last, without wraps; the first is 0
	shift   int64  // to the common timeline

	reported bool
	ntp      int64 // nanoseconds of the last report
	at       uint32
}

const (
	// tolerance is how far apart tracks may be by their sender's reports before
	// they are put right: what is less is not seen, and reports are that inexact.
	tolerance = 20 * time.Millisecond
	// implausible is how far from their arrival reports cannot put tracks: clocks
	// that were never set.
	implausible = 10 * time.Second
)

// time returns the time of an RTP timestamp in ticks.
func (c *clock) time(track int, ts uint32, now time.Time) int64 {
	t := &c.tracks[track]
	if !t.started {
		if c.base.IsZero() {
			c.base = now
		}
		t.started, t.last = true, ts
		t.shift = ticks(now.Sub(c.base), t.rate)
		c.align()
	}
	t.ticks += int64(int32(ts - t.last))
	t.last = ts
	return t.ticks + t.shift
}

// report takes a sender report: ntp as RFC 3550 has it, and the timestamp that it
// stands for.
func (c *clock) report(track int, ntp uint64, ts uint32) {
	if ntp == 0 {
		return // "no wall clock": RFC 3550 6.4.1
	}
	t := &c.tracks[track]
	t.reported, t.at = true, ts
	t.ntp = int64(ntp>>32)*int64(time.Second) + int64((ntp&0xFFFFFFFF)*uint64(time.Second)>>32)
	c.align()
}

// align moves tracks to where reports put them beside the lead.
func (c *clock) align() {
	l := &c.tracks[c.lead]
	if !l.started || !l.reported {
		return
	}
	zero := l.ntp - int64(l.duration(l.reportTicks()+l.shift)) // of the common timeline
	for i := range c.tracks {
		t := &c.tracks[i]
		if i == c.lead || !t.started || !t.reported {
			continue
		}
		shift := ticks(time.Duration(t.ntp-zero), t.rate) - t.reportTicks()
		off := t.duration(shift - t.shift)
		if off > tolerance && off < implausible || off < -tolerance && off > -implausible {
			t.shift = shift
		}
	}
}

// settled reports whether every track that has begun is placed by reports; one
// alone needs none.
func (c *clock) settled() bool {
	started, reported := 0, 0
	for i := range c.tracks {
		if c.tracks[i].started {
			started++
			if c.tracks[i].reported {
				reported++
			}
		}
	}
	return started <= 1 || started == reported
}

// reportTicks is where the last report's timestamp lies, without wraps.
func (t *trackClock) reportTicks() int64 { return t.ticks + int64(int32(t.at-t.last)) }

func (t *trackClock) duration(n int64) time.Duration {
	s := n / t.rate
	return time.Duration(s)*time.Second + time.Duration((n-s*t.rate)*int64(time.Second)/t.rate)
}

// ticks rounds to the nearest tick.
func ticks(d time.Duration, rate int64) int64 {
	if d < 0 {
		return -ticks(-d, rate)
	}
	s := d / time.Second
	return int64(s)*rate + (int64(d-s*time.Second)*rate+int64(time.Second)/2)/int64(time.Second)
}
