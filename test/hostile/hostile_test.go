// Package hostile cuts damaged and truncated files of every container.
package hostile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/ingest/file"
)

// limit is how long one cut may take; it is there to find what hangs.
const limit = 60 * time.Second

// TestBroken: damaged files of other people end in a chunk, or in an error that
// names the file; nobody panics, hangs or leaves half an output.
func TestBroken(t *testing.T) {
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: the damaged files of others are left out")
	}
	names, err := filepath.Glob(filepath.Join(dir, "broken", "*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want, known := damaged[filepath.Base(name)]
			report, err := run(t, name)
			switch {
			case !known: // it must end, no more
				t.Log(report, err)
			case err != nil && (want.packets > 0 || !strings.Contains(err.Error(), want.text)):
				t.Errorf("%v; want %+v", err, want)
			case err == nil && (report.Packets != want.packets || !strings.Contains(said(report), want.text)):
				t.Errorf("%d packets, %s; want %+v", report.Packets, said(report), want)
			}
			allocation(t, name)
		})
	}
}

// found is what becomes of a file: its packets, or an error; and what is said of it.
type found struct {
	packets int
	text    string
}

var damaged = map[string]found{
	"adts_truncated.aac":       {143, "171 bytes of an incomplete frame at the end dropped"},
	"bad_lace_size.mkv":        {0, "not supported: the first bytes (Matroska or WebM)"},
	"chunk_out_of_range.mp4":   {0, "stco.entry_count: ends too early"},
	"clusterfuzz_56_bytes.mp4": {0, "offset 0: moov.size: too large"},
	"invalid_nalu.mp4":         {30, ""},
	"mdat_too_long.mp4":        {75, ""},
	"missing_stsd.mp4":         {30, "offset 1522: stbl: not valid: track 2 has no stsd"},
	"no_timescale.mp4":         {182, "11 samples whose NAL unit lengths do not add up"},
	"zero_length_pes.ts":       {0, "no video or audio track to cut by"},
}

// valid are files that FFmpeg 5.1 cannot read, or misreads, though nothing is wrong
// with them: column quirk of the media's MANIFEST.tsv.
var valid = map[string]found{
	"mp4/vvc_unknown_codec.mp4":            {120, ""},                                         // a codec that FFmpeg does not know
	"mp4/h264_all_intra_no_stss.mp4":       {30, ""},                                          // without stss every sample is a key frame
	"mp4/h264_nal_length_2.mp4":            {75, ""},                                          // lengths of two bytes
	"mp4/h264_open_gop_recovery_point.mp4": {13, ""},                                          // FFmpeg moves its edit to the next picture
	"fmp4/wrong_mehd_duration.mp4":         {240, ""},                                         // a duration of 3900 s for 8
	"fmp4/single_moof_bframes.mp4":         {76, ""},                                          // one of 2^32-1
	"fmp4/partially_fragmented.mp4":        {75, ""},                                          // samples in moov and in moof
	"ts/timestamp_jump_back.ts":            {599, "1 jumps of the timeline"},                  // FFmpeg: a wrap
	"ts/rollover_33bit.ts":                 {1417, "wrapped"},                                 // FFmpeg: negative times
	"ts/h264_cut_packet_60s.ts":            {3135, "incomplete frames dropped"},               // DTS later than PTS
	"ts/pat_pmt_in_middle.ts":              {43, ""},                                          // tables come late
	"ts/starts_mid_gop.ts":                 {1, "9 pictures before the first parameter sets"}, // FFmpeg: sps_id 0 out of range
	"raw/first_idr_lost.264":               {70, ""},                                          // FFmpeg begins with pictures that refer to nothing
	"raw/long_gop_i_slices_not_idr.264":    {1700, ""},                                        // an I slice is no key picture
}

// TestValid: valid files that FFmpeg 5.1 cannot read, or misreads, are read.
func TestValid(t *testing.T) {
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: files that FFmpeg cannot read are left out")
	}
	for name, want := range valid {
		t.Run(name, func(t *testing.T) {
			report, err := run(t, filepath.Join(dir, name))
			if err != nil || report.Broken != nil || report.Packets != want.packets || !strings.Contains(said(report), want.text) {
				t.Errorf("%v %v, want %+v", report, err, want)
			}
		})
	}
}

// TestEncrypted: a file of which a track is encrypted is refused, not cut without it.
func TestEncrypted(t *testing.T) {
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: an encrypted file is left out")
	}
	_, err := run(t, filepath.Join(dir, "enc", "cenc_clearkey_fragmented.mp4"))
	if err == nil || !strings.Contains(err.Error(), "decrypt it first") {
		t.Error(err)
	}
}

func said(r *cut.Report) string { return strings.Join(r.Warnings, "; ") }

// containers are how ffmpeg makes a small file of each.
var containers = []struct{ name, args string }{
	{"progressive.mp4", "-c:v libx264 -bf 2 -c:a aac"},
	{"faststart.mp4", "-c:v libx264 -bf 2 -c:a aac -movflags +faststart"},
	{"fragmented.mp4", "-c:v libx264 -c:a aac -movflags +frag_keyframe+empty_moov"},
	{"quicktime.mov", "-c:v libx264 -c:a pcm_s16le"},
	{"stream.ts", "-c:v libx264 -bf 2 -c:a aac -f mpegts"},
	{"stream.flv", "-c:v libx264 -c:a aac"},
	{"raw.264", "-c:v libx264 -bf 2 -an -f h264"},
	{"raw.265", "-c:v libx265 -x265-params log-level=none -an -f hevc"},
	{"sound.aac", "-vn -c:a aac -f adts"},
	{"sound.mp3", "-vn -c:a libmp3lame -f mp3"},
}

// TestPrefixes: whatever length of a file has arrived, what is whole is kept.
func TestPrefixes(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: files that break off are not cut")
	}
	dir := t.TempDir()
	for _, c := range containers {
		name := filepath.Join(dir, c.name)
		args := "-v error -nostdin -f lavfi -i testsrc2=size=96x64:rate=25 -f lavfi -i sine=sample_rate=48000 -t 3 " +
			"-preset ultrafast -g 25 -pix_fmt yuv420p -b:a 32k " + c.args + " " + name
		if out, err := exec.Command("ffmpeg", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", c.name, err, out)
		}
		t.Run(c.name, func(t *testing.T) { prefixes(t, name) })
	}
}

func prefixes(t *testing.T, name string) {
	whole, err := run(t, name)
	if err != nil || whole.Broken != nil {
		t.Fatal(whole, err)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	part := name + ".part" + filepath.Ext(name)
	packets, last := 0, 0
	for n := 1; n < len(b); n += max(len(b)/24, 1) {
		if err := os.WriteFile(part, b[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := run(t, part)
		if err != nil {
			if last > 0 && n > 4096 { // what was read before is read now
				t.Errorf("%d bytes of %d: %v; less of it was cut", n, len(b), err)
			}
			continue
		}
		if report.Packets > whole.Packets || report.Packets < packets {
			t.Errorf("%d bytes: %d packets; %d before, %d in all", n, report.Packets, packets, whole.Packets)
		}
		packets, last = report.Packets, n
	}
	if packets < whole.Packets*2/3 && !strings.Contains(name, "progressive") && !strings.Contains(name, ".mov") { // moov comes last
		t.Errorf("of %d packets %d were cut of the longest prefix", whole.Packets, packets)
	}
}

// run cuts a file and checks what is left on the disk.
func run(t *testing.T, name string) (*cut.Report, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out := filepath.Join(t.TempDir(), "out")
	report, err := cut.Run(ctx, cut.Config{Input: name, Dir: out, Policy: chunk.Keyframe{Target: time.Second}})
	if ctx.Err() != nil {
		t.Fatalf("%s: not done after %v", name, limit)
	}
	if _, perr := os.Stat(out + ".partial"); !errors.Is(perr, fs.ErrNotExist) {
		t.Errorf("%s: half an output was left: %v", name, perr)
	}
	_, oerr := os.Stat(filepath.Join(out, "index.m3u8"))
	if (err == nil) != (oerr == nil) {
		t.Errorf("%s: ended with %v, the output with %v", name, err, oerr)
	}
	for _, e := range []error{err, broken(report)} {
		if e != nil && !strings.Contains(e.Error(), filepath.Base(name)) {
			t.Errorf("%s: the error does not name it: %v", name, e)
		}
	}
	return report, err
}

func broken(r *cut.Report) error {
	if r == nil {
		return nil
	}
	return r.Broken
}

// allocation holds a demuxer to twice its input and 1 MiB.
func allocation(t *testing.T, name string) {
	t.Helper()
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	avtest.AllocBound(t, int(st.Size()), func() {
		in, err := file.Open(t.Context(), name, file.Options{})
		if err != nil {
			return
		}
		defer in.Close()
		for {
			_, err := in.ReadPacket(av.Heap{})
			if err == nil || errors.Is(err, av.ErrTracks) {
				continue
			}
			var bad *av.Error
			if !errors.Is(err, io.EOF) && !errors.As(err, &bad) {
				t.Errorf("%s: %v says no place", name, err)
			}
			return
		}
	})
}
