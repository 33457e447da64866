package live

import (
	"slices"
	"sync"
	"time"
)

// wall is the process's idea of the time of day: it runs with the monotonic clock and
// follows the system's, when that is set, by no more than 1 in 2,000. PROGRAM-DATE-TIME
// so neither stops nor jumps.
type wall struct {
	mu    sync.Mutex // guards what follows
	begun bool
	start time.Time     // system time at mono 0
	mono  time.Duration // at the last call
	corr  time.Duration
}

// slew is how much of the time passed may be corrected in it.
const slew = 2000

// now returns the time when the monotonic clock says mono and the system's sys, and how
// far the latter is ahead.
func (w *wall) now(mono time.Duration, sys time.Time) (now time.Time, ahead time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	sys = sys.Round(0)
	if !w.begun {
		w.begun, w.start, w.mono = true, sys.Add(-mono), mono
	}
	ahead = sys.Sub(w.start.Add(mono + w.corr))
	most := max(0, mono-w.mono) / slew
	w.corr += min(max(ahead, -most), most)
	w.mono = max(w.mono, mono)
	return w.start.Add(mono + w.corr), ahead
}

// dateSlack is how far a stream's dates may be from the arrival of its chunks before they
// follow it, and recent how many chunks in a row must be: one that is late says nothing.
// Dates that are exactly the sum of the lengths cost players nothing: shaka-player, which
// places each segment by its date, resets its decoder wherever the date is a millisecond
// from the sum, and with parts then loses those up to the next key frame.
const (
	dateSlack = 400 * time.Millisecond
	recent    = 4
)

// clock tells what time of day a stream's media time is. It follows the arrival of
// chunks by small steps, so that neither jitter nor the drift of an encoder's clock
// makes dates jump, or run away.
type clock struct {
	begun bool
	zero  time.Time // of media time 0
	media time.Duration
	late  [recent]time.Duration // of the last chunks, the newest first
}

// reset begins another timeline, at media, now; but not before the time of day that
// the one before came to.
func (c *clock) reset(media time.Duration, now time.Time) {
	if c.begun && c.zero.Add(media).After(now) {
		now = c.zero.Add(media)
	}
	c.begun, c.zero, c.media, c.late = true, now.Add(-media), media, [recent]time.Duration{}
}

// resume has the next timeline begin no earlier than at a time of day.
func (c *clock) resume(end time.Time) {
	*c = clock{begun: true, zero: end}
}

// observe notes that what is presented at media arrived now, and returns the time of
// day of media time 0 for what begins there. It stays as it is while one of the recent
// chunks arrived within dateSlack of it.
func (c *clock) observe(media time.Duration, now time.Time) time.Time {
	copy(c.late[1:], c.late[:])
	c.late[0] = now.Sub(c.zero.Add(media))
	late := max(slices.Min(c.late[:]), 0) + min(slices.Max(c.late[:]), 0) // the least that all agree on
	passed := max(0, media-c.media)
	if late > -dateSlack && late < dateSlack {
		late = 0
	}
	// An eighth of what is seen, but a thousandth of the time passed at most: 2 ms a
	// chunk of 2 s. A clock that is wrong by more than a second is followed faster, by
	// a hundredth for each second: an encoder that is 5 % off stays 5 s away.
	most := passed / 1000
	if far := max(late, -late); far > time.Second {
		most = passed * min(far/time.Millisecond, 10_000) / 100_000
	}
	c.zero = c.zero.Add(min(max(late/8, -most), most))
	c.media = max(c.media, media)
	return c.zero
}
