package avtest_test

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
)

var specs = map[string]avtest.Spec{
	"video":    {Video: avtest.Video{Frames: 100}},
	"b":        {Video: avtest.Video{Frames: 100, B: 3, GOPs: []int{12, 1, 7, 30}}},
	"open":     {Video: avtest.Video{Frames: 100, B: 2, GOPs: []int{12, 2, 1, 13}, Open: true}},
	"audio":    {Audio: avtest.Audio{Frames: 100, SampleRate: 44100, Channels: 1}},
	"both":     {Video: avtest.Video{Frames: 60, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3003, B: 2}, Audio: avtest.Audio{Frames: 90, Timebase: av.Clock90k}},
	"tiny":     {Video: avtest.Video{Frames: 3, Size: 1, KeySize: 1, B: 5, Timebase: av.Timebase{Num: 1001, Den: 24000}}},
	"negative": {Video: avtest.Video{Frames: 30}, Audio: avtest.Audio{Frames: 40}, Start: -time.Hour},
}

func TestSynthetic(t *testing.T) {
	for name, s := range specs {
		t.Run(name, func(t *testing.T) {
			avtest.Run(t, func(testing.TB) av.Demuxer { return avtest.NewSynthetic(s, s) }, avtest.Options{Composed: true})
			g := avtest.ReadAll(t, avtest.NewSynthetic(s))[0]
			for i, tr := range g.Tracks {
				described(t, s, tr)
				likeBitstream(t, tr, g.Of(i))
			}
		})
	}
}

// described: the configuration says what the Spec says.
func described(t *testing.T, s avtest.Spec, tr av.Track) {
	t.Helper()
	info, err := codec.Describe(&tr)
	if err != nil {
		t.Fatal(err)
	}
	if tr.Kind == av.Audio {
		if want := max(s.Audio.SampleRate, 44100); info.SampleRate < want || info.FrameSamples != 1024 || info.String != "mp4a.40.2" {
			t.Errorf("%+v", info)
		}
		return
	}
	tb := tr.Timebase
	frame := tb.Num * uint32(max(s.Video.FrameDur, 1))
	if got, want := info.FrameRate, (av.Rational{Num: tb.Den, Den: frame}).Reduced(); got != want {
		t.Errorf("%v frames a second, want %v", got, want)
	}
	if info.String != "avc1.640028" || info.Width != 320 || info.Height != 192 || info.Reorder != min(s.Video.B, 1) {
		t.Errorf("%+v", info)
	}
}

// likeBitstream: flags and output order are those that the bytes say.
func likeBitstream(t *testing.T, tr av.Track, l []av.Packet) {
	t.Helper()
	insp, err := codec.NewInspector(&tr)
	if err != nil {
		t.Fatal(err)
	}
	shown := map[int64]bool{}
	for i, p := range l {
		if f := insp.Flags(p.Data); f != p.Flags {
			t.Errorf("packet %d: flags %#x, its bytes say %#x", i, p.Flags, f)
		}
		if shown[p.PTS] {
			t.Errorf("packet %d: PTS %d for the second time", i, p.PTS)
		}
		shown[p.PTS] = true
	}
	if _, changed := insp.NewConfig(l[0].Data); changed {
		t.Error("a new configuration")
	}
}

func TestJumpsAndWrap(t *testing.T) {
	s := avtest.Spec{
		Video:    avtest.Video{Frames: 50, Timebase: av.Clock90k, FrameDur: 3600},
		Audio:    avtest.Audio{Frames: 90, Timebase: av.Clock90k},
		Start:    time.Second,
		Jumps:    []avtest.Jump{{At: time.Second, By: time.Hour, Marked: true}, {At: 1500 * time.Millisecond, By: -time.Hour}},
		WrapBits: 33,
	}
	d := avtest.NewSynthetic(s)
	g := avtest.ReadAll(t, d)[0]
	if d.WrapBits() != 33 {
		t.Errorf("%d bits", d.WrapBits())
	}
	for i, p := range g.Of(0) {
		want := int64(90000 + i*3600)
		if i >= 25 && i < 38 {
			want += 3600 * 90000
		}
		if p.DTS != want || p.Flags.Has(av.Discont) != (i == 25) {
			t.Errorf("packet %d: DTS %d flags %#x, want %d", i, p.DTS, p.Flags, want)
		}
	}
}

func TestSyntheticNoAllocation(t *testing.T) {
	d := avtest.NewSynthetic(specs["b"])
	a := &fixed{make([]byte, 1000)}
	if n := testing.AllocsPerRun(50, func() { d.ReadPacket(a) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

type fixed struct{ b []byte }

func (f *fixed) Alloc(_, n int) ([]byte, error) { return f.b[:n], nil }
