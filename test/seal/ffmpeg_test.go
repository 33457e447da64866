package seal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/seal"
)

// joined is the header of a rendition and all its segments.
func joined(t *testing.T, folder string) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "0*.m4s"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	var all []byte
	for _, name := range append([]string{filepath.Join(folder, "init.mp4")}, names...) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

// TestFFmpeg: ffmpeg decodes what was encrypted to the same pictures and sound. It
// reads samples from a pipe, for version 5.1 takes the vectors of the wrong
// fragment when it can seek.
func TestFFmpeg(t *testing.T) {
	for name, args := range map[string]string{"h264": h264Args, "h265": h265Args, "vp9": vp9Args} {
		t.Run(name, func(t *testing.T) {
			input, dir := made(t, args), t.TempDir()
			folder := func(kind string) string { return filepath.Join(dir, kind) }
			cutTo(t, input, folder("clear"), cut.Encryption{}, cut.CMAF)
			want := map[string][]string{}
			for _, track := range []string{"video0", "audio0"} {
				want[track] = frames(t, joined(t, filepath.Join(dir, "clear", track)), "-i", "-")
			}
			keys := testKeys(1)
			for _, s := range []seal.Scheme{seal.CBCS, seal.CENC} {
				cutTo(t, input, folder(string(s)), cut.Encryption{Scheme: s, Keys: keys}, cut.CMAF)
				for track, sums := range want {
					got := frames(t, joined(t, filepath.Join(dir, string(s), track)), "-decryption_key", fmt.Sprintf("%x", keys[0].Key), "-i", "-")
					if !slices.Equal(got, sums) {
						t.Errorf("%s, %s: other frames", s, track)
					}
				}
			}
			for _, c := range []cut.Container{cut.CMAF, cut.TS} {
				if name == "vp9" && c == cut.TS {
					continue // which cannot carry it
				}
				for rotation := range 2 {
					out := folder(fmt.Sprintf("%s-%d", c, rotation))
					cutTo(t, input, out, cut.Encryption{Scheme: seal.AES128, Rotation: rotation}, c)
					for track, kind := range map[string]string{"video0": "0:v", "audio0": "0:a"} {
						got := frames(t, nil, "-allowed_extensions", "ALL", "-i", filepath.Join(out, "index.m3u8"), "-map", kind)
						if !slices.Equal(got, want[track]) {
							t.Errorf("aes-128, %s, rotation %d, %s: other frames", c, rotation, track)
						}
					}
				}
			}
			iframes(t, dir, want["video0"])
		})
	}
}

// iframes: each range of an I-frame playlist, behind the header, is a picture.
func iframes(t *testing.T, dir string, want []string) {
	t.Helper()
	for _, s := range []seal.Scheme{seal.CBCS, seal.CENC} {
		folder := filepath.Join(dir, string(s), "video0")
		b, err := os.ReadFile(filepath.Join(folder, "iframes.m3u8"))
		if err != nil {
			t.Fatal(err)
		}
		init, err := os.ReadFile(filepath.Join(folder, "init.mp4"))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, r := range ranges(t, string(b)) {
			segment, err := os.ReadFile(filepath.Join(folder, r.file))
			if err != nil {
				t.Fatal(err)
			}
			piece := append(append([]byte(nil), init...), segment[r.offset:r.offset+r.length]...)
			// It complains that the fragment has more samples than the range.
			got, _, err := decoded(piece, "-decryption_key", fmt.Sprintf("%x", testKeys(1)[0].Key), "-i", "-", "-frames:v", "1")
			if err != nil || !slices.Equal(got, want[25*n:25*n+1]) {
				t.Errorf("%s: another picture in %+v: %v %v", s, r, got, err)
			}
			n++
		}
		if n != 8 {
			t.Errorf("%s: %d I-frames", s, n)
		}
	}
}

type byteRange struct {
	file           string
	length, offset int
}

func ranges(t *testing.T, playlist string) (out []byteRange) {
	t.Helper()
	var next byteRange
	for line := range lines(playlist) {
		if _, err := fmt.Sscanf(line, "#EXT-X-BYTERANGE:%d@%d", &next.length, &next.offset); err == nil {
			continue
		}
		if line != "" && line[0] != '#' {
			next.file = line
			out = append(out, next)
		}
	}
	return out
}
