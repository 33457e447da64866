package fidelity

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/cut"
)

// ten are the real files that every run of the tests compares.
var ten = []string{
	"mp4/h264_bpyramid_gop30.mp4", "mp4/h264_nal_length_2.mp4", "mp4/h264_editlist_positive_shift.mp4", "mp4/hevc_cra_rasl_small.mp4",
	"fmp4/320x240_bframes_60fps.mp4", "fmp4/multiple_trun.mp4", "ts/hevc_aac_obs.ts", "ts/rollover_33bit.ts",
	"flv/bbb_irregular_gop.flv", "mp4/h264_nonref_b.mp4",
}

func tools(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ffmpeg", "ffprobe"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed: fidelity is not tested", name)
		}
	}
}

func check(t *testing.T, c Case) {
	t.Helper()
	r, err := Check(t.Context(), c, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Faults {
		t.Error(f)
	}
	if len(r.Tracks) == 0 && len(r.Notes) == 0 {
		t.Error("nothing was compared")
	}
	t.Log(r.Tracks, r.Notes)
}

func TestRealFiles(t *testing.T) {
	tools(t)
	media := os.Getenv("CLEAVE_MEDIA")
	if media == "" {
		t.Skip("CLEAVE_MEDIA is not set: the fidelity of real files is not tested")
	}
	for _, name := range ten {
		for _, container := range []cut.Container{cut.CMAF, cut.TS} {
			t.Run(name+"/"+string(container), func(t *testing.T) {
				check(t, Case{File: filepath.Join(media, name), Strategy: "keyframe", Container: container})
			})
		}
	}
}

// Media that ffmpeg makes, in every container, by every strategy.
func TestMadeFiles(t *testing.T) {
	tools(t)
	dir := t.TempDir()
	for _, ext := range []string{"mp4", "ts", "flv"} {
		file := filepath.Join(dir, "made."+ext)
		args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=size=192x108:rate=30000/1001 -f lavfi -i sine=sample_rate=48000 " +
			"-t 8 -c:v libx264 -preset ultrafast -bf 2 -g 45 -c:a aac " + file)
		if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, strategy := range []string{"keyframe", "fixed", "memory", "adaptive_gop"} {
			for _, container := range []cut.Container{cut.CMAF, cut.TS} {
				t.Run(ext+"/"+strategy+"/"+string(container), func(t *testing.T) {
					check(t, Case{File: file, Strategy: strategy, Container: container})
				})
			}
		}
	}
}
