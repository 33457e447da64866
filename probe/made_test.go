package probe

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/ts"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	name = filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("differs from %s:\n%s", name, got)
	}
}

// writeTS writes synthetic streams as one transport stream.
func writeTS(t testing.TB, name string, specs ...avtest.Spec) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var m *ts.Muxer
	var b []byte
	var tracks []av.Track
	for s := avtest.NewSynthetic(specs...); ; {
		p, err := s.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			tracks = s.Tracks()
			if m, err = ts.NewMuxer(tracks); err != nil {
				t.Fatal(err)
			}
			b = m.AppendHeader(b[:0])
		case errors.Is(err, io.EOF):
			return name
		case err != nil:
			t.Fatal(err)
		default:
			tb := tracks[p.Track].Timebase
			b = m.AppendPacket(b[:0], p, tb.Rescale(p.DTS, av.Clock90k), tb.Rescale(p.PTS, av.Clock90k))
		}
		if _, err := f.Write(b); err != nil {
			t.Fatal(err)
		}
	}
}

// stream is 100 frames with B pictures and open GOPs of three lengths, and sound.
var stream = avtest.Spec{
	Video: avtest.Video{Frames: 100, GOPs: []int{25, 13, 30}, B: 2, Open: true, Size: 700, KeySize: 4000},
	Audio: avtest.Audio{Frames: 188},
	Start: time.Second,
}

// ffmpeg makes a file, or skips the test.
func ffmpeg(t testing.TB, name, args string) string {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: probe is not tested on a made file")
	}
	name = filepath.Join(t.TempDir(), name)
	list := append(strings.Fields("-v error -nostdin "+args), name)
	if out, err := exec.Command("ffmpeg", list...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

const lavfi = "-f lavfi -i testsrc2=size=192x108:rate=25 -f lavfi -i sine=sample_rate=48000 "
