package annexb

import (
	"bufio"
	"bytes"
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

func mediaDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: real files are left out")
	}
	return dir
}

func tool(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed: the comparison with it is left out", name)
	}
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		t.Fatalf("%s %v: %v", name, args, err)
	}
	return out
}

// TestOutputOrder: pictures taken out of a container are put in the order that
// the container's PTS have.
func TestOutputOrder(t *testing.T) {
	dir := mediaDir(t)
	for name, c := range map[string]av.Codec{
		"mp4/h264_all_intra_no_stss.mp4":           av.H264,
		"mp4/h264_bframes_short_irregular_gop.mp4": av.H264,
		"mp4/h264_bpyramid_gop30.mp4":              av.H264,
		"mp4/h264_camera_10fps_139s.mp4":           av.H264,
		"mp4/h264_camera_720p30_gop12.mp4":         av.H264,
		"mp4/h264_high_aac_1key.mp4":               av.H264,
		"mp4/h264_nonref_b.mp4":                    av.H264,
		"mp4/h264_open_gop_recovery_point.mp4":     av.H264,
		"mp4/hevc_cra_rasl_small.mp4":              av.H265,
		"mp4/hevc_open_gop_cra_editlist.mp4":       av.H265,
		"fmp4/320x240_bframes_60fps.mp4":           av.H264,
		"fmp4/ladder_720.mp4":                      av.H264,
		"ts/h264_captions_29_97_gop8s.ts":          av.H264,
		"ts/hevc_main10_12s.ts":                    av.H265,
		"ts/rollover_33bit.ts":                     av.H264,
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			format := map[av.Codec]string{av.H264: "h264", av.H265: "hevc"}[c]
			raw := tool(t, "ffmpeg", "-v", "quiet", "-i", file, "-map", "0:v:0", "-c", "copy", "-f", format, "-")
			if got, sure := Sniff(raw[:min(len(raw), 4096)]); got != c || sure < 90 {
				t.Errorf("sniffed %v, %d", got, sure)
			}
			var got []int64
			for _, g := range avtest.ReadAll(t, NewDemuxer(bytes.NewReader(raw), c)) {
				for i, p := range g.Packets {
					if p.PTS < p.DTS {
						t.Errorf("packet %d: PTS %d before DTS %d", i, p.PTS, p.DTS)
					}
					got = append(got, p.PTS)
				}
			}
			want := framePTS(t, file)
			if len(got) != len(want) {
				t.Fatalf("%d pictures, want %d", len(got), len(want))
			}
			a, b := ranks(got), ranks(want)
			for i := range a {
				if a[i] != b[i] {
					t.Fatalf("picture %d is shown as number %d, want %d", i, a[i], b[i])
				}
			}
			steady(t, got)
		})
	}
}

// framePTS returns the PTS of the first video track's packets.
func framePTS(t *testing.T, file string) []int64 {
	t.Helper()
	out := tool(t, "ffprobe", "-v", "quiet", "-select_streams", "v:0", "-show_entries", "packet=pts", "-of", "csv=p=0", file)
	var l []int64
	for line := range strings.Lines(string(out)) {
		n, err := strconv.ParseInt(strings.Trim(line, ",\r\n "), 10, 64)
		if err != nil {
			continue
		}
		l = append(l, n)
	}
	return l
}

// ranks returns the place of each time in order.
func ranks(pts []int64) []int {
	at := make([]int, len(pts))
	for i := range at {
		at[i] = i
	}
	slices.SortStableFunc(at, func(a, b int) int { return cmp.Compare(pts[a], pts[b]) })
	r := make([]int, len(pts))
	for rank, i := range at {
		r[i] = rank
	}
	return r
}

// steady: no PTS twice, none left out.
func steady(t *testing.T, pts []int64) {
	t.Helper()
	l := slices.Sorted(slices.Values(pts))
	for i := 1; i < len(l); i++ {
		if d := l[i] - l[i-1]; d != l[1]-l[0] || d <= 0 {
			t.Fatalf("PTS %d behind %d", l[i], l[i-1])
		}
	}
}

// TestKeys: the number of pictures and the places of keys are those of KEYS.tsv
// and MANIFEST.tsv.
func TestKeys(t *testing.T) {
	dir := mediaDir(t)
	f, err := os.Open(filepath.Join(dir, "KEYS.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		row := strings.Split(s.Text(), "\t")
		if !strings.HasPrefix(row[0], "raw/") || len(row) < 5 {
			continue
		}
		t.Run(row[0], func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, row[0]))
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			n := 0
			for _, g := range avtest.ReadAll(t, NewDemuxer(bytes.NewReader(b), av.H264)) {
				for _, p := range g.Packets {
					if p.Flags.Has(av.Key) {
						keys = append(keys, strconv.Itoa(n))
					}
					n++
				}
			}
			if got := strings.Join(keys, " "); got != row[4] {
				t.Errorf("keys at %s, want %s", got, row[4])
			}
		})
	}
}
