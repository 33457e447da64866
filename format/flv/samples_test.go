package flv

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/timeline"
)

// The samples hold 0.8 s of 64x64 pictures at 25 a second, and a tone. Those with
// H.264 were written by ffmpeg, the others by this package from ffmpeg's MP4.
var samples = []struct {
	file   string
	codecs [2]av.Codec
	counts [2]int
	keys   int
	name   [2]string // as RFC 6381 has it, in part
}{
	{"h264_aac.flv", [2]av.Codec{av.H264, av.AAC}, [2]int{20, 39}, 2, [2]string{"avc1.64", "mp4a.40.2"}},
	{"h264_mp3.flv", [2]av.Codec{av.H264, av.MP3}, [2]int{20, 32}, 2, [2]string{"avc1.64", "mp4a.6b"}},
	{"hevc_opus.flv", [2]av.Codec{av.H265, av.Opus}, [2]int{20, 41}, 2, [2]string{"hvc1.1", "opus"}},
	{"av1_ac3.flv", [2]av.Codec{av.AV1, av.AC3}, [2]int{20, 25}, 2, [2]string{"av01.0", "ac-3"}},
	{"vp9_eac3.flv", [2]av.Codec{av.VP9, av.EAC3}, [2]int{20, 25}, 2, [2]string{"vp09.00", "ec-3"}},
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSamples(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			b := sample(t, s.file)
			d := NewDemuxer(bytes.NewReader(b))
			l, err := readAll(d)
			if err != nil || len(l) != 1 {
				t.Fatalf("%d sets of tracks, %v", len(l), err)
			}
			if w := d.Warnings(); len(w) > 0 {
				t.Errorf("warnings %q", w)
			}
			if done, total := d.Progress(); done != int64(len(b)) || total != 0 {
				t.Errorf("progress %d of %d, want %d of 0", done, total, len(b))
			}
			g := l[0]
			n, keys := [2]int{}, 0
			for _, p := range g.packets {
				n[p.Track]++
				if p.Track == 0 && p.Flags.Has(av.Key) {
					keys++
				}
			}
			if n != s.counts || keys != s.keys {
				t.Errorf("%v packets, %d keys, want %v, %d", n, keys, s.counts, s.keys)
			}
			for i := range g.tracks {
				info, err := codec.Describe(&g.tracks[i])
				if err != nil || g.tracks[i].Codec != s.codecs[i] || !strings.HasPrefix(info.String, s.name[i]) {
					t.Errorf("track %d is %v %q, %v", i, g.tracks[i].Codec, info.String, err)
				}
				if g.tracks[i].Kind == av.Video && (info.Width == 0 || info.Height == 0) {
					t.Errorf("track %d: pictures of %d x %d", i, info.Width, info.Height)
				}
			}
		})
	}
}

// TestContract: what av.Demuxer promises, with readers of every kind.
func TestContract(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			b := sample(t, s.file)
			open := func(r io.Reader) av.Demuxer { return NewDemuxer(r) }
			avtest.Run(t, func(testing.TB) av.Demuxer { return open(bytes.NewReader(b)) },
				avtest.Options{Bits: WrapBits, Composed: true, Input: b, Open: open})
		})
	}
}

// TestPrefixes: a file that is cut anywhere gives a part of its packets and ends,
// or is no file at all.
func TestPrefixes(t *testing.T) {
	for _, s := range samples {
		whole := demux(t, sample(t, s.file))[0].packets
		avtest.Prefixes(t, sample(t, s.file), func(b []byte) {
			l, err := readAll(NewDemuxer(bytes.NewReader(b)))
			var bad *av.Error
			if err != nil && !errors.As(err, &bad) {
				t.Fatalf("%s: %d bytes: %v", s.file, len(b), err)
			}
			n := 0
			for _, g := range l {
				n += len(g.packets)
			}
			if n > len(whole) {
				t.Fatalf("%s: %d bytes hold %d packets of %d", s.file, len(b), n, len(whole))
			}
		})
	}
}

// TestAllocation: at most twice the input and 1 MiB.
func TestAllocation(t *testing.T) {
	inputs := map[string][]byte{}
	for _, s := range samples {
		inputs[s.file] = sample(t, s.file)
	}
	for name, b := range hostile() {
		inputs[name] = b
	}
	for name, b := range inputs {
		t.Run(name, func(t *testing.T) {
			avtest.AllocBound(t, len(b), func() { drain(NewDemuxer(bytes.NewReader(b))) })
		})
	}
}

// drain reads d to its end and keeps nothing.
func drain(d av.Demuxer) error {
	for {
		if _, err := d.ReadPacket(av.Heap{}); err != nil && !errors.Is(err, av.ErrTracks) {
			return err
		}
	}
}

// fixed is an allocator that hands out the same memory again and again.
type fixed struct{ b []byte }

func (f *fixed) Alloc(_, n int) ([]byte, error) { return f.b[:n], nil }

// endless gives a file and then its tags again and again.
type endless struct {
	b    []byte
	at   int
	from int // where the tags start
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.at:])
	if e.at += n; e.at == len(e.b) {
		e.at = e.from
	}
	return n, nil
}

// TestNoAllocation: once the tracks are known a packet costs no allocation.
func TestNoAllocation(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			a := &fixed{make([]byte, 1<<20)}
			d := NewDemuxer(&endless{b: sample(t, s.file), from: headerLen + prevLen})
			read := func() {
				for {
					if _, err := d.ReadPacket(a); err == nil {
						return
					} else if !errors.Is(err, av.ErrTracks) {
						t.Fatal(err)
					}
				}
			}
			for range 300 {
				read()
			}
			if n := testing.AllocsPerRun(1000, read); n != 0 {
				t.Errorf("%v allocations a packet", n)
			}
		})
	}
}

// TestLargeTag: a tag beyond the read buffer is read whole, and its memory is not
// the heap's.
func TestLargeTag(t *testing.T) {
	spec := avtest.Spec{Video: avtest.Video{Frames: 3, KeySize: 5 << 20, Size: 700 << 10}}
	f := muxAll(t, avtest.NewSynthetic(spec))
	d := NewDemuxer(bytes.NewReader(f))
	a := &fixed{make([]byte, 6<<20)}
	sizes := []int{5 << 20, 700 << 10, 700 << 10}
	used := avtest.Allocated(func() {
		if _, err := d.ReadPacket(a); !errors.Is(err, av.ErrTracks) {
			t.Fatal(err)
		}
		for _, want := range sizes {
			if p, err := d.ReadPacket(a); err != nil || len(p.Data) != want {
				t.Fatalf("%d bytes, %v, want %d", len(p.Data), err, want)
			}
		}
	})
	// The first frame is kept while the tracks are looked for.
	if used > 5<<20+1<<20 {
		t.Errorf("%d bytes allocated", used)
	}
	if _, err := d.ReadPacket(a); err != io.EOF {
		t.Error(err)
	}
	if d.src.big != nil {
		t.Error("the large buffer is held behind the end")
	}
}

// muxAll writes what d gives as a file.
func muxAll(t testing.TB, d av.Demuxer) []byte {
	t.Helper()
	b, err := mux(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func mux(d av.Demuxer) ([]byte, error) {
	out := AppendHeader(nil, true, true)
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			for _, tr := range d.Tracks() {
				b, err := AppendSequenceStart(nil, &tr)
				if err != nil {
					return nil, err
				}
				if len(b) > 0 {
					out = AppendTag(out, TagType(&tr), 0, b, nil)
				}
			}
			continue
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, err
		}
		tr := d.Tracks()[p.Track]
		dts, pts := tr.Timebase.Rescale(p.DTS, av.Millisecond), tr.Timebase.Rescale(p.PTS, av.Millisecond)
		out = AppendTag(out, TagType(&tr), uint32(dts), AppendFrameHead(nil, &tr, p.Flags, pts-dts), p.Data)
	}
}

// TestRoundTrip: what is written is read, to the bit.
func TestRoundTrip(t *testing.T) {
	for _, s := range samples {
		want := demux(t, sample(t, s.file))
		got := demux(t, muxAll(t, NewDemuxer(bytes.NewReader(sample(t, s.file)))))
		compare(t, want, got)
	}
	spec := avtest.Spec{Video: avtest.Video{Frames: 60, B: 2, Open: true}, Audio: avtest.Audio{Frames: 100}}
	b := muxAll(t, avtest.NewSynthetic(spec, avtest.Spec{Video: avtest.Video{Frames: 10, Width: 640}, Audio: avtest.Audio{Frames: 10}}))
	l := demux(t, b)
	if len(l) != 2 || len(l[0].packets) != 160 || len(l[1].packets) != 20 {
		t.Fatalf("%d sets of tracks", len(l))
	}
	compare(t, l, demux(t, muxAll(t, NewDemuxer(bytes.NewReader(b)))))
}

func compare(t *testing.T, want, got []generation) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d sets of tracks, want %d", len(got), len(want))
	}
	for i := range want {
		if len(want[i].packets) != len(got[i].packets) {
			t.Fatalf("%d packets, want %d", len(got[i].packets), len(want[i].packets))
		}
		for k, tr := range want[i].tracks {
			if u := got[i].tracks[k]; u.Codec != tr.Codec || !bytes.Equal(u.Config, tr.Config) {
				t.Fatalf("track %d: %v, want %v", k, u, tr)
			}
		}
		for k, p := range want[i].packets {
			q := got[i].packets[k]
			if p.Track != q.Track || p.DTS != q.DTS || p.PTS != q.PTS || p.Flags != q.Flags || !bytes.Equal(p.Data, q.Data) {
				t.Fatalf("packet %d differs", k)
			}
		}
	}
}

// TestWrap: times are 32 bits as they came; the timeline makes them go on.
func TestWrap(t *testing.T) {
	spec := avtest.Spec{Video: avtest.Video{Frames: 100, B: 1}, Audio: avtest.Audio{Frames: 150}}
	b := shift(muxAll(t, avtest.NewSynthetic(spec)), 0xffffffff-2000)
	wrapped := false
	last := int64(0)
	for _, p := range demux(t, b)[0].packets {
		if p.Track == 0 {
			wrapped = wrapped || p.DTS < last
			last = p.DTS
		}
		if uint64(p.DTS)>>32 != 0 || uint64(p.PTS)>>32 != 0 {
			t.Fatalf("DTS %d PTS %d", p.DTS, p.PTS)
		}
	}
	if !wrapped {
		t.Error("the times do not wrap")
	}
	l, err := readAll(timeline.New(NewDemuxer(bytes.NewReader(b)), timeline.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	want := demux(t, muxAll(t, avtest.NewSynthetic(spec)))[0].packets
	off := l[0].packets[0].DTS - want[0].DTS
	for i, p := range l[0].packets {
		if p.DTS-off != want[i].DTS || p.PTS-off != want[i].PTS || p.Flags.Has(av.Discont) {
			t.Fatalf("packet %d: DTS %d PTS %d, want %d %d", i, p.DTS-off, p.PTS-off, want[i].DTS, want[i].PTS)
		}
	}
}

// shift adds to the timestamps of a file's tags.
func shift(b []byte, by uint32) []byte {
	b = bytes.Clone(b)
	for at := headerLen + prevLen; at < len(b); {
		h := parseTagHeader(b[at:])
		ts := h.timestamp + by
		b[at+4], b[at+5], b[at+6], b[at+7] = byte(ts>>16), byte(ts>>8), byte(ts), byte(ts>>24)
		at += tagHeaderLen + h.size + prevLen
	}
	return b
}

func BenchmarkDemuxer(b *testing.B) {
	for _, s := range samples[:3] {
		b.Run(s.file, func(b *testing.B) {
			a := &fixed{make([]byte, 1<<20)}
			d := NewDemuxer(&endless{b: sample(b, s.file), from: headerLen + prevLen})
			b.ReportAllocs()
			for n := 0; n < b.N; {
				if _, err := d.ReadPacket(a); err == nil {
					n++
				} else if !errors.Is(err, av.ErrTracks) {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/packet")
		})
	}
}
