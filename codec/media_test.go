package codec_test

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/Eyevinn/mp4ff/avc"
	"github.com/Eyevinn/mp4ff/hevc"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/format/ts"
)

// mediaFiles returns the names of real files that a demuxer here opens.
func mediaFiles(t *testing.T) (dir string, names []string) {
	t.Helper()
	dir = os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: real files are left out")
	}
	for _, pattern := range []string{"mp4/*.mp4", "mp4/*.mov", "fmp4/*.mp4", "ts/*.ts"} {
		l, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(l) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(l), err)
		}
		for _, name := range l {
			rel, _ := filepath.Rel(dir, name)
			names = append(names, rel)
		}
	}
	return dir, names
}

func open(t *testing.T, file string) av.Demuxer {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(file, ".ts") {
		return ts.NewDemuxer(bytes.NewReader(b))
	}
	return mp4.New(bytes.NewReader(b), int64(len(b)))
}

// ffprobe returns the fields of the streams of a file, by id.
func ffprobe(t *testing.T, file string) map[uint32]map[string]string {
	t.Helper()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Skip("ffprobe is not installed: the comparison with it is left out")
	}
	out, err := exec.Command("ffprobe", "-v", "quiet", "-show_streams", "-of", "compact=p=0:nk=0", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	l := map[uint32]map[string]string{}
	for line := range strings.Lines(string(out)) {
		f := map[string]string{}
		for _, kv := range strings.Split(strings.TrimSpace(line), "|") {
			if k, v, ok := strings.Cut(kv, "="); ok && f[k] == "" {
				f[k] = v
			}
		}
		if id, err := strconv.ParseUint(strings.TrimPrefix(f["id"], "0x"), 16, 32); err == nil {
			l[uint32(id)] = f
		}
	}
	return l
}

// TestDescribeAgainstFFprobe: size, shape of samples, profile, level, rate and
// channels are those that ffprobe finds, names those that mp4ff makes.
func TestDescribeAgainstFFprobe(t *testing.T) {
	dir, names := mediaFiles(t)
	described := map[av.Codec]int{}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, name)
			d := open(t, file)
			defer d.Close()
			if _, err := d.ReadPacket(av.Heap{}); !errors.Is(err, av.ErrTracks) {
				t.Skip(err) // of another codec only
			}
			streams := ffprobe(t, file)
			for _, tr := range d.Tracks() {
				f := streams[tr.ID]
				if tr.Codec == av.Private || f == nil {
					continue
				}
				info, err := codec.Describe(&tr)
				if err != nil {
					t.Errorf("track %d: %v", tr.ID, err)
					continue
				}
				described[tr.Codec]++
				compare(t, &tr, info, f)
			}
		})
	}
	for _, c := range []av.Codec{av.H264, av.H265, av.AV1, av.AAC, av.AC3, av.Opus} {
		if described[c] == 0 {
			t.Errorf("no track of %v was described", c)
		}
	}
}

func compare(t *testing.T, tr *av.Track, info codec.Info, f map[string]string) {
	t.Helper()
	number := func(field string) int {
		n, _ := strconv.Atoi(f[field])
		return n
	}
	if tr.Kind == av.Audio {
		if info.SampleRate != number("sample_rate") && 2*info.SampleRate != number("sample_rate") || // implicit SBR
			info.Channels != number("channels") && 2*info.Channels != number("channels") { // parametric stereo
			t.Errorf("%v: %d Hz, %d channels, want %s and %s", tr.Codec, info.SampleRate, info.Channels, f["sample_rate"], f["channels"])
		}
		return
	}
	if info.Width != number("width") || info.Height != number("height") {
		t.Errorf("%v: %d by %d, want %s by %s", tr.Codec, info.Width, info.Height, f["width"], f["height"])
	}
	named(t, tr, info, f["level"])
	if r := info.FrameRate; r.Den != 0 && tr.Codec != av.AV1 {
		if want := fraction(f["r_frame_rate"]); r.Reduced() != want && (av.Rational{Num: 2 * r.Num, Den: r.Den}).Reduced() != want {
			t.Logf("%v: %v frames a second declared, ffprobe finds %v", tr.Codec, r, want)
		}
	}
}

// named: name and level are those that mp4ff makes and ffprobe finds.
func named(t *testing.T, tr *av.Track, info codec.Info, level string) {
	t.Helper()
	number, _ := strconv.Atoi(level)
	switch tr.Codec {
	case av.H264:
		c, err := h264.ParseConfig(tr.Config)
		if err != nil {
			t.Fatal(err)
		}
		sps, err := avc.ParseSPSNALUnit(c.SPS[0], true)
		if err != nil {
			t.Fatal(err)
		}
		if want := avc.CodecString("avc1", sps); !strings.EqualFold(info.String, want) || int(c.Level) != number {
			t.Errorf("%s, level %d; want %s, level %s", info.String, c.Level, want, level)
		}
	case av.H265:
		c, err := h265.ParseConfig(tr.Config)
		if err != nil {
			t.Fatal(err)
		}
		sps, err := hevc.ParseSPSNALUnit(c.SPS[0])
		if err != nil {
			t.Fatal(err)
		}
		if want := hevc.CodecString("hvc1", sps); info.String != want || int(c.Head[12]) != number {
			t.Errorf("%s, level %d; want %s, level %s", info.String, c.Head[12], want, level)
		}
	}
}

func fraction(s string) av.Rational {
	n, d, _ := strings.Cut(s, "/")
	num, _ := strconv.ParseUint(n, 10, 32)
	den, _ := strconv.ParseUint(d, 10, 32)
	return av.Rational{Num: uint32(num), Den: uint32(den)}.Reduced()
}

// TestKeys: keys are where KEYS.tsv has them, or where the bitstream has them and
// the container does not.
func TestKeys(t *testing.T) {
	dir, names := mediaFiles(t)
	f, err := os.Open(filepath.Join(dir, "KEYS.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		row := strings.Split(s.Text(), "\t")
		if len(row) < 5 || !slices.Contains(names, row[0]) {
			continue
		}
		t.Run(row[0], func(t *testing.T) {
			d := open(t, filepath.Join(dir, row[0]))
			defer d.Close()
			got, types := keys(t, d)
			want := strings.Fields(row[4])
			switch row[0] {
			case "mp4/vvc_unknown_codec.mp4": // a Private track: only its container knows
				want = nil
			case "ts/starts_mid_gop.ts": // nine pictures before the parameter sets are dropped
				want = []string{"0"}
			}
			if !slices.Equal(got, want) {
				t.Errorf("keys at %v, want %v", got, want)
			}
			for i, c := range types {
				if c != 'I' {
					t.Errorf("key %d is a picture of type %c", i, c)
				}
			}
		})
	}
}

// keys returns the places of the first video track's keys and their types.
func keys(t *testing.T, d av.Demuxer) (at []string, types []byte) {
	t.Helper()
	var insp *codec.Inspector
	track := -1
	for n := 0; ; {
		p, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, av.ErrTracks) {
			track = slices.IndexFunc(d.Tracks(), func(tr av.Track) bool { return tr.Kind == av.Video })
			if track >= 0 {
				if insp, err = codec.NewInspector(&d.Tracks()[track]); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		if err != nil {
			return at, types
		}
		if p.Track != track {
			continue
		}
		flags := insp.Flags(p.Data)
		if flags.Has(av.Key) {
			at, types = append(at, strconv.Itoa(n)), append(types, insp.FrameType(p.Data))
		}
		if flags.Has(av.Corrupt) {
			t.Errorf("packet %d: its NAL units do not add up", n)
		}
		n++
	}
}
