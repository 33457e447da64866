package libav

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// probed is a packet of ffprobe.
type probed struct {
	Stream int    `json:"stream_index"`
	PTS    *int64 `json:"pts"`
	DTS    *int64 `json:"dts"`
	Size   string `json:"size"`
}

// ffprobe returns the packets of each stream that are not empty.
func ffprobe(t *testing.T, path string, args ...string) map[int][]probed {
	t.Helper()
	args = append([]string{"-v", "quiet", "-correct_ts_overflow", "0", "-of", "json", "-show_entries", "packet=stream_index,pts,dts,size"}, args...)
	out, err := exec.Command("ffprobe", append(args, path)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Packets []probed }
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	m := map[int][]probed{}
	for _, p := range all.Packets {
		if n, err := strconv.Atoi(p.Size); err == nil && n > 0 {
			m[p.Stream] = append(m[p.Stream], p)
		}
	}
	return m
}

// mediaFiles are the files of CLEAVE_MEDIA that no demuxer of cleave's own reads, and
// the samples.
func mediaFiles(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	root := os.Getenv("CLEAVE_MEDIA")
	if root == "" {
		t.Log("CLEAVE_MEDIA is not set: only the samples are compared")
		return list
	}
	for _, pattern := range []string{"mkv/*", "audio/*.ogg", "ts/*.mpeg"} {
		l, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l...)
	}
	return list
}

// TestFFprobe: every packet is there, and every time that the container gives is
// untouched: ffprobe shows them if it is told to fill in none. What it would fill in
// itself agrees in PTS.
func TestFFprobe(t *testing.T) {
	w := newWorkers(t, Config{})
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Skip(err)
	}
	for _, path := range mediaFiles(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			d := w.NewDemuxer(f, -1, Options{})
			defer d.Close()
			l := avtest.ReadAll(t, d)
			if len(l) != 1 {
				t.Fatalf("%d generations of tracks", len(l))
			}
			given, filled := ffprobe(t, path, "-fflags", "nofillin"), ffprobe(t, path)
			for i, lane := range d.lanes {
				if lane.dropped {
					continue
				}
				same(t, i, l[0].Of(lane.index), given[i], filled[i])
			}
		})
	}
}

func same(t *testing.T, stream int, got []av.Packet, given, filled []probed) {
	t.Helper()
	if len(got) != len(given) {
		t.Errorf("stream %d: %d packets, ffprobe %d", stream, len(got), len(given))
		return
	}
	shown, decoded := 0, 0
	for k, p := range got {
		if g := given[k]; g.PTS != nil && *g.PTS != p.PTS || g.DTS != nil && *g.DTS != p.DTS {
			t.Errorf("stream %d packet %d: PTS %d DTS %d are not the container's", stream, k, p.PTS, p.DTS)
			return
		}
		if len(filled) != len(got) {
			continue
		}
		if f := filled[k]; f.PTS != nil && *f.PTS != p.PTS {
			shown++
		} else if f.DTS != nil && *f.DTS != p.DTS {
			decoded++
		}
	}
	t.Logf("stream %d: %d packets; where ffprobe fills in, %d PTS and %d more DTS are others", stream, len(got), shown, decoded)
}

// TestPictures: what AVI and MPEG-PS do not say of output order is what it was before
// the stream was put there.
func TestPictures(t *testing.T) {
	w := newWorkers(t, Config{})
	read := func(name string) []av.Packet {
		b := sample(t, name)
		d := w.NewDemuxer(bytes.NewReader(b), int64(len(b)), Options{})
		defer d.Close()
		return avtest.ReadAll(t, d)[0].Of(0)
	}
	mkv, avi := read("av.mkv"), read("av.avi")
	frame := av.Timebase{Num: 1, Den: 25}
	for i := range mkv {
		a := av.Timebase{Num: 1, Den: 1000}.Rescale(mkv[i].PTS-mkv[0].PTS, frame)
		b := av.Timebase{Num: 1, Den: 50}.Rescale(avi[i].PTS-avi[0].PTS, frame)
		if a != b || !bytes.Equal(mkv[i].Data, avi[i].Data) || mkv[i].Flags&av.Key != avi[i].Flags&av.Key {
			t.Errorf("picture %d: frame %d in Matroska, %d in AVI", i, a, b)
		}
	}
}
