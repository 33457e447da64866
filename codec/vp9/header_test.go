package vp9

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av/avtest"
)

func TestFrames(t *testing.T) {
	body := make([]byte, 300)
	for name, test := range map[string]struct {
		index string
		want  []int
	}{
		"a frame":                {"", []int{300}},
		"two":                    {"\xc9\x2c\x01\x00\x00\xc9", []int{300, 0}},
		"sizes of three bytes":   {"\xd1\x02\x00\x00\x2a\x01\x00\xd1", []int{2, 298}},
		"more than there is":     {"\xc9\x2c\x01\x01\x00\xc9", []int{306}},
		"markers that differ":    {"\xc8\x2c\x01\x00\x00\xc9", []int{306}},
		"less than the body has": {"\xc0\x09\xc0", []int{9}},
	} {
		sizes, n := Frames(append(body[:300:300], test.index...))
		if d := cmp.Diff(test.want, append([]int(nil), sizes[:n]...)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	if _, n := Frames(nil); n != 0 {
		t.Error("frames of nothing")
	}
}

// codings by libvpx: tiles, segments, alternate references, profiles.
var codings = []string{
	"-s 320x180 -auto-alt-ref 1 -lag-in-frames 16 -g 25",
	"-s 640x360 -tile-columns 2 -tile-rows 1 -error-resilient 1 -g 20",
	"-s 320x180 -aq-mode 2 -pix_fmt yuv444p -g 10",
	"-s 200x100 -pix_fmt yuv420p10 -auto-alt-ref 1 -lag-in-frames 10 -deadline realtime -g 30",
	"-s 4400x64 -tile-columns 6 -deadline realtime -g 10",
	"-s 320x180 -aq-mode 3 -deadline realtime -static-thresh 100 -lag-in-frames 0 -b:v 30k",
}

// TestSizeOfEncoded compares headers with those that ffmpeg's parser sees.
func TestSizeOfEncoded(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: headers are not compared with its parser")
	}
	for _, args := range codings {
		name := filepath.Join(t.TempDir(), "x.ivf")
		full := append(strings.Fields("-v error -nostdin -f lavfi -i testsrc2=rate=25 -t 1 -c:v libvpx-vp9 -cpu-used 5"), append(strings.Fields(args), name)...)
		if out, err := exec.Command("ffmpeg", full...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", args, err, out)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("ffmpeg", "-v", "trace", "-nostdin", "-i", name, "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-").CombinedOutput()
		if err != nil {
			t.Fatal(err)
		}
		want := traced(string(out))
		if d := cmp.Diff(want, measured(b)); d != "" || len(want) < 25 {
			t.Errorf("%s: (-ffmpeg +cleave) %s", args, d)
		}
	}
}

// traced are the sizes of headers in what trace_headers prints: the last field of
// each has 16 bits.
func traced(out string) (sizes []int) {
	for line := range strings.Lines(out) {
		at, pos := strings.Index(line, "] "), 0
		if at < 0 {
			continue
		}
		fields := strings.Fields(line[at+2:])
		if len(fields) < 3 {
			continue
		}
		switch _, err := fmt.Sscan(fields[0], &pos); {
		case err != nil:
		case fields[1] == "header_size_in_bytes":
			sizes = append(sizes, (pos+16+7)/8)
		case fields[1] == "frame_to_show_map_idx":
			sizes = append(sizes, (pos+3+7)/8)
		}
	}
	return sizes
}

// measured walks an IVF file.
func measured(b []byte) (sizes []int) {
	var h Headers
	for b = b[32:]; len(b) >= 12; {
		n := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
		data := b[12 : 12+n]
		b = b[12+n:]
		list, count := Frames(data)
		for _, size := range list[:count] {
			k, ok := h.Size(data[:size])
			if !ok {
				k = -1
			}
			sizes = append(sizes, k)
			data = data[size:]
		}
	}
	return sizes
}

// keyHeader is that of a key frame of 640x360 by libvpx, with what follows.
var keyHeader = []byte("\x82\x49\x83\x42\x00\x27\xf0\x16\x76\x08\x38\x24\x1c\x18\x5c\x10\x06\x88\x6f\xc6\xff")

func TestSizePrefixes(t *testing.T) {
	var whole Headers
	n, ok := whole.Size(keyHeader)
	if !ok {
		t.Fatal("a key frame's header")
	}
	avtest.Prefixes(t, keyHeader, func(b []byte) {
		var h Headers
		if k, ok := h.Size(b); ok != (len(b) >= n) || ok && k != n {
			t.Errorf("of %d bytes: %d, %v", len(b), k, ok)
		}
		Frames(b)
	})
	var h Headers
	if _, ok := h.Size([]byte{0x86, 0, 0x40, 0x92, 0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}); ok {
		t.Error("a frame as large as one that was not seen")
	}
}

func FuzzSize(f *testing.F) {
	f.Add(keyHeader, []byte{0x86, 0, 0x40, 0x92, 0x9c, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, key, frame []byte) {
		var h Headers
		for _, b := range [][]byte{key, frame} {
			if n, ok := h.Size(b); ok && (n < 1 || n > len(b)) {
				t.Fatalf("a header of %d bytes in %d", n, len(b))
			}
			sizes, n := Frames(b)
			sum := 0
			for _, s := range sizes[:n] {
				sum += s
			}
			if sum > len(b) {
				t.Fatalf("frames of %d bytes in %d", sum, len(b))
			}
		}
	})
}
