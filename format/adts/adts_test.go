package adts

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
	"github.com/cleave-video/cleave/codec/aac"
)

func sample(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/stereo.aac")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) {
	b := sample(t)
	open := func(r io.Reader) av.Demuxer { return NewDemuxer(r) }
	avtest.Run(t, func(testing.TB) av.Demuxer { return open(bytes.NewReader(b)) },
		avtest.Options{Composed: true, Input: b, Open: open})
}

// TestRoundTrip: what is read can be written again, to the byte but for the
// fullness of the encoder's buffer.
func TestRoundTrip(t *testing.T) {
	b := sample(t)
	if s := Sniff(b); s < 90 {
		t.Errorf("sniffed %d", s)
	}
	g := avtest.ReadAll(t, NewDemuxer(bytes.NewReader(b)))[0]
	tr := g.Tracks[0]
	info, err := codec.Describe(&tr)
	if err != nil || info.String != "mp4a.40.2" || info.SampleRate != 44100 || info.Channels != 2 || tr.Timebase.Den != 44100 {
		t.Errorf("%+v, %v", info, err)
	}
	var out []byte
	for i, p := range g.Packets {
		if p.PTS != int64(i)*1024 || p.DTS != p.PTS || p.Dur != 1024 || p.Flags != av.Key {
			t.Errorf("packet %d: %+v", i, p)
		}
		if out, err = aac.AppendADTS(out, tr.Config, len(p.Data)); err != nil {
			t.Fatal(err)
		}
		out = append(out, p.Data...)
	}
	if len(g.Packets) != 23 || !bytes.Equal(out, b) {
		t.Errorf("%d packets, %d bytes written, %d read", len(g.Packets), len(out), len(b))
	}
}

// frame returns an ADTS frame of AAC-LC at 48 kHz, stereo.
func frame(crc bool, blocks int, payload string) []byte {
	b := []byte{0xff, 0xf1, 0x4c, 0x80, 0, 0x1f, 0xfc | byte(blocks-1)}
	if crc {
		b[1] = 0xf0
		b = append(b, 0xaa, 0xbb)
	}
	b = append(b, payload...)
	b[4], b[5] = byte(len(b)>>3), byte(len(b)<<5)|0x1f
	return b
}

// TestFrames: checksums are left out, several raw data blocks last as long as
// they are.
func TestFrames(t *testing.T) {
	in := bytes.Join([][]byte{
		frame(false, 1, "one"), frame(true, 1, "two"), frame(false, 3, "three"), frame(true, 2, "four"), frame(false, 1, "five"),
	}, nil)
	d := NewDemuxer(bytes.NewReader(in))
	l := avtest.ReadAll(t, d)
	want := []struct {
		pts, dur int64
		data     string
	}{{0, 1024, "one"}, {1024, 1024, "two"}, {2048, 3072, "three"}, {7168, 1024, "five"}}
	if len(l) != 1 || len(l[0].Packets) != len(want) {
		t.Fatalf("%d generations", len(l))
	}
	for i, p := range l[0].Packets {
		if w := want[i]; p.PTS != w.pts || p.Dur != w.dur || string(p.Data) != w.data {
			t.Errorf("packet %d: %+v, want %+v", i, p, w)
		}
	}
	if w := strings.Join(d.Warnings(), "\n"); !strings.Contains(w, "1 frames of several raw data blocks") {
		t.Errorf("warnings %q", w)
	}
}

// TestProgram: channels that only the first frame's program config element tells.
func TestProgram(t *testing.T) {
	f := frame(false, 1, "\xa0\x98\x80\x20\x04\x00\x00\xde\x02\x00")
	f[3] &= 0x3f // channel_configuration 0
	tr := avtest.ReadAll(t, NewDemuxer(bytes.NewReader(bytes.Repeat(f, 3))))[0].Tracks[0]
	if info, err := codec.Describe(&tr); err != nil || info.Channels != 3 || info.SampleRate != 48000 {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestAgainstFFprobe: as many packets of the same sizes.
func TestAgainstFFprobe(t *testing.T) {
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: real files are left out")
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: the comparison with it is left out")
	}
	for _, name := range []string{"audio/aac.adts", "audio/aac_id3_timestamp.aac"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if s := Sniff(b[:min(len(b), 4096)]); s < 90 {
				t.Errorf("sniffed %d", s)
			}
			var got []byte
			for _, p := range avtest.ReadAll(t, NewDemuxer(bytes.NewReader(b)))[0].Packets {
				got = append(got, p.Data...)
			}
			want, err := exec.Command("ffmpeg", "-v", "quiet", "-i", file, "-c", "copy", "-map", "0:a", "-bsf:a", "aac_adtstoasc", "-f", "data", "-").Output()
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
	b := sample(t)
	avtest.Prefixes(t, b, func(b []byte) {
		_, err := avtest.Read(NewDemuxer(bytes.NewReader(b)))
		var bad *av.Error
		if err != io.EOF && !errors.As(err, &bad) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
		Sniff(b)
	})
	avtest.AllocBound(t, len(b), func() { avtest.Read(NewDemuxer(bytes.NewReader(b))) })
}

type fixed struct{ b []byte }

func (f *fixed) Alloc(_, n int) ([]byte, error) { return f.b[:n], nil }

func TestNoAllocation(t *testing.T) {
	d := NewDemuxer(bytes.NewReader(bytes.Repeat(sample(t), 100)))
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
	f.Add(sample(f)[:600])
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
