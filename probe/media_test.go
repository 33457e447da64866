package probe

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// table reads a table of the real media's.
func table(t *testing.T, name string) []map[string]string {
	t.Helper()
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: probe is not tested on real files")
	}
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var head []string
	var out []map[string]string
	s := bufio.NewScanner(f)
	for s.Buffer(nil, 1<<20); s.Scan(); {
		cells := strings.Split(s.Text(), "\t")
		if head == nil {
			head = cells
			continue
		}
		row := map[string]string{}
		for i := range min(len(cells), len(head)) {
			row[head[i]] = cells[i]
		}
		row["file"] = filepath.Join(dir, row["path"])
		out = append(out, row)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// notRead says why no report is expected of a file.
func notRead(row map[string]string) string {
	switch {
	case strings.HasPrefix(row["container"], "matroska"), row["container"] == "ogg", row["container"] == "mpeg", strings.HasPrefix(row["path"], "mkv/"):
		return "no demuxer of its container"
	case strings.HasPrefix(row["path"], "enc/") && row["path"] != "enc/cenc_av_clear.mp4", strings.HasPrefix(row["path"], "broken/"):
		return "encrypted or broken"
	case row["path"] == "flv/headers_only.flv":
		return "no packets"
	}
	return ""
}

// readable lists MANIFEST.tsv's files of at most limit bytes that must be read. The
// limit keeps the test within seconds under the race detector.
func readable(t *testing.T, limit int) []map[string]string {
	t.Helper()
	var out []map[string]string
	large := 0
	for _, row := range table(t, "MANIFEST.tsv") {
		if n, err := strconv.Atoi(row["bytes"]); err != nil || n > limit {
			large++
			continue
		}
		if notRead(row) == "" {
			out = append(out, row)
		}
	}
	if len(out) < 20 {
		t.Errorf("only %d files", len(out))
	}
	t.Logf("%d files larger than %d bytes are left out", large, limit)
	return out
}

// Every file, whatever it is, gives a report or an error, and the report is sane.
func TestRealFiles(t *testing.T) {
	keys := map[string]map[string]string{}
	for _, row := range table(t, "KEYS.tsv") {
		keys[row["path"]] = row
	}
	for _, row := range table(t, "MANIFEST.tsv") {
		if n, err := strconv.Atoi(row["bytes"]); err != nil || n > 6<<20 {
			continue
		}
		t.Run(row["path"], func(t *testing.T) {
			r, err := Run(t.Context(), row["file"], Config{Picture: true, Timing: true})
			if err != nil {
				if notRead(row) == "" {
					t.Error(err)
				}
				return
			}
			parseSVG(t, draw(t, r))
			sane(t, r)
			if notRead(row) == "" {
				counts(t, r, row)
				positions(t, r, keys[row["path"]])
			}
		})
	}
}

// sane checks what must be true of any report.
func sane(t *testing.T, r *Report) {
	t.Helper()
	frames, video := 0, -1
	for i, x := range r.Tracks {
		if x.Seconds < 0 || x.Seconds > r.Duration || x.Seconds > 1000 || x.Packets < x.Keyframes || x.Kind == "video" && x.Keyframes > 0 && x.FrameTypes == nil {
			t.Errorf("%+v", x)
		}
		if m := x.FrameRate.Mode; m != "cfr" && m != "vfr" {
			t.Errorf("mode %q", m)
		}
		if x.Kind == "video" && video < 0 {
			video = i
		}
	}
	for i, g := range r.GOPs {
		frames += g.Frames
		if g.Length < 0 || g.Length > r.Duration+1e-9 || g.Frames < 1 || g.Bytes < 1 || i > 0 && g.Seconds <= r.GOPs[i-1].Seconds ||
			g.Leading > 0 && g.Class == closedGOP {
			t.Errorf("GOP %d: %+v", i, g)
		}
	}
	if video >= 0 && len(r.Tracks) == 1 && frames > r.Tracks[0].Packets {
		t.Errorf("%d frames in GOPs of %d", frames, r.Tracks[0].Packets)
	}
	for _, s := range r.Strategies {
		sum := 0
		for _, n := range s.Reasons {
			sum += n
		}
		if sum != s.Chunks || s.Independent > s.Chunks || s.Shortest < 0 || s.Longest > 61 || s.Shortest > s.Longest {
			t.Errorf("%+v", s)
		}
	}
}

// differs says why the manifest's packet or key counts, which are FFmpeg's, are not
// those of a file.
var differs = map[string]string{
	"ts/starts_mid_gop.ts": "nine pictures before the first parameter sets cannot be read",
}

// counts compares packets, key frames and the classes of GOPs with MANIFEST.tsv.
func counts(t *testing.T, r *Report, row map[string]string) {
	t.Helper()
	n := map[string]int{}
	for _, f := range strings.Fields(row["nal_stats"]) {
		k, v, _ := strings.Cut(f, "=")
		n[k], _ = strconv.Atoi(v)
	}
	packets, keys := 0, 0
	size := ""
	for _, x := range r.Tracks { // a video track may go on under another line
		if x.Kind == "video" && (size == "" || strings.Contains(row["path"], "resolution_change")) {
			packets, keys, size = packets+x.Packets, keys+x.Keyframes, fmt.Sprint(x.Width)
		}
	}
	if differs[row["path"]] == "" {
		if want, _ := strconv.Atoi(row["video_packets"]); packets != want {
			t.Errorf("%d video packets, want %d", packets, want)
		}
		if want, _ := strconv.Atoi(row["key_packets"]); keys != want || want != len(r.GOPs) {
			t.Errorf("%d key frames, %d GOPs, want %d", keys, len(r.GOPs), want)
		}
	}
	if row["nal_stats"] == "" || differs[row["path"]] != "" || row["path"] == "raw/multi_sps_resolution_change.264" {
		return // nal_stats counts first slices, and one key frame of that file has none
	}
	var class [3]int
	leading := 0
	for _, g := range r.GOPs {
		class[slices.Index([]string{closedGOP, openGOP, gradualGOP}, g.Class)]++
		leading += g.Leading
	}
	idr := n["IDR"] + n["IDR_N_LP"] + n["IDR_W_RADL"]
	open := n["CRA"] + n["recovery_point_SEI"]
	if class[0]+class[1]+class[2] != idr+open || class[1] > open || class[0] < idr || class[2] != 0 {
		t.Errorf("%d closed, %d open, %d gradual GOPs of %d IDR and %d open keys", class[0], class[1], class[2], idr, open)
	}
	if n["RASL"] > 0 && leading != n["RASL"] {
		t.Errorf("%d leading pictures, want %d", leading, n["RASL"])
	}
}

// positions compares the places of key frames with KEYS.tsv, after one offset for the
// whole file: where a timeline begins, edit lists and wraps decide, and FFmpeg does
// it otherwise.
func positions(t *testing.T, r *Report, row map[string]string) {
	t.Helper()
	if row == nil || strings.Contains(row["key_pts_ticks_all"], "N/A") {
		return
	}
	var num, den float64
	if _, err := fmt.Sscanf(row["time_base"], "%g/%g", &num, &den); err != nil {
		t.Fatal(err)
	}
	var want []float64
	for _, f := range strings.Fields(row["key_pts_ticks_all"]) {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, v*num/den)
	}
	if len(want) != len(r.GOPs) {
		t.Errorf("%d GOPs, want %d", len(r.GOPs), len(want))
		return
	}
	offset := r.GOPs[0].Seconds - want[0]
	for i, g := range r.GOPs {
		if d := g.Seconds - want[i] - offset; math.Abs(d) > num/den/2+1e-9 {
			if wraps(row["path"], i) {
				offset += d
				continue
			}
			t.Errorf("key frame %d: %v s from its place", i, d)
			return
		}
	}
}

// wraps reports whether a new timeline begins at that key frame.
func wraps(path string, key int) bool {
	return path == "ts/resolution_change_pts_reset.ts" && key == 4 || path == "ts/timestamp_jump_back.ts" && key == 3
}
