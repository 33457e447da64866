package annexb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
)

// samples are streams of libx264 and libx265: frames of 64 by 64.
var samples = []struct {
	file     string
	codec    av.Codec
	timebase av.Timebase
	pictures int
	keys     []int
	delay    int64 // frames
}{
	{"open.264", av.H264, av.Timebase{Num: 1001, Den: 24000}, 48, []int{0, 9, 21, 33}, 2},
	{"open.265", av.H265, av.Timebase{Num: 1, Den: 30}, 60, []int{0, 9, 21, 33, 45}, 2},
	{"mbaff.264", av.H264, av.Timebase{Num: 1, Den: 50}, 25, []int{0, 10, 20}, 2},
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// annexB returns the packets of a track in Annex B, parameter sets first.
func annexB(t testing.TB, tr av.Track, l []av.Packet) []byte {
	t.Helper()
	var b []byte
	add := func(u []byte) { b = append(append(b, 0, 0, 0, 1), u...) }
	c := tr.Config // of avtest: one SPS, one PPS
	n := int(binary.BigEndian.Uint16(c[6:]))
	add(c[8 : 8+n])
	m := int(binary.BigEndian.Uint16(c[9+n:]))
	add(c[11+n : 11+n+m])
	for _, p := range l {
		for d := p.Data; len(d) > 0; {
			n := 4 + int(binary.BigEndian.Uint32(d))
			add(d[4:n])
			d = d[n:]
		}
	}
	return b
}

// synthetic returns a stream in Annex B and what its packets were.
func synthetic(t testing.TB, v avtest.Video) ([]byte, []av.Packet) {
	t.Helper()
	g := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{Video: v}))[0]
	return annexB(t, g.Tracks[0], g.Packets), g.Packets
}

func TestConformance(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			b := sample(t, s.file)
			open := func(r io.Reader) av.Demuxer { return NewDemuxer(r, s.codec) }
			avtest.Run(t, func(testing.TB) av.Demuxer { return open(bytes.NewReader(b)) },
				avtest.Options{Composed: true, Input: b, Open: open})
		})
	}
}

func TestSamples(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			b := sample(t, s.file)
			if c, sure := Sniff(b[:min(len(b), 4096)]); c != s.codec || sure < 90 {
				t.Errorf("sniffed %v, %d", c, sure)
			}
			d := NewDemuxer(bytes.NewReader(b), s.codec)
			l := avtest.ReadAll(t, d)
			if len(l) != 1 || l[0].Tracks[0].Timebase != s.timebase {
				t.Fatalf("%d generations, timebase %v, want %v", len(l), l[0].Tracks[0].Timebase, s.timebase)
			}
			p := l[0].Packets
			if len(p) != s.pictures {
				t.Fatalf("%d pictures, want %d", len(p), s.pictures)
			}
			frame := p[0].Dur
			var keys []int
			var pts []int64
			for i := range p {
				if p[i].Flags.Has(av.Key) {
					keys = append(keys, i)
				}
				if !p[i].Flags.Has(av.Derived) || p[i].DTS != int64(i)*frame || p[i].Dur != frame {
					t.Errorf("picture %d: DTS %d duration %d flags %#x", i, p[i].DTS, p[i].Dur, p[i].Flags)
				}
				pts = append(pts, p[i].PTS)
			}
			if !slices.Equal(keys, s.keys) {
				t.Errorf("keys %v, want %v", keys, s.keys)
			}
			steady(t, pts)
			if first := slices.Min(pts); first != s.delay*frame {
				t.Errorf("first PTS %d, want %d", first, s.delay*frame)
			}
			if w := d.Warnings(); len(w) > 0 {
				t.Errorf("warnings %q", w)
			}
		})
	}
}

// TestSynthetic: times and bytes are those that the stream was made with.
func TestSynthetic(t *testing.T) {
	for name, v := range map[string]avtest.Video{
		"no B":     {Frames: 40, GOPs: []int{7, 1, 12}},
		"B":        {Frames: 90, GOPs: []int{25, 3, 2}, B: 3},
		"open":     {Frames: 90, GOPs: []int{25, 4}, B: 2, Open: true},
		"fraction": {Frames: 30, Timebase: av.Timebase{Num: 1001, Den: 30000}, B: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b, want := synthetic(t, v)
			got := avtest.ReadAll(t, NewDemuxer(bytes.NewReader(b), av.H264))[0].Packets
			if len(got) != len(want) {
				t.Fatalf("%d packets, want %d", len(got), len(want))
			}
			for i, p := range got {
				w := want[i]
				if p.DTS != w.DTS || p.PTS != w.PTS || p.Dur != w.Dur || p.Flags != w.Flags|av.Derived || !bytes.Equal(p.Data, w.Data) {
					t.Errorf("packet %d: DTS %d PTS %d flags %#x, want %d %d %#x", i, p.DTS, p.PTS, p.Flags, w.DTS, w.PTS, w.Flags)
				}
			}
		})
	}
}

// TestNewConfiguration: other parameter sets make a new track; time goes on in
// its timebase.
func TestNewConfiguration(t *testing.T) {
	a, _ := synthetic(t, avtest.Video{Frames: 30, B: 2})
	b, _ := synthetic(t, avtest.Video{Frames: 20, Width: 640, Height: 480, Timebase: av.Timebase{Num: 1, Den: 50}})
	d := NewDemuxer(bytes.NewReader(append(a, b...)), av.H264)
	l := avtest.ReadAll(t, d)
	if len(l) != 2 || len(l[0].Packets) != 30 || len(l[1].Packets) != 20 {
		t.Fatalf("%d generations", len(l))
	}
	info, err := codec.Describe(&l[1].Tracks[0])
	if err != nil || info.Width != 640 || l[1].Tracks[0].Timebase != (av.Timebase{Num: 1, Den: 50}) {
		t.Errorf("%+v, %v", info, err)
	}
	p := l[1].Packets
	if p[0].DTS != 60 || p[0].PTS != 62 || p[19].DTS != 79 {
		t.Errorf("DTS %d PTS %d to %d, want 60 62 to 79", p[0].DTS, p[0].PTS, p[19].DTS)
	}
}

// TestDamage: what cannot be used is left out and counted.
func TestDamage(t *testing.T) {
	b, _ := synthetic(t, avtest.Video{Frames: 20, B: 1})
	sets := bytes.Index(b, []byte{0, 0, 0, 1, 0x65})
	slice := b[sets : sets+100]
	for name, test := range map[string]struct {
		in      []byte
		packets int
		warn    string
		err     error
	}{
		"junk in front":       {append([]byte("garbage"), b...), 20, "7 bytes before the first start code", io.EOF},
		"slices before sets":  {append(bytes.Clone(slice), b...), 20, "1 pictures before the first parameter sets", io.EOF},
		"sets behind the end": {append(bytes.Clone(b), b[:sets]...), 20, "1 access units without a slice", io.EOF},
		"no sets":             {b[sets:], 0, "pictures before the first parameter sets", av.ErrInvalid},
		"sets only":           {b[:sets], 0, "1 access units without a slice", av.ErrTruncated},
		"no start code":       {bytes.Repeat([]byte{0, 0, 2}, 1000), 0, "bytes before the first start code", av.ErrTruncated},
		"empty":               {nil, 0, "", av.ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			d := NewDemuxer(bytes.NewReader(test.in), av.H264)
			l, err := avtest.Read(d)
			if !errors.Is(err, test.err) {
				t.Errorf("%v, want %v", err, test.err)
			}
			n := 0
			for _, g := range l {
				n += len(g.Packets)
				if len(g.Packets) > 0 && g.Packets[0].DTS != 0 {
					t.Errorf("first DTS %d", g.Packets[0].DTS)
				}
			}
			if w := strings.Join(d.Warnings(), "\n"); n != test.packets || !strings.Contains(w, test.warn) || test.warn == "" && w != "" {
				t.Errorf("%d packets, warnings %q; want %d, %q", n, w, test.packets, test.warn)
			}
		})
	}
}

// TestBounds: an access unit over MaxUnit ends the stream, without memory for it.
func TestBounds(t *testing.T) {
	b, _ := synthetic(t, avtest.Video{Frames: 3})
	b = append(b, 0, 0, 0, 1, 6)
	r := io.MultiReader(bytes.NewReader(b), &endless{b: []byte{5}})
	d := NewDemuxer(r, av.H264)
	d.MaxUnit = 1 << 20
	var err error
	n := avtest.Allocated(func() { _, err = avtest.Read(d) })
	if !errors.Is(err, av.ErrTooLarge) || n > 6<<20 {
		t.Errorf("%v, %d bytes allocated", err, n)
	}
}

// TestHeld: pictures that wait for their place in output order are bounded in
// bytes too.
func TestHeld(t *testing.T) {
	b, _ := synthetic(t, avtest.Video{Frames: 40, B: 7, GOPs: []int{40}, Size: 40 << 10})
	d := NewDemuxer(bytes.NewReader(b), av.H264)
	d.MaxUnit = 128 << 10
	l := avtest.ReadAll(t, d)
	if n := len(l[0].Packets); n != 40 {
		t.Errorf("%d packets", n)
	}
	for i, p := range l[0].Packets {
		if p.PTS < p.DTS {
			t.Errorf("packet %d: PTS %d before DTS %d", i, p.PTS, p.DTS)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for _, s := range samples {
		avtest.Prefixes(t, sample(t, s.file), func(b []byte) {
			_, err := avtest.Read(NewDemuxer(bytes.NewReader(b), s.codec))
			var bad *av.Error
			if !errors.Is(err, io.EOF) && !errors.As(err, &bad) {
				t.Errorf("%d bytes: %v", len(b), err)
			}
			Sniff(b[:min(len(b), 4096)])
		})
	}
}

func TestAllocBound(t *testing.T) {
	for _, s := range samples {
		b := sample(t, s.file)
		avtest.AllocBound(t, len(b), func() { avtest.Read(NewDemuxer(bytes.NewReader(b), s.codec)) })
	}
}

// endless repeats a stream for ever.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		c := copy(p[n:], e.b[e.at:])
		n += c
		e.at = (e.at + c) % len(e.b)
	}
	return n, nil
}

type fixed struct{ b []byte }

func (f *fixed) Alloc(_, n int) ([]byte, error) { return f.b[:n], nil }

// TestNoAllocation: once the track is known a packet costs no allocation.
func TestNoAllocation(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			a := &fixed{make([]byte, 1<<20)}
			d := NewDemuxer(&endless{b: sample(t, s.file)}, s.codec)
			read := func() {
				if _, err := d.ReadPacket(a); err != nil && !errors.Is(err, av.ErrTracks) {
					t.Fatal(err)
				}
			}
			for range 500 {
				read()
			}
			if n := testing.AllocsPerRun(1000, read); n != 0 {
				t.Errorf("%v allocations a packet", n)
			}
		})
	}
}

func BenchmarkReadPacket(b *testing.B) {
	in, _ := synthetic(b, avtest.Video{Frames: 100, B: 2, Size: 20 << 10})
	a := &fixed{make([]byte, 1<<20)}
	d := NewDemuxer(&endless{b: in}, av.H264)
	b.SetBytes(20 << 10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.ReadPacket(a); err != nil && !errors.Is(err, av.ErrTracks) {
			b.Fatal(err)
		}
	}
}
