package mp3

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
)

// samples are files of libmp3lame and of ffmpeg's encoder of layer II.
var samples = []struct {
	file     string
	packets  int
	rate     int
	channels int
	samples  int64
}{
	{"lame.mp3", 21, 44100, 1, 1152},  // ID3v2, Info
	{"vbr22.mp3", 22, 22050, 2, 576},  // ID3v2, Xing, ID3v1
	{"mpeg25.mp3", 12, 11025, 1, 576}, // Info
	{"layer2.mp2", 13, 48000, 1, 1152},
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(r io.Reader) av.Demuxer { return NewDemuxer(r) }

func TestConformance(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			b := sample(t, s.file)
			avtest.Run(t, func(testing.TB) av.Demuxer { return open(bytes.NewReader(b)) },
				avtest.Options{Composed: true, Input: b, Open: open})
		})
	}
}

func TestSamples(t *testing.T) {
	for _, s := range samples {
		t.Run(s.file, func(t *testing.T) {
			b := sample(t, s.file)
			if n := Sniff(b); n < 85 {
				t.Errorf("sniffed %d", n)
			}
			d := NewDemuxer(bytes.NewReader(b))
			g := avtest.ReadAll(t, d)[0]
			info, err := codec.Describe(&g.Tracks[0])
			if err != nil || info.SampleRate != s.rate || info.Channels != s.channels || int64(info.FrameSamples) != s.samples {
				t.Errorf("%+v, %v", info, err)
			}
			if len(g.Packets) != s.packets || g.Tracks[0].Timebase != (av.Timebase{Num: 1, Den: uint32(s.rate)}) {
				t.Errorf("%d packets of timebase %v, want %d", len(g.Packets), g.Tracks[0].Timebase, s.packets)
			}
			for i, p := range g.Packets {
				if p.PTS != int64(i)*s.samples || p.DTS != p.PTS || p.Dur != s.samples || p.Flags != av.Key {
					t.Errorf("packet %d: %+v", i, p)
				}
			}
			if w := d.Warnings(); len(w) > 0 {
				t.Errorf("warnings %q", w)
			}
		})
	}
}

// TestDescription: frames that describe the file are no audio at the front, in
// every place they have.
func TestDescription(t *testing.T) {
	for name, test := range map[string]struct {
		head [4]byte
		at   int
		word string
		drop bool
	}{
		"MPEG-1 stereo":      {[4]byte{0xff, 0xfb, 0x90, 0x00}, 36, "Xing", true},
		"MPEG-1 mono":        {[4]byte{0xff, 0xfb, 0x90, 0xc0}, 21, "Info", true},
		"MPEG-2 stereo":      {[4]byte{0xff, 0xf3, 0x90, 0x00}, 21, "Info", true},
		"MPEG-2 mono":        {[4]byte{0xff, 0xf3, 0x90, 0xc0}, 13, "Xing", true},
		"MPEG-2.5 mono":      {[4]byte{0xff, 0xe3, 0x90, 0xc0}, 13, "Xing", true},
		"with a checksum":    {[4]byte{0xff, 0xfa, 0x90, 0x00}, 38, "Info", true},
		"VBRI":               {[4]byte{0xff, 0xfb, 0x90, 0xc0}, 36, "VBRI", true},
		"layer II":           {[4]byte{0xff, 0xfd, 0x90, 0x00}, 36, "Xing", false},
		"in another place":   {[4]byte{0xff, 0xfb, 0x90, 0x00}, 40, "Xing", false},
		"another word there": {[4]byte{0xff, 0xfb, 0x90, 0x00}, 36, "Zing", false},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := syntax{}.Parse(test.head[:])
			if err != nil {
				t.Fatal(err)
			}
			plain := append(test.head[:], make([]byte, f.Size-4)...)
			first := bytes.Clone(plain)
			copy(first[test.at:], test.word)
			n := 6
			if test.drop {
				n = 5 // only the one in front
			}
			in := bytes.Join([][]byte{first, plain, plain, first, plain, plain}, nil)
			if got := len(avtest.ReadAll(t, NewDemuxer(bytes.NewReader(in)))[0].Packets); got != n {
				t.Errorf("%d packets, want %d", got, n)
			}
		})
	}
}

// TestFreeFormat is refused in clear words.
func TestFreeFormat(t *testing.T) {
	in := bytes.Repeat(append([]byte{0xff, 0xfb, 0x00, 0x00}, make([]byte, 396)...), 10)
	_, err := avtest.Read(NewDemuxer(bytes.NewReader(in)))
	if !errors.Is(err, av.ErrUnsupported) || !strings.Contains(err.Error(), "free format") {
		t.Error(err)
	}
}

// TestAgainstFFmpeg: the same bytes of audio.
func TestAgainstFFmpeg(t *testing.T) {
	files := []string{"testdata/lame.mp3", "testdata/vbr22.mp3", "testdata/mpeg25.mp3"}
	if dir := os.Getenv("CLEAVE_MEDIA"); dir != "" {
		files = append(files, filepath.Join(dir, "audio/vbr_xing.mp3"))
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: the comparison with it is left out")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for _, p := range avtest.ReadAll(t, NewDemuxer(bytes.NewReader(b)))[0].Packets {
				got = append(got, p.Data...)
			}
			want, err := exec.Command("ffmpeg", "-v", "quiet", "-i", file, "-c", "copy", "-map", "0:a", "-f", "data", "-").Output()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes, want %d", len(got), len(want))
			}
		})
	}
}

func TestPrefixes(t *testing.T) {
	for _, s := range samples {
		b := sample(t, s.file)
		avtest.Prefixes(t, b, func(b []byte) {
			_, err := avtest.Read(NewDemuxer(bytes.NewReader(b)))
			var bad *av.Error
			if err != io.EOF && !errors.As(err, &bad) {
				t.Errorf("%s, %d bytes: %v", s.file, len(b), err)
			}
			Sniff(b)
		})
		avtest.AllocBound(t, len(b), func() { avtest.Read(NewDemuxer(bytes.NewReader(b))) })
	}
}

type fixed struct{ b []byte }

func (f *fixed) Alloc(_, n int) ([]byte, error) { return f.b[:n], nil }

func TestNoAllocation(t *testing.T) {
	d := NewDemuxer(bytes.NewReader(bytes.Repeat(sample(t, "layer2.mp2"), 200)))
	a := &fixed{make([]byte, 8<<10)}
	for range 100 {
		d.ReadPacket(a)
	}
	if n := testing.AllocsPerRun(1000, func() { d.ReadPacket(a) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// FuzzDemuxer: no input panics, allocates beyond the law, or ends in anything but
// io.EOF or an *av.Error.
func FuzzDemuxer(f *testing.F) {
	for _, s := range samples {
		f.Add(sample(f, s.file)[:900])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		Sniff(b)
		d := NewDemuxer(bytes.NewReader(b))
		l, err := avtest.Read(d)
		var bad *av.Error
		if err != io.EOF && !errors.As(err, &bad) {
			t.Fatal(err)
		}
		d.Warnings()
		for _, g := range l {
			if _, err := codec.Describe(&g.Tracks[0]); err != nil {
				t.Fatal(err)
			}
			last := int64(-1)
			for i, p := range g.Packets {
				if p.DTS <= last && i > 0 || p.Dur <= 0 || len(p.Data) == 0 {
					t.Fatalf("packet %d: %+v behind %d", i, p, last)
				}
				last = p.DTS
			}
		}
	})
}
