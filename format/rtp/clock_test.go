package rtp

import (
	"slices"
	"testing"
	"time"
)

// ntp is the time of a report, as NTP writes it.
func ntp(d time.Duration) uint64 {
	s := uint64(d / time.Second)
	return (3_900_000_000+s)<<32 | uint64(d%time.Second)<<32/uint64(time.Second)
}

func newClock() *clock { return &clock{tracks: []trackClock{{rate: 90000}, {rate: 48000}}} }

// Reports put tracks on one timeline, whatever their timestamps begin with and
// whenever they arrive.
func TestClockReports(t *testing.T) {
	start := time.Unix(1000, 0)
	for name, reportFirst := range map[string]bool{"before the packets": true, "behind them": false} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			report := func() {
				c.report(0, ntp(10*time.Second), 0xFFFFFF00)                     // the video's first picture
				c.report(1, ntp(10*time.Second+100*time.Millisecond), 1000+4800) // the sound began with it
			}
			if reportFirst {
				report()
			}
			c.time(0, 0xFFFFFF00, start)
			c.time(1, 1000, start.Add(300*time.Millisecond)) // came late
			if !reportFirst {
				report()
			}
			if !c.settled() {
				t.Error("not settled")
			}
			if v, a := c.time(0, 90000-0x100, start), c.time(1, 1000+48000, start); v != 90000 || a != 48000 {
				t.Errorf("a second later: %d, %d", v, a)
			}
		})
	}
}

// Without reports the arrival decides; a little that reports tell otherwise is left.
func TestClockArrival(t *testing.T) {
	start := time.Unix(1000, 0)
	c := newClock()
	c.time(0, 5, start)
	if a := c.time(1, 77, start.Add(time.Second)); a != 48000 {
		t.Errorf("%d", a)
	}
	if c.settled() {
		t.Error("settled without reports")
	}
	c.report(0, ntp(10*time.Second), 5)
	c.report(1, ntp(11*time.Second+19*time.Millisecond), 77)
	if a := c.time(1, 77, start); a != 48000 {
		t.Errorf("%d moved by less than the tolerance", a)
	}
	c.report(1, ntp(11*time.Second+40*time.Millisecond), 77)
	if a := c.time(1, 77, start); a != 48000+1920 {
		t.Errorf("%d, want %d", a, 48000+1920)
	}
	// Clocks that were never set are not believed.
	c.report(1, ntp(100*time.Hour), 77)
	c.report(1, 0, 77)
	if a := c.time(1, 77, start); a != 48000+1920 {
		t.Errorf("%d", a)
	}
}

// Clocks that drift apart are held together by the reports.
func TestClockDrift(t *testing.T) {
	start := time.Unix(1000, 0)
	c := newClock()
	c.time(0, 0, start)
	c.time(1, 0, start)
	for s := range 3600 {
		d := time.Duration(s) * time.Second
		v := c.time(0, uint32(s)*90000, start)
		a := c.time(1, uint32(s)*48005, start) // 0.01 % fast
		c.report(0, ntp(d), uint32(s)*90000)
		c.report(1, ntp(d), uint32(s)*48005)
		if off := c.tracks[1].duration(a) - c.tracks[0].duration(v); off > tolerance+time.Millisecond || off < -tolerance-time.Millisecond {
			t.Fatalf("%v apart after %v", off, d)
		}
	}
}

// HOSTILE: 32 bits wrap after 13 hours, also back and forth between pictures.
func TestClockWraps(t *testing.T) {
	c := newClock()
	start := time.Unix(1000, 0)
	want := int64(0)
	ts := uint32(0xFFFF0000)
	c.time(0, ts, start)
	for _, d := range []int64{3000, 60000, 3000, -6000, 9000, 1 << 30, 1 << 30, 1 << 30, 1 << 30, 5} {
		ts += uint32(d)
		want += d
		if got := c.time(0, ts, start); got != want {
			t.Fatalf("%d, want %d", got, want)
		}
	}
}

func TestReorder(t *testing.T) {
	const step = 10
	for name, test := range map[string]struct {
		depth int
		pts   []int64
		want  []int64
	}{
		"none":        {0, []int64{0, 10, 20, 35}, []int64{0, 10, 20, 35}},
		"one B":       {1, []int64{0, 20, 10, 40, 30, 60, 50}, []int64{-10, 0, 10, 20, 30, 40, 50}},
		"pyramid":     {2, []int64{0, 40, 20, 10, 30, 80, 60, 50, 70}, []int64{-20, -10, 0, 10, 20, 30, 40, 50, 60}},
		"unknown":     {0, []int64{0, 20, 10, 40, 30, 60, 50}, []int64{0, 20, 21, 22, 30, 40, 50}},
		"source jump": {0, []int64{100000, 100010, 0, 10}, []int64{100000, 100010, 0, 10}},
	} {
		t.Run(name, func(t *testing.T) {
			r := reorder{depth: test.depth, step: step}
			var got []int64
			for _, p := range test.pts {
				got = append(got, r.next(p))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}

func TestDeepest(t *testing.T) {
	for want, pts := range map[int][]int64{0: {0, 1, 2}, 1: {0, 2, 1, 4, 3}, 3: {0, 4, 2, 1, 3, 8}, 16: {
		99, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
	}} {
		if got := deepest(pts); got != want {
			t.Errorf("%v: %d, want %d", pts, got, want)
		}
	}
}

func FuzzReorder(f *testing.F) {
	f.Add([]byte{0, 20, 10, 40, 30}, uint8(0))
	f.Add([]byte{0, 255, 1, 254, 2}, uint8(2))
	f.Fuzz(func(t *testing.T, pts []byte, depth uint8) {
		r := reorder{depth: int(depth) % (maxReorder + 1), step: 1}
		last := int64(-1 << 62)
		for _, p := range pts {
			d := r.next(int64(p))
			if d <= last && last-d < maxReorder {
				t.Fatalf("%d behind %d", d, last)
			}
			last = d
		}
	})
}
