package fidelity

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
)

// ten are the real files that every run of the tests compares; `make fidelity`
// compares all, by every strategy.
var ten = []struct{ file, strategy string }{
	{"mp4/h264_bframes_short_irregular_gop.mp4", "keyframe"},
	{"mp4/h264_nal_length_2.mp4", "keyframe"},
	{"mp4/h264_open_gop_recovery_point.mp4", "keyframe"},
	{"mp4/hevc_cra_rasl_small.mp4", "fixed"},
	{"mp4/multi_video_audio_subtitle.mp4", "adaptive_gop"},
	{"fmp4/partially_fragmented.mp4", "memory"},
	{"ts/starts_mid_gop.ts", "keyframe"},
	{"ts/resolution_change_pts_reset.ts", "keyframe"},
	{"flv/keyframe_index.flv", "keyframe"},
	{"raw/first_idr_lost.264", "keyframe"},
}

func tools(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: fidelity is not tested", name)
		}
	}
}

func check(t *testing.T, s *Source, c Case) *Result {
	t.Helper()
	r, err := s.Check(t.Context(), c, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Faults {
		t.Error(f)
	}
	if len(r.Tracks) == 0 {
		t.Error("nothing was compared")
	}
	t.Log(r.Chunks, r.Tracks, r.Notes)
	return r
}

func open(t *testing.T, file string) *Source {
	t.Helper()
	s, err := NewSource(t.Context(), file)
	if err != nil || s.Unreadable != nil {
		t.Fatal(err, s.Unreadable)
	}
	return s
}

func TestRealFiles(t *testing.T) {
	tools(t)
	media := os.Getenv("CLEAVE_MEDIA")
	if media == "" {
		t.Skip("CLEAVE_MEDIA is not set: the fidelity of real files is not tested")
	}
	keys, err := ReadKeys(media)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range ten {
		t.Run(f.file, func(t *testing.T) {
			t.Parallel()
			s := open(t, filepath.Join(media, f.file))
			s.Keys = keys[f.file]
			for _, container := range []cut.Container{cut.CMAF, cut.TS} {
				t.Run(string(container), func(t *testing.T) {
					check(t, s, Case{Strategy: f.strategy, Container: container, Alone: true})
				})
			}
		})
	}
}

// Media that ffmpeg makes, in every container, by every strategy.
func TestMadeFiles(t *testing.T) {
	tools(t)
	for _, ext := range []string{"mp4", "ts", "flv"} {
		t.Run(ext, func(t *testing.T) {
			t.Parallel()
			s := open(t, made(t, "made."+ext, 5))
			for _, strategy := range chunk.Names() {
				for _, container := range []cut.Container{cut.CMAF, cut.TS} {
					t.Run(strategy+"/"+string(container), func(t *testing.T) {
						check(t, s, Case{Strategy: strategy, Container: container, Alone: strategy == "keyframe"})
					})
				}
			}
		})
	}
}

func made(t *testing.T, name string, seconds int) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=size=192x108:rate=30000/1001 -f lavfi -i sine=sample_rate=48000 " +
		"-c:v libx264 -preset ultrafast -bf 2 -g 45 -c:a aac -t " + strconv.Itoa(seconds) + " " + name)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

// TestFaultsAreSeen: the comparison finds what it is there to find.
func TestFaultsAreSeen(t *testing.T) {
	tools(t)
	t.Parallel()
	s := open(t, made(t, "made.mp4", 2))
	s.written = s.media // no second opinion on times
	video := s.media.video()[0]
	s.edit(t.Context(), video)
	for name, c := range map[string]struct {
		want   string
		damage func()
	}{
		"a picture's bytes": {"packet 5 of", func() { video.packets[5].sum = "other" }},
		"a picture less":    {"packets, source", func() { video.packets = video.packets[:len(video.packets)-9] }},
		"a picture more":    {"a key picture", func() { video.packets = append([]packet{video.packets[0]}, video.packets...) }},
		"a key lost":        {"the bitstream has", func() { s.Keys = []int{0, 44} }},
		"a wrong time":      {"became", func() { video.packets[7].pts++ }},
		"a shifted track":   {"no whole number of seconds", func() { shift(video.packets, 1) }},
		"a track's delay":   {"to those of another track", func() { shift(video.packets, int64(video.tb.Den)) }},
		"a wrong picture":   {"picture 3 differs", func() { s.shown[video.index].frames[3].sum = "other" }},
		"a track lost": {"are in no file", func() {
			s.media.tracks = append(s.media.tracks, track{index: 9, kind: "audio", codec: "mp3", packets: video.packets})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			tracks, keys := s.media.tracks, s.Keys
			packets := append([]packet(nil), video.packets...)
			s.decode(t.Context(), video)
			frames := append([]frame(nil), s.shown[video.index].frames...)
			defer func() {
				s.media.tracks, s.Keys, video.packets, s.shown[video.index].frames = tracks, keys, packets, frames
				s.cuts = map[cut.Container]*proof{}
			}()
			video.packets = append([]packet(nil), packets...)
			s.shown[video.index].frames = append([]frame(nil), frames...)
			c.damage()
			r, err := s.Check(t.Context(), Case{Strategy: "keyframe", Container: cut.CMAF}, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(strings.Join(r.Faults, "\n"), c.want) {
				t.Errorf("faults %q, none says %q", r.Faults, c.want)
			}
		})
	}
}

func shift(l []packet, d int64) {
	for i := range l {
		l[i].pts += d
		l[i].dts += d
	}
}
