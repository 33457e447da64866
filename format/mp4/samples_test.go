package mp4_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
)

// samples were made by ffmpeg: moov behind and before mdat, fragmented, QuickTime
// with negative composition offsets, HEVC with open GOPs, MP3.
var samples = []string{"last.mp4", "first.mp4", "frag.mp4", "neg.mov", "hevc.mp4", "sound.mp4"}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(b []byte) *mp4.Demuxer { return mp4.New(bytes.NewReader(b), int64(len(b))) }

// TestSamples: the demuxer's promises on files that are always there.
func TestSamples(t *testing.T) {
	for _, name := range samples {
		b := sample(t, name)
		t.Run(name, func(t *testing.T) {
			avtest.Run(t, func(testing.TB) av.Demuxer { return open(b) }, avtest.Options{})
		})
	}
}

// drain reads all, with a small budget of calls; what ends it is io.EOF or an
// *av.Error with offset and field.
func drain(t testing.TB, d *mp4.Demuxer) (packets int, err error) {
	t.Helper()
	for range 1 << 20 {
		_, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, av.ErrTracks) {
			continue
		}
		if err != nil {
			var bad *av.Error
			if !errors.Is(err, io.EOF) && (!errors.As(err, &bad) || bad.Field == "") {
				t.Fatalf("ends with %v", err)
			}
			d.Warnings()
			return packets, err
		}
		packets++
	}
	t.Fatal("does not end")
	return 0, nil
}

// TestPrefixes: every prefix of every sample.
func TestPrefixes(t *testing.T) {
	for _, name := range samples {
		b := sample(t, name)
		whole, err := drain(t, open(b))
		if !errors.Is(err, io.EOF) {
			t.Fatal(name, err)
		}
		avtest.Prefixes(t, b, func(p []byte) {
			n, err := drain(t, open(p))
			if len(p) < len(b) && n >= whole && errors.Is(err, io.EOF) && bytes.Contains(b[len(p):], []byte("mdat")) {
				t.Errorf("%s: all of it in %d bytes", name, len(p))
			}
			if n > whole {
				t.Errorf("%s: %d packets in a prefix, %d in all", name, n, whole)
			}
		})
	}
}

// TestUnknownSize: an input whose size nobody knows gives the same packets.
func TestUnknownSize(t *testing.T) {
	for _, name := range samples {
		b := sample(t, name)
		want, _ := drain(t, open(b))
		if got, err := drain(t, mp4.New(bytes.NewReader(b), -1)); got != want || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %d packets of %d, %v", name, got, want, err)
		}
	}
}

// TestAllocation: at most twice the input and 1 MiB.
func TestAllocation(t *testing.T) {
	inputs := map[string][]byte{}
	for _, name := range samples {
		inputs[name] = sample(t, name)
	}
	if dir := os.Getenv("CLEAVE_MEDIA"); dir != "" {
		for _, pattern := range []string{"mp4/*", "fmp4/*", "broken/*.mp4", "enc/*.mp4"} {
			names, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				inputs[name] = b
			}
		}
	}
	for name, b := range inputs {
		t.Run(filepath.Base(name), func(t *testing.T) {
			avtest.AllocBound(t, len(b), func() { drain(t, open(b)) })
		})
	}
}

// fixed hands out the same memory again and again.
type fixed struct{ b []byte }

func (f *fixed) Alloc(_, n int) ([]byte, error) { return f.b[:n], nil }

// TestReadPacketDoesNotAllocate: what a packet costs is no memory but its own.
func TestReadPacketDoesNotAllocate(t *testing.T) {
	b := sample(t, "first.mp4")
	d := open(b)
	a := &fixed{make([]byte, 1<<20)}
	if _, err := d.ReadPacket(a); !errors.Is(err, av.ErrTracks) {
		t.Fatal(err)
	}
	if _, err := d.ReadPacket(a); err != nil { // the first batch
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() {
		if _, err := d.ReadPacket(a); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// find returns where the body of the first box of a path lies.
func find(t testing.TB, b []byte, path string) (body, end int) {
	t.Helper()
	end = len(b)
	for name := range strings.SplitSeq(path, "/") {
		for at := body; ; {
			if at+8 > end {
				t.Fatalf("no %s of %s", name, path)
			}
			size := int(binary.BigEndian.Uint32(b[at:]))
			if string(b[at+4:at+8]) == name {
				body, end = at+8, at+size
				break
			}
			at += size
		}
	}
	return body, end
}

// patch returns b with bytes of a box's body replaced.
func patch(t testing.TB, b []byte, path string, off int, with ...byte) []byte {
	t.Helper()
	body, end := find(t, b, path)
	if body+off+len(with) > end {
		t.Fatalf("%s has no byte %d", path, off+len(with))
	}
	b = bytes.Clone(b)
	copy(b[body+off:], with)
	return b
}
