package policytest

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/cleave-video/cleave/av"
)

// Stream is packets to be cut, in the order of their arrival. The first eight
// bytes of each packet's Data are its number.
type Stream struct {
	Tracks  []av.Track
	Packets []av.Packet
}

// GoString names the stream's size only: rapid prints what it draws.
func (s Stream) GoString() string {
	return fmt.Sprintf("%d packets of %d tracks", len(s.Packets), len(s.Tracks))
}

// picture rates: a timebase, and the ticks of a frame and how much they vary.
var rates = []struct {
	tb     av.Timebase
	dur    int64
	jitter int64
}{
	{av.Timebase{Num: 1, Den: 25}, 1, 0},
	{av.Timebase{Num: 1, Den: 1000}, 33, 1},
	{av.Timebase{Num: 1, Den: 30000}, 1001, 0},
	{av.Timebase{Num: 1, Den: 90000}, 3600, 0},
	{av.Timebase{Num: 1, Den: 90000}, 1500, 6000}, // variable
}

// Streams draws streams: GOPs of every class and length, with and without
// B-frames, sound that starts and ends elsewhere, lags and has holes, data now
// and then, breaks of the timeline.
func Streams() *rapid.Generator[Stream] { return rapid.Custom(draw) }

// lane is a track while it is drawn.
type lane struct {
	track   av.Track
	packets []av.Packet
	lag     time.Duration // behind its time at which packets arrive
}

func draw(t *rapid.T) Stream {
	var lanes []lane
	var length time.Duration
	if rapid.IntRange(0, 9).Draw(t, "video") > 0 {
		lanes = append(lanes, drawVideo(t))
		v := &lanes[0]
		length = v.track.Timebase.Duration(v.packets[len(v.packets)-1].DTS)
	} else {
		length = time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second
	}
	for range rapid.IntRange(0, 2).Draw(t, "audio tracks") {
		lanes = append(lanes, drawAudio(t, length))
	}
	if len(lanes) == 0 {
		lanes = append(lanes, drawAudio(t, length))
	}
	if rapid.Bool().Draw(t, "data") {
		lanes = append(lanes, drawData(t, length))
	}
	if rapid.IntRange(0, 3).Draw(t, "break") == 0 {
		at := time.Duration(rapid.Int64Range(0, int64(length)).Draw(t, "break at"))
		for i := range lanes {
			lanes[i].breakAt(at, 1000*time.Second)
		}
	}
	return weave(lanes)
}

func drawVideo(t *rapid.T) lane {
	r := rapid.SampledFrom(rates).Draw(t, "rate")
	l := lane{track: av.Track{Kind: av.Video, Codec: av.H264, Timebase: r.tb}}
	gops := rapid.SliceOfN(rapid.IntRange(1, 70), 1, 9).Draw(t, "GOPs")
	b := rapid.IntRange(0, 3).Draw(t, "B-frames")
	class := rapid.SampledFrom([]av.Flags{0, 0, av.Open, av.Gradual}).Draw(t, "class")
	size := rapid.IntRange(8, 4000).Draw(t, "size")
	headless := rapid.IntRange(0, 3).Draw(t, "headless") == 0
	var dts int64
	for g, n := range gops {
		for k := range n {
			shown, leading := order(k, n, b, g > 0 && class == av.Open)
			p := av.Packet{DTS: dts, PTS: dts + (shown-int64(k)+int64(b)+1)*r.dur, Dur: r.dur, Data: make([]byte, 8+size)}
			switch {
			case k == 0 && !(g == 0 && headless):
				p.Flags = av.Key | class
				p.Data = make([]byte, 8+3*size)
			case leading:
				p.Flags = av.Leading
			}
			l.packets = append(l.packets, p)
			dts += r.dur
			if r.jitter > 0 && b == 0 {
				dts += rapid.Int64Range(0, r.jitter).Draw(t, "jitter")
			}
		}
	}
	return l
}

// order returns where the k-th of n coded frames of a GOP is shown, with b B-frames
// between two others. In an open GOP they lead the key frame.
func order(k, n, b int, open bool) (shown int64, leading bool) {
	switch {
	case b == 0:
		return int64(k), false
	case open && k == 0:
		return int64(min(b, n-1)), false
	case open && k <= b:
		return int64(k - 1), true
	case open:
		lead := b + 1
		return int64(lead) + group(k-lead, n-lead, b), false
	case k == 0:
		return 0, false
	}
	return 1 + group(k-1, n-1, b), false
}

// group orders mini-GOPs of one frame and the b that are shown before it.
func group(k, n, b int) int64 {
	first := k / (b + 1) * (b + 1)
	size := min(b+1, n-first)
	if k == first {
		return int64(first + size - 1)
	}
	return int64(k - 1)
}

func drawAudio(t *rapid.T, length time.Duration) lane {
	l := lane{track: av.Track{Kind: av.Audio, Codec: av.AAC, Timebase: av.Timebase{Num: 1, Den: 48000}}}
	l.lag = time.Duration(rapid.IntRange(-300, 900).Draw(t, "audio lag")) * time.Millisecond
	from := l.track.Timebase.Ticks(time.Duration(rapid.IntRange(-800, 800).Draw(t, "audio start")) * time.Millisecond)
	to := l.track.Timebase.Ticks(length + time.Duration(rapid.IntRange(-2000, 2000).Draw(t, "audio end"))*time.Millisecond)
	hole := rapid.IntRange(0, 3).Draw(t, "audio hole") == 0
	size := rapid.IntRange(8, 600).Draw(t, "audio size")
	for dts := from; dts <= max(to, from); dts += 1024 {
		if hole && dts > to/3 && dts < to/2 {
			continue
		}
		l.packets = append(l.packets, av.Packet{DTS: dts, PTS: dts, Dur: 1024, Flags: av.Key, Data: make([]byte, 8+size)})
	}
	return l
}

func drawData(t *rapid.T, length time.Duration) lane {
	l := lane{track: av.Track{Kind: av.Data, Codec: av.Private, Timebase: av.Timebase{Num: 1, Den: 1000}}}
	times := rapid.SliceOfNDistinct(rapid.Int64Range(0, int64(length/time.Millisecond)+6), 0, 6, rapid.ID[int64]).Draw(t, "data times")
	slices.Sort(times)
	for _, ms := range times {
		l.packets = append(l.packets, av.Packet{DTS: ms, PTS: ms, Flags: av.Key, Data: make([]byte, 20)})
	}
	return l
}

// breakAt moves all times from at on and marks the first packet of them.
func (l *lane) breakAt(at, by time.Duration) {
	tb := l.track.Timebase
	from := tb.Ticks(at)
	marked := false
	for i := range l.packets {
		p := &l.packets[i]
		if p.DTS < from && !marked {
			continue
		}
		p.DTS += tb.Ticks(by)
		p.PTS += tb.Ticks(by)
		if !marked {
			p.Flags |= av.Discont
			marked = true
		}
	}
}

// weave orders the packets of all lanes by their arrival and numbers them.
func weave(lanes []lane) Stream {
	var s Stream
	type arrival struct {
		at time.Duration
		p  av.Packet
	}
	var all []arrival
	for i := range lanes {
		l := &lanes[i]
		s.Tracks = append(s.Tracks, l.track)
		for _, p := range l.packets {
			p.Track = i
			all = append(all, arrival{l.track.Timebase.Duration(p.DTS) + l.lag, p})
		}
	}
	slices.SortStableFunc(all, func(a, b arrival) int { return int(a.at/1000 - b.at/1000) })
	for n, a := range all {
		binary.BigEndian.PutUint64(a.p.Data, uint64(n))
		s.Packets = append(s.Packets, a.p)
	}
	return s
}
