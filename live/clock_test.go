package live

import (
	"testing"
	"time"
)

// The system's clock steps by an hour, both ways; dates neither jump nor run back, and
// the step is told.
func TestWallDoesNotJump(t *testing.T) {
	for _, step := range []time.Duration{time.Hour, -time.Hour, time.Second, -3 * time.Millisecond} {
		var w wall
		sys := time.Date(2026, 6, 30, 23, 59, 0, 0, time.UTC)
		last := sys
		for mono := time.Duration(0); mono < 10*time.Minute; mono += 200 * time.Millisecond {
			at := sys.Add(mono)
			if mono >= time.Minute {
				at = at.Add(step)
			}
			now, ahead := w.now(mono, at)
			if mono > 0 {
				if d := now.Sub(last) - 200*time.Millisecond; max(d, -d) > 200*time.Microsecond {
					t.Fatalf("step %v: after %v it went on by %v more", step, mono, d)
				}
			}
			if far := max(ahead, -ahead) >= time.Second; mono == time.Minute && far != (max(step, -step) >= time.Second) {
				t.Errorf("step %v: it is said to be %v", step, ahead)
			}
			last = now
		}
		if left := sys.Add(10*time.Minute + step - 200*time.Millisecond).Sub(last); step == -3*time.Millisecond && left != 0 {
			t.Errorf("a small step is not followed: %v is left", left)
		}
	}
}

// Dates follow an encoder whose clock is off by 5 %, and do not jitter with arrival.
func TestClockFollowsDrift(t *testing.T) {
	for name, c := range map[string]struct {
		rate   float64 // media seconds a second
		jitter time.Duration
		most   time.Duration // off
		step   time.Duration // from what a chunk's length says
	}{
		"exact":  {1, 0, 0, 0},
		"jitter": {1, 300 * time.Millisecond, 0, 0},
		"late":   {1, 3 * time.Second, 400 * time.Millisecond, 2 * time.Millisecond},
		"fast":   {1.05, 0, 6 * time.Second, 120 * time.Millisecond},
		"slow":   {0.95, 0, 6 * time.Second, 120 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			var k clock
			began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			last := began
			for i := range 3000 {
				media := time.Duration(i) * 2 * time.Second
				now := began.Add(time.Duration(float64(media) / c.rate))
				if i == 0 {
					k.reset(media, now)
				}
				date := k.observe(media, now.Add(c.jitter*time.Duration(i*7%5)/5)).Add(media)
				if i > 0 {
					if d := date.Sub(last) - 2*time.Second; max(d, -d) > c.step {
						t.Fatalf("chunk %d: the date is off by %v from the length", i, d)
					}
				}
				if off := date.Sub(now); max(off, -off) > c.most {
					t.Fatalf("chunk %d: the date is off by %v", i, off)
				}
				last = date
			}
		})
	}
}

// As long as chunks come about when they should, dates are the sum of the lengths to the
// tick: a player that places segments by date finds no seam between them.
func TestClockStandsStill(t *testing.T) {
	var k clock
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	k.reset(0, began)
	for i := range 1000 {
		media := time.Duration(i) * 2 * time.Second
		late := time.Duration(i*7%40-20) * 19 * time.Millisecond // up to 380 ms, both ways
		if i%4 == 0 {
			late = 5 * time.Second // one of a few
		}
		if zero := k.observe(media, began.Add(media+late)); !zero.Equal(began) {
			t.Fatalf("chunk %d, %v late: dates move by %v", i, late, zero.Sub(began))
		}
	}
}

// A timeline that begins anew is never dated before what was there.
func TestClockResetDoesNotGoBack(t *testing.T) {
	var k clock
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	k.reset(0, now)
	before := k.observe(10*time.Second, now.Add(10*time.Second)).Add(10 * time.Second)
	k.reset(12*time.Second, now.Add(5*time.Second))
	if date := k.observe(12*time.Second, now.Add(5*time.Second)).Add(12 * time.Second); date.Sub(before) < 1900*time.Millisecond {
		t.Errorf("%v after %v", date, before)
	}
	k.reset(14*time.Second, now.Add(time.Hour))
	if date := k.zero.Add(14 * time.Second); !date.Equal(now.Add(time.Hour)) {
		t.Errorf("%v", date)
	}
}
