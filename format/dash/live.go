package dash

import (
	"math"
	"time"

	"github.com/Eyevinn/dash-mpd/mpd"
)

// Live is what a manifest says of a stream that goes on, or went on until it Ended.
type Live struct {
	Start   time.Time // availabilityStartTime: never changes while the stream lives
	Publish time.Time // grows with each manifest
	// Ended: nothing follows. The manifest is static; clocks and latencies are left out.
	Ended bool

	Update    time.Duration // minimumUpdatePeriod
	TimeShift time.Duration // timeShiftBufferDepth
	Delay     time.Duration // suggestedPresentationDelay
	Latency   *Latency      // nil: no ServiceDescription
	Clock     Clock
	// Leap is TAI less UTC at Start, in seconds (LeapSecondInformation); 0: it is not said.
	Leap int
}

// Latency is what players are asked to keep to (K.4.2.2): the latency, to the
// millisecond, and how fast they may play to come to it.
type Latency struct {
	Target, Min, Max time.Duration
	Slowest, Fastest float64 // playback rates
}

// Clock is where players learn the time of day: a scheme of UTCTiming (5.8.4.11) and
// its value. An empty scheme is not written.
type Clock struct{ Scheme, Value string }

// ClockISO is the scheme of a URL that answers with the time of day as in ISO 8601.
const ClockISO = "urn:mpeg:dash:utc:http-iso:2014"

// Chunks describe segments that are sent while they grow (IOP 9.X.4.5).
type Chunks struct {
	Early time.Duration // availabilityTimeOffset, less than a segment lasts
	Dur   int64         // of the longest chunk, in ticks
}

// dateLayout is xs:dateTime to the millisecond.
const dateLayout = "2006-01-02T15:04:05.000Z"

func date(t time.Time) mpd.DateTime { return mpd.DateTime(t.UTC().Format(dateLayout)) }

// describe makes m dynamic.
func (l *Live) describe(m *mpd.MPD) {
	m.AvailabilityStartTime, m.PublishTime = date(l.Start), date(l.Publish)
	if l.Ended {
		return
	}
	kind := mpd.DYNAMIC_TYPE
	m.Type, m.MediaPresentationDuration = &kind, nil
	m.MinimumUpdatePeriod, m.TimeShiftBufferDepth, m.SuggestedPresentationDelay = duration(l.Update), duration(l.TimeShift), duration(l.Delay)
	if x := l.Latency; x != nil {
		ms := func(d time.Duration) *uint32 { v := uint32(d / time.Millisecond); return &v }
		m.ServiceDescription = []*mpd.ServiceDescriptionType{{
			Latencies:     []*mpd.LatencyType{{Target: ms(x.Target), Min: ms(x.Min), Max: ms(x.Max)}},
			PlaybackRates: []*mpd.PlaybackRateType{{Min: x.Slowest, Max: x.Fastest}},
		}}
	}
	if l.Clock.Scheme != "" {
		m.UTCTimings = []*mpd.DescriptorType{{SchemeIdUri: mpd.AnyURI(l.Clock.Scheme), Value: l.Clock.Value}}
	}
	if l.Leap != 0 {
		m.LeapSecondInformation = &mpd.LeapSecondInformationType{AvailabilityStartLeapOffset: l.Leap}
	}
}

// describe adds what a Representation says of how its segments come.
func (r *Representation) describe(rep *mpd.RepresentationType) {
	if c := r.Chunks; c != nil {
		complete, dt := false, uint32(min(max(c.Dur, 0), math.MaxUint32))
		t := rep.SegmentTemplate
		t.AvailabilityTimeOffset = mpd.FloatInf64(c.Early.Truncate(time.Millisecond).Seconds())
		t.AvailabilityTimeComplete = &complete
		// Type 0: chunks begin there, which need not be where decoding can begin.
		rep.Resyncs = []*mpd.ResyncType{{DT: &dt}}
	}
}
