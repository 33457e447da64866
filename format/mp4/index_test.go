package mp4_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
)

// agree compares an index with what the demuxer reads: every sample of the first video
// track, its times and where its bytes lie.
func agree(t *testing.T, b []byte) {
	t.Helper()
	x, err := mp4.ReadIndex(bytes.NewReader(b), int64(len(b)), 1<<20)
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	video, n, differ := -1, 0, 0
	var end int64
	for {
		p, e := d.ReadPacket(av.Heap{})
		if errors.Is(e, av.ErrTracks) {
			for i, track := range d.Tracks() {
				if track.Kind == av.Video && video < 0 {
					video = i
				}
			}
			continue
		}
		if e != nil {
			break
		}
		if p.Track != video {
			continue
		}
		if err != nil {
			t.Fatalf("no index: %v", err)
		}
		if n >= x.Len() {
			n++
			continue
		}
		s := x.Sample(n)
		if s.DTS != p.DTS || s.PTS != p.PTS || s.Offset+s.Size > int64(len(b)) || !bytes.Equal(b[s.Offset:s.Offset+s.Size], p.Data) {
			t.Fatalf("sample %d: %+v, the packet has DTS %d, PTS %d, %d bytes", n, s, p.DTS, p.PTS, len(p.Data))
		}
		if s.Sync != p.Flags.Has(av.Key) {
			differ++ // files do not list recovery points
		}
		if track := x.Track(n); track.Codec != d.Tracks()[video].Codec {
			t.Fatalf("sample %d: %s", n, track.Codec)
		}
		end = max(end, p.PTS+p.Dur)
		n++
	}
	if n == 0 {
		if err == nil {
			t.Errorf("%d samples of a file without video", x.Len())
		}
		return
	}
	if n != x.Len() {
		t.Errorf("%d samples, %d packets", x.Len(), n)
	}
	if x.Keys() == 0 {
		t.Error("no key frame")
		return
	}
	for k := range x.Keys() {
		s := x.Sample(x.Key(k))
		if !s.Sync || x.KeyAt(s.PTS) != k || x.KeyAt(s.PTS-1) != k-1 {
			t.Errorf("key %d: %+v; at its time is %d, before it %d", k, s, x.KeyAt(s.PTS), x.KeyAt(s.PTS-1))
		}
	}
	start, stop := x.Span()
	if start != x.Sample(x.Key(0)).PTS || stop < end-1 {
		t.Errorf("from %d to %d, the packets end at %d", start, stop, end)
	}
	if x.Sample(0).DTS+x.Delay() < 0 || x.Bytes() < int64(24*n) {
		t.Errorf("delay %d, %d bytes", x.Delay(), x.Bytes())
	}
	t.Logf("%d samples, %d sync; of %d the bitstream says otherwise", n, x.Keys(), differ)
}

// TestIndexAgrees: the index of every file has the samples that the demuxer reads.
func TestIndexAgrees(t *testing.T) {
	files, err := filepath.Glob("testdata/*.m*")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Log("CLEAVE_MEDIA is not set: real files are left out")
	} else {
		for _, pattern := range []string{"mp4/*.m*", "fmp4/*.mp4"} {
			more, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(more) == 0 {
				t.Fatal(pattern, err)
			}
			files = append(files, more...)
		}
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, b)
		})
	}
}

// TestIndexOfBrokenFiles: whatever is in a file, what is indexed lies in it.
func TestIndexOfBrokenFiles(t *testing.T) {
	for name, b := range hostile(t) {
		indexed(t, name, b)
	}
	for _, name := range []string{"last.mp4", "frag.mp4"} {
		avtest.Prefixes(t, sample(t, name), func(b []byte) { indexed(t, name, b) })
	}
	b := sample(t, "last.mp4")
	if _, err := mp4.ReadIndex(bytes.NewReader(b), int64(len(b)), 3); !errors.Is(err, av.ErrTooLarge) {
		t.Errorf("more samples than the limit: %v", err)
	}
	b = sample(t, "sound.mp4")
	if _, err := mp4.ReadIndex(bytes.NewReader(b), int64(len(b)), 1000); !errors.Is(err, mp4.ErrNoVideo) {
		t.Errorf("sound alone: %v", err)
	}
}

func indexed(t *testing.T, name string, b []byte) {
	t.Helper()
	x, err := mp4.ReadIndex(bytes.NewReader(b), int64(len(b)), 100_000)
	if err != nil {
		return
	}
	for i := range x.Len() {
		s := x.Sample(i)
		if s.Offset < 0 || s.Size <= 0 || s.Offset+s.Size > int64(len(b)) || s.Dur < 0 {
			t.Fatalf("%s: sample %d: %+v of %d bytes", name, i, s, len(b))
		}
		x.Track(i)
	}
	for k := range x.Keys() {
		if n := x.Key(k); n < 0 || n >= x.Len() || k > 0 && n <= x.Key(k-1) {
			t.Fatalf("%s: key %d is sample %d", name, k, n)
		}
	}
	x.KeyAt(0)
	x.Delay()
}

func FuzzIndex(f *testing.F) {
	for _, name := range []string{"last.mp4", "frag.mp4", "neg.mov"} {
		f.Add(sample(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) { indexed(t, "input", b) })
}
