package probe

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMadeFile(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: probe is not tested on a made file")
	}
	name := filepath.Join(t.TempDir(), "made.mp4")
	args := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=size=192x108:rate=25 -f lavfi -i sine=sample_rate=48000 " +
		"-t 4 -c:v libx264 -preset ultrafast -bf 2 -g 25 -sc_threshold 0 -c:a aac " + name)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := Run(t.Context(), name, Config{})
	if err != nil {
		t.Fatal(err)
	}
	v := r.Tracks[0]
	if r.Format != "mp4" || v.Codec != "h264" || v.Packets != 100 || v.Keyframes != 4 || v.Width != 192 || v.Height != 108 {
		t.Errorf("%+v", v)
	}
	if v.FrameRate != (FrameRate{25, 1, "cfr"}) {
		t.Errorf("frame rate %+v", v.FrameRate)
	}
	if len(r.GOPs) != 4 {
		t.Fatalf("%d GOPs", len(r.GOPs))
	}
	for i, g := range r.GOPs {
		if g.Frames != 25 || g.Class != "closed" || !strings.HasPrefix(g.Types, "IP") && !strings.HasPrefix(g.Types, "IB") || g.Length != 1 {
			t.Errorf("GOP %d: %+v", i, g)
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{`"format"`, `"duration"`, `"codec_string"`, `"timebase"`, `"frame_rate":{"num":25,"den":1,"mode":"cfr"}`, `"gops":[{"pts":`, `"class":"closed"`} {
		if !strings.Contains(string(b), key) {
			t.Errorf("%s is not in the JSON", key)
		}
	}
}

// Key frames of every real file equal the bitstream's truth.
func TestKeysOfRealFiles(t *testing.T) {
	media := os.Getenv("CLEAVE_MEDIA")
	if media == "" {
		t.Skip("CLEAVE_MEDIA is not set: key frames of real files are not tested")
	}
	for _, c := range []struct {
		file, class string
	}{
		{"mp4/hevc_open_gop_cra_editlist.mp4", "open"},
		{"mp4/h264_camera_720p30_gop12.mp4", "closed"},
		{"mp4/h264_open_gop_recovery_point.mp4", "open"},
	} {
		r, err := Run(t.Context(), filepath.Join(media, c.file), Config{})
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, g := range r.GOPs {
			found = found || g.Class == c.class
		}
		if !found {
			t.Errorf("%s: no %s GOP in %d", c.file, c.class, len(r.GOPs))
		}
	}
}

func TestNotMedia(t *testing.T) {
	name := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(name, []byte("this is no media at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Run(t.Context(), name, Config{})
	if err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("%v", err)
	}
}
