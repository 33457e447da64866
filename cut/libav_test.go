package cut

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/format/libav/libavtest"
)

func TestMain(m *testing.M) { os.Exit(libavtest.Main(m)) }

// foreign are files of containers that libavformat reads.
func foreign(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("../format/libav/testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	root := os.Getenv("CLEAVE_MEDIA")
	if root == "" {
		t.Log("CLEAVE_MEDIA is not set: only the samples are cut")
		return list
	}
	for _, pattern := range []string{"mkv/h264*", "mkv/vp*", "audio/*.ogg", "ts/*.mpeg"} {
		l, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l...)
	}
	return list
}

// TestLibav: what libavformat reads is cut; joined again, the packets have the source's
// number and PTS, and the pictures are the same.
func TestLibav(t *testing.T) {
	libavtest.Need(t)
	for _, tool := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	for _, input := range foreign(t) {
		if strings.Contains(input, "unnamed") {
			continue // ffprobe does not know what it is
		}
		for _, container := range []Container{CMAF, TS} {
			t.Run(filepath.Base(input)+" "+string(container), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "out")
				c := config(input, dir)
				c.Container = container
				r, err := Run(t.Context(), c)
				if err != nil && container == TS && (strings.Contains(input, "vp8") || strings.Contains(input, "vp9")) {
					t.Skipf("TS has no place for it: %v", err)
				}
				if err != nil {
					t.Fatal(err)
				}
				if r.Broken != nil || r.Dropped > 0 || len(r.LeftOut) > 0 && container == CMAF {
					t.Errorf("%+v", r)
				}
				restored(t, input, dir)
			})
		}
	}
}

// TestLibavInterrupted: the end of the context, which closes the input, is not taken for
// the end of the input.
func TestLibavInterrupted(t *testing.T) {
	libavtest.Need(t)
	ctx, cancel := context.WithCancel(t.Context())
	dir := filepath.Join(t.TempDir(), "out")
	c := config("../format/libav/testdata/av.mkv", dir)
	c.Policy = chunk.Keyframe{Target: 400 * time.Millisecond}
	c.Progress = func(int64, int64) { cancel() }
	if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	if l, _ := filepath.Glob(dir + "*"); len(l) > 0 {
		t.Errorf("%q is left", l)
	}
}

// restored compares each rendition with the source's tracks.
func restored(t *testing.T, input, dir string) {
	t.Helper()
	source := times(t, input)
	folders, err := filepath.Glob(filepath.Join(dir, "*", "index.m3u8"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("%v: no renditions", err)
	}
	for _, list := range folders {
		name := joined(t, filepath.Dir(list))
		for kind, got := range times(t, name) {
			want, ok := source[kind]
			if !ok {
				t.Errorf("%s: the source has no %s", list, kind)
				continue
			}
			if d := apart(want, got); d != "" {
				t.Errorf("%s: %s", kind, d)
			}
			if strings.HasPrefix(kind, "video") {
				if a, b := decoded(t, input), decoded(t, name); a != b {
					t.Errorf("%s: the pictures differ: %d and %d bytes of sums", kind, len(a), len(b))
				}
			}
		}
	}
}

// joined concatenates a rendition's files as a player would.
func joined(t *testing.T, folder string) string {
	t.Helper()
	headers, _ := filepath.Glob(filepath.Join(folder, "init*.mp4"))
	segments, _ := filepath.Glob(filepath.Join(folder, "0*"))
	slices.Sort(segments)
	var all bytes.Buffer
	for _, name := range append(headers, segments...) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	ext := ".ts"
	if len(headers) > 0 {
		ext = ".mp4"
	}
	name := filepath.Join(t.TempDir(), "joined"+ext)
	if err := os.WriteFile(name, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// times returns the PTS of each kind and codec, in microseconds, in decode order; a
// string that is no number is one that ffprobe does not know.
func times(t *testing.T, name string) map[string][]string {
	t.Helper()
	out, err := exec.Command("ffprobe", "-v", "quiet", "-of", "json", "-show_entries",
		"stream=index,codec_type,codec_name:packet=stream_index,pts_time,size", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Streams []struct {
			CodecType string `json:"codec_type"`
			CodecName string `json:"codec_name"`
		} `json:"streams"`
		Packets []struct {
			Stream int    `json:"stream_index"`
			PTS    string `json:"pts_time"`
			Size   string `json:"size"`
		} `json:"packets"`
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	m := map[string][]string{}
	for _, p := range all.Packets {
		if p.Stream < len(all.Streams) && p.Size != "0" {
			s := all.Streams[p.Stream]
			kind := s.CodecType + " " + s.CodecName
			if kind == "audio mp2" {
				kind = "audio mp3" // MP4 has one object type for all layers
			}
			m[kind] = append(m[kind], p.PTS)
		}
	}
	return m
}

// apart tells how two lists of times differ beyond one offset and the rounding of two
// timebases, to milliseconds at worst.
func apart(want, got []string) string {
	if len(want) != len(got) {
		return fmt.Sprintf("%d packets, source %d", len(got), len(want))
	}
	offset, known := 0.0, false
	const slack = 0.0011
	for i := range want {
		var a, b float64
		if _, err := fmt.Sscan(want[i], &a); err != nil {
			continue
		}
		if _, err := fmt.Sscan(got[i], &b); err != nil {
			continue
		}
		if !known {
			offset, known = b-a, true
		}
		if d := b - a - offset; d > slack || d < -slack {
			return fmt.Sprintf("packet %d of %d: PTS %s, source %s, with offset %f", i, len(want), got[i], want[i], offset)
		}
	}
	return ""
}

// decoded returns the sums of the pictures, without their times.
func decoded(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "quiet", "-nostdin", "-i", name, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg %s: %v", name, err)
	}
	var sums []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(strings.TrimSpace(line), ","); len(f) == 6 && line[0] != '#' {
			sums = append(sums, strings.TrimSpace(f[5]))
		}
	}
	return strings.Join(sums, "\n")
}
