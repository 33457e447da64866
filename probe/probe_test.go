package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
)

func TestMadeFile(t *testing.T) {
	r, err := Run(t.Context(), ffmpeg(t, "made.mp4", lavfi+"-t 4 -c:v libx264 -preset ultrafast -bf 2 -g 25 -sc_threshold 0 -c:a aac"), Config{})
	if err != nil {
		t.Fatal(err)
	}
	v := r.Tracks[0]
	if r.Format != "mp4" || v.Codec != "h264" || v.Packets != 100 || v.Keyframes != 4 || v.Width != 192 || v.Height != 108 {
		t.Errorf("%+v", v)
	}
	if v.FrameRate != (FrameRate{25, 1, "cfr"}) || v.FrameTypes["I"] != 4 || v.FrameTypes["B"] == 0 || v.Disposable == 0 {
		t.Errorf("%+v", v)
	}
	if len(r.GOPs) != 4 {
		t.Fatalf("%d GOPs", len(r.GOPs))
	}
	for i, g := range r.GOPs {
		if g.Frames != 25 || g.Class != closedGOP || !strings.HasPrefix(g.Types, "IP") && !strings.HasPrefix(g.Types, "IB") || g.Length != 1 {
			t.Errorf("GOP %d: %+v", i, g)
		}
	}
}

// shape is what `probe --json` promises: others read it.
type shape struct {
	Format   *string
	Duration *float64
	Tracks   []struct {
		Kind, Codec, Timebase *string
		CodecString           *string `json:"codec_string"`
		FrameRate             *struct {
			Num, Den *uint32
			Mode     *string
		} `json:"frame_rate"`
		Packets, Keyframes *int
	}
	GOPs []struct {
		PTS    *int64
		Frames *int
		Bytes  *int64
		Class  *string
	} `json:"gops"`
}

// The JSON has every promised field with its type, and the words are those promised.
func TestJSON(t *testing.T) {
	r, err := Run(t.Context(), writeTS(t, "stream.ts", stream), Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "stream.json", append(b, '\n'))
	var s shape
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if missing := unset(reflect.ValueOf(s), "report"); len(missing) > 0 {
		t.Errorf("missing: %v", missing)
	}
	for _, tr := range s.Tracks {
		if m := *tr.FrameRate.Mode; m != "cfr" && m != "vfr" {
			t.Errorf("mode %q", m)
		}
	}
	for _, g := range s.GOPs {
		if c := *g.Class; c != closedGOP && c != openGOP && c != gradualGOP {
			t.Errorf("class %q", c)
		}
	}
	if len(s.Tracks) != 2 || len(s.GOPs) != 5 {
		t.Errorf("%d tracks, %d GOPs", len(s.Tracks), len(s.GOPs))
	}
}

// unset lists the pointers in v that are nil.
func unset(v reflect.Value, path string) []string {
	var out []string
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return []string{path}
		}
		return unset(v.Elem(), path)
	case reflect.Struct:
		for i := range v.NumField() {
			out = append(out, unset(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
	case reflect.Slice:
		for i := range v.Len() {
			out = append(out, unset(v.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return out
}

// Lists are lists in JSON also when they are empty.
func TestJSONOfSoundAlone(t *testing.T) {
	r, err := Run(t.Context(), writeTS(t, "sound.ts", avtest.Spec{Audio: avtest.Audio{Frames: 100}}), Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `"gops":[]`) || r.Strategies[0].Chunks != 2 || r.Tracks[0].FrameRate.Mode != "cfr" {
		t.Errorf("%s", b)
	}
}

// The table for people is golden, and no line is wider than 80 columns.
func TestPrint(t *testing.T) {
	long := stream
	long.Video.Frames, long.Audio.Frames, long.Video.GOPs = 700, 1300, []int{25, 4, 31}
	for name, s := range map[string]avtest.Spec{"stream": stream, "long": long} {
		t.Run(name, func(t *testing.T) {
			r, err := Run(t.Context(), writeTS(t, name+".ts", s), Config{Timing: true})
			if err != nil {
				t.Fatal(err)
			}
			r.Timing = &Timing{Packets: 1_234_567, Bytes: 1e12, Seconds: 1000, Steps: []Step{{"refill", 12_345_678, 1e12, 900, 1e9, 12e9, 23e9}, {"fix-up", 1_234_567, 1e12, 100, 9, 99_000, 123_456_789}}}
			r.Warnings = append(r.Warnings, "a \x1b[2Jtrick \u202e")
			var b bytes.Buffer
			if err := r.Print(&b, false); err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Split(b.String(), "\n") {
				if utf8.RuneCountInString(line) > 80 {
					t.Errorf("%d columns: %s", utf8.RuneCountInString(line), line)
				}
			}
			if strings.ContainsAny(b.String(), "\x1b\u202e") {
				t.Error("an input's words reach the terminal as they are")
			}
			golden(t, name+".txt", b.Bytes())
			var all bytes.Buffer
			if err := r.Print(&all, true); err != nil || strings.Count(all.String(), "closed")+strings.Count(all.String(), "open +") < len(r.GOPs) {
				t.Errorf("--all lists too few: %v", err)
			}
		})
	}
}

// A GOP that ends at a change of tracks is as long as its pictures last.
func TestGOPEndsWhereTracksChange(t *testing.T) {
	a := avtest.Spec{Video: avtest.Video{Frames: 60}}
	b := avtest.Spec{Video: avtest.Video{Frames: 50, Width: 640, Height: 352}, Start: 9 * time.Second}
	r, err := Run(t.Context(), writeTS(t, "change.ts", a, b), Config{Picture: true})
	if err != nil {
		t.Fatal(err)
	}
	var lengths []float64
	for _, g := range r.GOPs {
		lengths = append(lengths, g.Length)
	}
	if !reflect.DeepEqual(lengths, []float64{1, 1, 0.4, 1, 1}) {
		t.Errorf("lengths %v", lengths)
	}
	if len(r.Tracks) != 2 || r.Tracks[0].Seconds != 2.4 || r.Tracks[1].Seconds != 2 || r.picture.marks[0].text != "tracks change" {
		t.Errorf("%+v %v", r.Tracks, r.picture.marks)
	}
}

// An input whose tracks keep changing does not make the report grow for ever.
func TestLinesAreBounded(t *testing.T) {
	var specs []avtest.Spec
	for i := range 2 * maxLines {
		specs = append(specs, avtest.Spec{Video: avtest.Video{Frames: 2, Width: 16 + 16*(i%100), Height: 16 + 16*(i/100)}, Start: time.Duration(i) * 80 * time.Millisecond})
	}
	r, err := Run(t.Context(), writeTS(t, "many.ts", specs...), Config{Picture: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tracks) > maxLines || len(r.picture.marks) > maxMarks {
		t.Errorf("%d lines, %d marks", len(r.Tracks), len(r.picture.marks))
	}
}

func TestErrors(t *testing.T) {
	name := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(name, []byte("this is no media at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), name, Config{}); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("no media: %v", err)
	}
	if _, err := Run(t.Context(), name, Config{Cut: chunk.Options{MinGOP: -1}}); !errors.Is(err, chunk.ErrPolicy) {
		t.Errorf("wrong parameter: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, writeTS(t, "s.ts", stream), Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// An input that breaks off is reported as far as it went.
func TestBroken(t *testing.T) {
	b, err := os.ReadFile(ffmpeg(t, "made.mp4", lavfi+"-t 4 -c:v libx264 -preset ultrafast -g 25 -c:a aac -movflags +faststart"))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "half.mp4")
	if err := os.WriteFile(name, b[:len(b)*3/4], 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), name, Config{Picture: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Broken == "" && len(r.Warnings) == 0 || r.Tracks[0].Packets == 0 || r.Strategies[0].Chunks == 0 {
		t.Errorf("%+v", r)
	}
	var svg bytes.Buffer
	if err := r.SVG(&svg); err != nil {
		t.Error(err)
	}
}

// The steps of --timing count every packet, and add up to the whole.
func TestTiming(t *testing.T) {
	name := writeTS(t, "stream.ts", stream)
	r, err := Run(t.Context(), name, Config{Timing: true})
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	payload, packets, total := int64(0), 0, 0.0
	for _, x := range r.Tracks {
		payload += x.Bytes
		packets += x.Packets
	}
	for _, s := range r.Timing.Steps {
		total += s.Seconds
		want := payload
		if s.Name == "refill" {
			want = st.Size()
		} else if s.Count != uint64(packets) {
			t.Errorf("%s: %d packets of %d", s.Name, s.Count, packets)
		}
		if s.Bytes != want || s.P50 > s.P99 || s.P99 > s.Max {
			t.Errorf("%+v, want %d bytes", s, want)
		}
	}
	if d := total - r.Timing.Seconds; d > 1e-6 || d < -1e-6 || r.Timing.Packets != uint64(packets) {
		t.Errorf("the steps add up to %v of %v", total, r.Timing.Seconds)
	}
	if without, err := Run(t.Context(), name, Config{}); err != nil || without.Timing != nil {
		t.Errorf("%v: timing without having been asked for", err)
	}
}

func TestPattern(t *testing.T) {
	for types, want := range map[string]string{
		"":                                    "",
		"I":                                   "I",
		"IPPP":                                "IPPP",
		"IPPPPP":                              "IP×5",
		"IPBBBPBBBPBBB":                       "I(PBBB)×3",
		"IPBBBPBPBBPBBBPBP":                   "IPBBBPBPBBPBBBPBP",
		"IPBPBBPBBBBPPBPBBPBBPPPBPBBPBBBBPBP": "IPBPBBPB×4PPBPBBPBBPPPB…",
	} {
		if got := pattern(&GOP{Types: types, Frames: len(types)}); got != want {
			t.Errorf("%s: %s, want %s", types, got, want)
		}
	}
	if got := pattern(&GOP{Types: strings.Repeat("I", 64), Frames: 100}); got != "I×64…" {
		t.Error(got)
	}
}

func TestTitle(t *testing.T) {
	for in, want := range map[string]string{
		"-":          "standard input",
		"/a/b/c.mp4": "c.mp4",
		"https://user:secret@host.example:81/a/b.mp4?token=secret#x": "host.example:81/a/b.mp4",
		"evil\x1b]0;x\a\u202e.mp4":                                   "evil\ufffd]0;x\ufffd\ufffd.mp4",
		"bad\xff.ts":                                                 "bad\ufffd.ts",
	} {
		if got := title(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		duration(0): "0 ns", duration(999.6e-9): "1 µs", duration(0.0123): "12.3 ms", duration(1234): "1234 s",
		seconds(2 * time.Second): "2 s", seconds(1500 * time.Millisecond): "1.5 s",
		binary(16 << 20): "16 MiB", binary(1000): "1000 B", binary(1 << 30): "1 GiB", binary(3 << 9): "1.5 KiB",
		bitrate(812_345): "812 kbit/s", bitrate(8_320_000): "8.32 Mbit/s",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
