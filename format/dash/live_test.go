package dash

import (
	"bytes"
	"os"
	"testing"
	"time"
)

// A live manifest says what it was given, and reads so; at its end it is static.
func TestLive(t *testing.T) {
	p := sample()
	start := time.Date(2026, 3, 1, 12, 0, 0, 5e6, time.UTC)
	p.Live = &Live{
		Start: time.Unix(0, 0), Publish: start, Update: 400 * time.Millisecond, TimeShift: time.Minute, Delay: 6 * time.Second,
		Latency: &Latency{Target: 1200 * time.Millisecond, Min: 600 * time.Millisecond, Max: 4 * time.Second, Slowest: 0.95, Fastest: 1.05},
		Clock:   Clock{ClockISO, "time"}, Leap: 37,
	}
	p.Periods[0].ID, p.Periods[0].Start = "7", start.Sub(time.Unix(0, 0))
	p.Periods[1].ID, p.Periods[1].Duration = "9", 0
	p.Periods[1].Sets[0].Representation.Chunks = &Chunks{Early: 1799500 * time.Microsecond, Dur: 18000}
	text, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/golden/live.mpd"
	if *update {
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || !bytes.Equal(text, want) {
		t.Errorf("%v; it is now\n%s", err, text)
	}
	var r Reader
	m, err := r.MPD(text)
	if err != nil {
		t.Fatal(err)
	}
	if !m.Dynamic || !m.AvailabilityStart.Equal(p.Live.Start) || !m.Publish.Equal(start) || m.Update != p.Live.Update || m.TimeShift != time.Minute || m.Delay != p.Live.Delay || m.Duration != Absent {
		t.Errorf("%+v", m)
	}
	a, b := &m.Stretches[0], &m.Stretches[1]
	if a.ID != "7" || a.Start != p.Periods[0].Start || b.ID != "9" || b.Start != a.Start+p.Periods[0].Duration || b.Duration != Absent {
		t.Errorf("%+v, %+v", a, b)
	}
	if x := &b.Sets[0].Tracks[0].Addressing; x.Complete || x.Early != 1799*time.Millisecond {
		t.Errorf("%+v", x)
	}
	if x := &a.Sets[0].Tracks[0].Addressing; !x.Complete || x.HasEarly {
		t.Errorf("%+v", x)
	}
	p.Live.Ended, p.Periods[1].Duration = true, time.Second
	if text, err = p.Append(nil); err != nil {
		t.Fatal(err)
	}
	if m, err = r.MPD(text); err != nil || m.Dynamic || m.Update != Absent || m.Duration != b.Start+time.Second || len(m.All("UTCTiming"))+len(m.All("ServiceDescription"))+len(m.All("LeapSecondInformation")) > 0 {
		t.Errorf("%v: %s", err, text)
	}
}
