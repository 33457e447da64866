package timeline

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// list is a demuxer of given packets.
type list struct {
	tracks []av.Track
	in     []av.Packet
	bits   int
	begun  bool
}

func (l *list) Tracks() []av.Track { return l.tracks }
func (l *list) WrapBits() int      { return l.bits }
func (l *list) Close() error       { return nil }
func (l *list) ReadPacket(av.Allocator) (av.Packet, error) {
	if !l.begun {
		l.begun = true
		return av.Packet{}, av.ErrTracks
	}
	if len(l.in) == 0 {
		return av.Packet{}, io.EOF
	}
	p := l.in[0]
	l.in = l.in[1:]
	return p, nil
}

// at is packets of one track at these times.
func at(track int, dts ...int64) []av.Packet {
	var out []av.Packet
	for _, t := range dts {
		out = append(out, av.Packet{Track: track, DTS: t, PTS: t, Dur: 3600})
	}
	return out
}

// merge takes packets of both in turn.
func merge(a, b []av.Packet) []av.Packet {
	var out []av.Packet
	for i := range max(len(a), len(b)) {
		if i < len(a) {
			out = append(out, a[i])
		}
		if i < len(b) {
			out = append(out, b[i])
		}
	}
	return out
}

func TestNormalizer(t *testing.T) {
	const wrap = 1 << 33
	const hour = 3600 * 90000
	cases := []struct {
		name     string
		in       []av.Packet
		bits     int
		want     []int64 // DTS of track 0
		discont  []int   // packets of track 0 with Discont
		derived  []int
		audio    []int64 // DTS of track 1
		warnings int
	}{
		{name: "steady", in: at(0, 0, 3600, 7200), want: []int64{0, 3600, 7200}},
		{name: "negative start", in: at(0, -7200, -3600, 0), want: []int64{-7200, -3600, 0}},
		{name: "a gap that is no jump", in: at(0, 0, 3600, 453600), want: []int64{0, 3600, 453600}},
		{name: "frames behind a gap", in: at(0, 0, 3600, 453600, 457200), want: []int64{0, 3600, 453600, 457200}},
		{name: "variable rate", in: at(0, 0, 3600, 273600, 275000, 545000, 546000), want: []int64{0, 3600, 273600, 275000, 545000, 546000}},
		{name: "what follows a gap is no jump", in: at(0, 0, 3600, 363600, 367200, 370800), want: []int64{0, 3600, 363600, 367200, 370800}},
		{name: "wrap", in: at(0, wrap-7200, wrap-3600, 0, 3600), bits: 33, want: []int64{wrap - 7200, wrap - 3600, wrap, wrap + 3600}, warnings: 1},
		{
			name: "wrap of the second track first", bits: 33, in: merge(at(0, wrap-3600, 0), at(1, wrap-1800, 1800)),
			want: []int64{wrap - 3600, wrap}, audio: []int64{wrap - 1800, wrap + 1800}, warnings: 1,
		},
		{name: "jump back", in: at(0, 900000, 903600, 0, 3600), want: []int64{900000, 903600, 990000, 993600}, discont: []int{2}, warnings: 1},
		{name: "jump forward", in: at(0, 0, 3600, 2700000, 2703600), want: []int64{0, 3600, 90000, 93600}, discont: []int{2}, warnings: 1},
		{name: "one outlier", in: at(0, 0, 3600, 9*hour, 10800), want: []int64{0, 3600, 7200, 10800}, derived: []int{2}, warnings: 1},
		{name: "two outliers", in: at(0, 0, 3600, 9*hour, 9*hour+3600, 14400), want: []int64{0, 3600, 7200, 10800, 14400}, derived: []int{2, 3}, warnings: 1},
		{
			name: "three are a timeline", in: at(0, 0, 3600, 9*hour, 9*hour+3600, 9*hour+7200),
			want: []int64{0, 3600, 90000, 93600, 97200}, discont: []int{2}, warnings: 1,
		},
		{
			name: "joint jump", in: merge(at(0, 900000, 903600, 0, 3600), at(1, 900000, 903600, 0, 3600)),
			want: []int64{900000, 903600, 990000, 993600}, discont: []int{2}, audio: []int64{900000, 903600, 990000, 993600}, warnings: 1,
		},
		{name: "equal decode times", in: at(0, 0, 3600, 3600, 7200), want: []int64{0, 3600, 3601, 7200}, derived: []int{2}, warnings: 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { normalize(t, c.in, c.bits, c.want, c.audio, c.discont, c.derived, c.warnings) })
	}
}

func normalize(t *testing.T, in []av.Packet, bits int, want, audio []int64, discont, derived []int, warnings int) {
	t.Helper()
	tracks := []av.Track{{Kind: av.Video, Timebase: av.Clock90k}, {Kind: av.Audio, Timebase: av.Clock90k}}
	n := New(&list{tracks: tracks, in: in, bits: bits}, Options{})
	if _, err := n.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
		t.Fatal(err)
	}
	var got [2][]int64
	var gotDiscont, gotDerived []int
	for {
		p, err := n.ReadPacket(av.Heap{})
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Track == 0 {
			if p.Flags&av.Discont != 0 {
				gotDiscont = append(gotDiscont, len(got[0]))
			}
			if p.Flags&av.Derived != 0 {
				gotDerived = append(gotDerived, len(got[0]))
			}
		}
		got[p.Track] = append(got[p.Track], p.DTS)
		if p.PTS < p.DTS {
			t.Errorf("PTS %d before DTS %d", p.PTS, p.DTS)
		}
	}
	if !slices.Equal(got[0], want) || !slices.Equal(got[1], audio) {
		t.Errorf("got %v and %v, want %v and %v", got[0], got[1], want, audio)
	}
	if !slices.Equal(gotDiscont, discont) || !slices.Equal(gotDerived, derived) {
		t.Errorf("discontinuities at %v, want %v; derived %v, want %v", gotDiscont, discont, gotDerived, derived)
	}
	if w := n.Warnings(); len(w) != warnings {
		t.Errorf("warnings %q, want %d", w, warnings)
	}
}

func TestVerdict(t *testing.T) {
	ms := av.Millisecond
	cases := []struct {
		name string
		tb   av.Timebase
		dts  []int64
		want FrameRate
	}{
		{"nothing", ms, nil, FrameRate{}},
		{"one frame", ms, []int64{5}, FrameRate{}},
		{"exact", av.Timebase{Num: 1001, Den: 24000}, []int64{0, 1, 2, 3}, FrameRate{av.Rational{Num: 24000, Den: 1001}, true}},
		{"90 kHz", av.Clock90k, []int64{0, 3003, 6006}, FrameRate{av.Rational{Num: 30000, Den: 1001}, true}},
		{"milliseconds, 30", ms, []int64{0, 33, 67, 100, 133, 167, 200}, FrameRate{av.Rational{Num: 30, Den: 1}, true}},
		{"two ticks apart", ms, []int64{0, 33, 68, 100}, FrameRate{av.Rational{Num: 30, Den: 1}, false}},
		{"variable", ms, []int64{0, 10, 100, 120}, FrameRate{av.Rational{Num: 25, Den: 1}, false}},
	}
	for _, c := range cases {
		var r Rate
		for _, d := range c.dts {
			r.Add(d)
		}
		if got := r.Verdict(c.tb); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestRateBreak: what is missing is not counted as one long picture.
func TestRateBreak(t *testing.T) {
	var r Rate
	r.Break()
	for n, d := range []int64{0, 3600, 7200, 360_000, 363_600} {
		if n == 3 {
			r.Break()
		}
		r.Add(d)
	}
	if got, want := r.Verdict(av.Clock90k), (FrameRate{av.Rational{Num: 25, Den: 1}, true}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestLoss: data that were lost break the timeline only if a second of it is missing.
func TestLoss(t *testing.T) {
	in := at(0, 0, 3600, 14400, 18000, 198000, 201600)
	in[2].Flags, in[4].Flags = av.Discont, av.Discont
	normalize(t, in, 0, []int64{0, 3600, 14400, 18000, 198000, 201600}, nil, []int{4}, nil, 0)
}

// TestOrder: decode times rise and are not later than presentation, however the
// input stamps its frames; each correction is told.
func TestOrder(t *testing.T) {
	late := at(0, 0, 3600, 7200, 10800)
	late[2].PTS = 7000 // DTS later than PTS
	same := at(0, slices.Repeat([]int64{3600}, 1000)...)
	for i := range same {
		same[i].Dur = 0
	}
	ticks := make([]int64, len(same))
	var moved []int
	for i := range ticks {
		ticks[i] = 3600 + int64(i)
		if i > 0 {
			moved = append(moved, i)
		}
	}
	for name, c := range map[string]struct {
		in      []av.Packet
		want    []int64
		derived []int
	}{
		"DTS later than PTS":   {late, []int64{0, 3600, 7000, 10800}, []int{2}},
		"a thousand at a time": {same, ticks, moved},
	} {
		t.Run(name, func(t *testing.T) { normalize(t, c.in, 0, c.want, nil, nil, c.derived, 1) })
	}
}
