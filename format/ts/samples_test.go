package ts

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av"
)

// The samples were made by ffmpeg: 1 s of testsrc and sine.
var samples = []struct {
	file   string
	codecs []av.Codec
	counts []int
}{
	{"av.ts", []av.Codec{av.H264, av.AAC}, []int{25, 45}},
	{"hevc_ac3.ts", []av.Codec{av.H265, av.AC3}, []int{25, 32}},
	{"audio.ts", []av.Codec{av.MP3, av.EAC3, av.Opus}, []int{43, 32, 51}},
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
			d := NewDemuxer(bytes.NewReader(sample(t, s.file)))
			l, err := readAll(d)
			if err != nil || len(l) != 1 {
				t.Fatalf("%d generations, %v", len(l), err)
			}
			if w := d.Warnings(); len(w) > 0 {
				t.Errorf("warnings %q", w)
			}
			g := l[0]
			for i, c := range s.codecs {
				if g.tracks[i].Codec != c || len(g.tracks[i].Config) == 0 {
					t.Errorf("track %d is %v", i, g.tracks[i])
				}
				if n := len(ofTrack(g, i)); n != s.counts[i] {
					t.Errorf("track %d has %d packets, want %d", i, n, s.counts[i])
				}
			}
			if done, _ := d.Progress(); done != int64(len(sample(t, s.file))) {
				t.Errorf("Progress says %d bytes", done)
			}
		})
	}
}

func TestSampleRoundTrip(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			g := demux(t, sample(t, s.file))[0]
			segments := write(t, g)
			c := newChecker(t, s.file)
			for _, seg := range segments {
				c.segment(seg, false)
			}
			compare(t, g, demux(t, bytes.Join(segments, nil)))
		})
	}
}

// TestReaders: how the bytes arrive does not matter.
func TestReaders(t *testing.T) {
	b := sample(t, "av.ts")
	want := demux(t, b)
	for name, r := range map[string]io.Reader{
		"one byte":     iotest.OneByteReader(bytes.NewReader(b)),
		"half":         iotest.HalfReader(bytes.NewReader(b)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(b)),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(NewDemuxer(r))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, cmp.AllowUnexported(generation{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestStrides: HOSTILE 43: packets of 192 and 204 bytes, and bytes in front.
func TestStrides(t *testing.T) {
	b := sample(t, "av.ts")
	want := demux(t, b)
	m2ts := spread(b, []byte{1, 2, 3, 4}, nil)
	rs := spread(b, nil, make([]byte, 16))
	for name, in := range map[string][]byte{
		"192":                m2ts,
		"204":                rs,
		"garbage":            append(bytes.Repeat([]byte{0x47, 1, 2}, 1000), b...),
		"64 KiB of garbage":  append(make([]byte, maxResync), b...),
		"204 behind garbage": append(bytes.Repeat([]byte{0x47}, 333), rs...),
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(want, demux(t, in), cmp.AllowUnexported(generation{})); d != "" {
				t.Error(d)
			}
			if name[0] != 'g' && Sniff(in[:4096]) < 90 && name[:2] != "64" && name[4:] != "behind garbage" {
				t.Errorf("Sniff says %d", Sniff(in[:4096]))
			}
		})
	}
	_, err := readAll(NewDemuxer(bytes.NewReader(append(make([]byte, maxResync+packetSize), b...))))
	if !errors.Is(err, av.ErrInvalid) {
		t.Errorf("more than 64 KiB of garbage: %v", err)
	}
}

// spread puts bytes in front of and behind each packet.
func spread(b, front, behind []byte) []byte {
	var out []byte
	for i := 0; i < len(b); i += packetSize {
		out = append(append(append(out, front...), b[i:i+packetSize]...), behind...)
	}
	return out
}

// TestPrefixes: every prefix ends in io.EOF or an *av.Error, without a panic.
func TestPrefixes(t *testing.T) {
	for _, s := range samples {
		b := sample(t, s.file)
		for n := 0; n < len(b); n += step(n) {
			l, err := readAll(NewDemuxer(bytes.NewReader(b[:n])))
			var bad *av.Error
			if err != nil && !errors.As(err, &bad) {
				t.Fatalf("%s: prefix of %d bytes: %v", s.file, n, err)
			}
			if n > 4096 && len(l) == 0 {
				t.Fatalf("%s: prefix of %d bytes: no tracks: %v", s.file, n, err)
			}
		}
	}
}

// step looks at every byte of the first packets, then at some of each.
func step(n int) int {
	if n < 8*packetSize {
		return 1
	}
	return 61
}

// TestAllocation: L2: at most twice the input and 1 MiB.
func TestAllocation(t *testing.T) {
	inputs := map[string][]byte{}
	for _, s := range samples {
		inputs[s.file] = sample(t, s.file)
	}
	if os.Getenv("CLEAVE_MEDIA") != "" {
		for _, name := range mediaFiles {
			inputs[name] = media(t, name)
		}
	}
	for name, b := range inputs {
		if n := allocated(b); n > 2*len(b)+1<<20 {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(b))
		}
	}
}

func allocated(b []byte) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d := NewDemuxer(bytes.NewReader(b))
	for {
		if _, err := d.ReadPacket(av.Heap{}); err != nil && !errors.Is(err, av.ErrTracks) {
			break
		}
	}
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

// fixedAllocator hands out the same memory again and again.
type fixedAllocator struct{ b []byte }

func (f *fixedAllocator) Alloc(_, n int) ([]byte, error) { return f.b[:n], nil }

// endless repeats a stream for ever.
type endless struct {
	b  []byte
	at int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.b[e.at:])
	e.at = (e.at + n) % len(e.b)
	return n, nil
}

// TestNoAllocation: once the tracks are known a packet costs no allocation.
func TestNoAllocation(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			a := &fixedAllocator{make([]byte, 1<<20)}
			d := NewDemuxer(&endless{b: sample(t, s.file)})
			read := func() {
				for {
					if _, err := d.ReadPacket(a); err == nil {
						return
					} else if !errors.Is(err, av.ErrTracks) {
						t.Fatal(err)
					}
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

// TestMuxerNoAllocation: appending to a slice that is large enough costs none.
func TestMuxerNoAllocation(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			g := demux(t, sample(t, s.file))[0]
			m, err := NewMuxer(g.tracks)
			if err != nil {
				t.Fatal(err)
			}
			dst := make([]byte, 0, 1<<20)
			dst = m.AppendHeader(dst)
			for _, p := range g.packets {
				dst = m.AppendPacket(dst[:0], p, p.DTS, p.PTS)
			}
			n := testing.AllocsPerRun(10, func() {
				for _, p := range g.packets {
					dst = m.AppendPacket(m.AppendHeader(dst[:0]), p, p.DTS, p.PTS)
				}
			})
			if n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}
