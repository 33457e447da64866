package verify

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/seal"
)

// cutAndCheck cuts an input and returns the report on what came out.
func cutAndCheck(t *testing.T, input string, c cut.Container, e cut.Encryption) *Report {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	if _, err := cut.Run(t.Context(), cut.Config{Input: input, Dir: dir, Container: c, Policy: chunk.Keyframe{Target: 2 * time.Second}, Target: 2 * time.Second, Encrypt: e}); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), Config{Input: dir})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What cleave itself cuts breaks no MUST.
func TestOwnOutput(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: the output of cut is not checked")
	}
	const sound, picture = " -f lavfi -i sine=sample_rate=48000", "-f lavfi -i testsrc2=size=192x108:rate="
	const h264, aac = " -c:v libx264 -preset ultrafast -sc_threshold 0 ", " -c:a aac -t 9 "
	for name, args := range map[string]string{
		"bframes.mp4":   picture + "30000/1001" + sound + h264 + "-bf 3 -g 60" + aac,
		"plain.ts":      picture + "25" + sound + h264 + "-g 50" + aac,
		"long_gop.mp4":  picture + "24" + sound + h264 + "-g 100" + aac,
		"hevc.mp4":      picture + "25" + sound + " -c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=50:open-gop=0" + aac,
		"video.flv":     picture + "25" + h264 + "-g 50 -t 7 ",
		"audio.m4a":     strings.TrimSpace(sound) + " -c:a aac -t 9 ",
		"two_audio.mp4": picture + "25" + sound + sound + " -map 0 -map 1 -map 2 -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu" + h264 + "-g 50" + aac,
		"ac3.ts":        picture + "25" + sound + h264 + "-g 50 -c:a ac3 -t 7 ",
	} {
		for _, c := range []cut.Container{cut.CMAF, cut.TS} {
			t.Run(name+"_"+string(c), func(t *testing.T) {
				t.Parallel()
				file := filepath.Join(t.TempDir(), name)
				if out, err := exec.Command("ffmpeg", strings.Fields("-v error -nostdin "+args+file)...).CombinedOutput(); err != nil {
					t.Skipf("ffmpeg cannot make it: %v\n%s", err, out)
				}
				r := cutAndCheck(t, file, c, cut.Encryption{})
				for _, f := range r.Findings {
					if f.Severity == Must {
						t.Errorf("%s %s: %s", f.Rule, f.Place, f.Text)
					}
				}
				if r.Segments < 4 || len(r.Checked) < 20 {
					t.Errorf("%d segments, %d rules", r.Segments, len(r.Checked))
				}
			})
		}
	}
}

// The same encrypted, the key of samples changing within the output.
func TestOwnOutputEncrypted(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: the output of cut is not checked")
	}
	file := filepath.Join(t.TempDir(), "in.mp4")
	args := "-v error -nostdin -f lavfi -i testsrc2=size=192x108:rate=25 -f lavfi -i sine=sample_rate=48000 -c:v libx264 -preset ultrafast -sc_threshold 0 -g 50 -c:a aac -t 9 "
	if out, err := exec.Command("ffmpeg", strings.Fields(args+file)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, x := range []struct {
		scheme    seal.Scheme
		container cut.Container
		rotation  int
	}{{seal.CBCS, cut.CMAF, 0}, {seal.CBCS, cut.CMAF, 2}, {seal.CENC, cut.CMAF, 2}, {seal.AES128, cut.CMAF, 2}, {seal.AES128, cut.TS, 0}} {
		t.Run(fmt.Sprintf("%s_%s_%d", x.scheme, x.container, x.rotation), func(t *testing.T) {
			r := cutAndCheck(t, file, x.container, cut.Encryption{Scheme: x.scheme, Rotation: x.rotation})
			for _, f := range r.Findings {
				if f.Severity == Must {
					t.Errorf("%s %s: %s", f.Rule, f.Place, f.Text)
				}
			}
			if n := r.Checked["C11"]; x.scheme.Samples() != (n > 0) {
				t.Errorf("the keys of %d fragments were looked at", n)
			}
		})
	}
}

// mediaFaults are the MUSTs that some real files cannot but break, by file and rule.
func mediaFaults(name, rule string) bool {
	for _, x := range [...]struct{ name, rules string }{
		{"vvc_unknown_codec", "A22 D12"},           // no codec string is known
		{"multi_video_audio_subtitle", "A2 C4 T7"}, // the second video has its key frames elsewhere
		{"timestamp_gap_59_94", "A2 C4 T7"},        // the source breaks off inside a GOP
		{"h264_editlist_positive_shift", "H32"},    // its picture begins a second after its sound
	} {
		if strings.Contains(name, x.name) && strings.Contains(" "+x.rules+" ", " "+rule+" ") {
			return true
		}
	}
	return false
}

// The same of real files; those that are short.
func TestOwnOutputOfMedia(t *testing.T) {
	root := os.Getenv("CLEAVE_MEDIA")
	if root == "" {
		t.Skip("CLEAVE_MEDIA is not set: only what ffmpeg makes is checked")
	}
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	for _, sub := range []string{"mp4", "ts", "fmp4", "flv"} {
		_ = filepath.WalkDir(filepath.Join(root, sub), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // what is not there is not tested
			}
			if st, err := d.Info(); err != nil || st.Size() > 3<<20 {
				return nil //nolint:nilerr // as above
			}
			for _, c := range []cut.Container{cut.CMAF, cut.TS} {
				dir := filepath.Join(t.TempDir(), "out")
				if _, err := cut.Run(t.Context(), cut.Config{Input: path, Dir: dir, Container: c, Policy: chunk.Keyframe{Target: 2 * time.Second}, Target: 2 * time.Second}); err != nil {
					continue // cut's own tests say which it must read
				}
				r, err := Run(t.Context(), Config{Input: dir})
				if err != nil {
					t.Error(path, err)
					continue
				}
				for _, f := range r.Findings {
					if f.Severity == Must && !mediaFaults(path, f.Rule) {
						t.Errorf("%s as %s: %s %s: %s", filepath.Base(path), c, f.Rule, f.Place, f.Text)
					}
				}
			}
			return nil
		})
	}
}
