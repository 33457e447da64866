package flv

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
)

var mediaFiles = []string{"flv/bbb_irregular_gop.flv", "flv/headers_only.flv", "flv/keyframe_index.flv"}

// probed is a packet as ffprobe tells.
type probed struct {
	Kind  string `json:"codec_type"`
	PTS   int64  `json:"pts"`
	DTS   int64  `json:"dts"`
	Size  string `json:"size"`
	Flags string `json:"flags"`
}

// probe returns the packets that ffprobe reads.
func probe(t *testing.T, path string) []probed {
	t.Helper()
	tool, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Skip("ffprobe is not installed: the comparison is left out")
	}
	out, err := exec.Command(tool, "-v", "error", "-show_packets", "-of", "json", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Packets []probed }
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	return all.Packets
}

// TestMedia: packets, times, sizes and key frames are those of ffprobe.
func TestMedia(t *testing.T) {
	for _, name := range mediaFiles {
		t.Run(filepath.Base(name), func(t *testing.T) {
			l := demux(t, media(t, name))
			if len(l) != 1 {
				t.Fatalf("%d sets of tracks", len(l))
			}
			comparePackets(t, l[0], probe(t, filepath.Join(os.Getenv("CLEAVE_MEDIA"), name)))
		})
	}
}

func comparePackets(t *testing.T, g generation, want []probed) {
	t.Helper()
	if len(g.packets) != len(want) {
		t.Fatalf("%d packets, ffprobe reads %d", len(g.packets), len(want))
	}
	for i, p := range g.packets {
		w := want[i]
		tr := g.tracks[p.Track]
		if tr.Kind.String() != w.Kind || p.PTS != w.PTS || p.DTS != w.DTS || strconv.Itoa(len(p.Data)) != w.Size ||
			p.Flags.Has(av.Key) != strings.HasPrefix(w.Flags, "K") {
			t.Fatalf("packet %d: %v pts %d dts %d size %d flags %x; ffprobe: %+v", i, tr.Kind, p.PTS, p.DTS, len(p.Data), p.Flags, w)
		}
	}
}

// TestKeys: the key frames are those of the table beside the files.
func TestKeys(t *testing.T) {
	for _, line := range strings.Split(string(media(t, "KEYS.tsv")), "\n") {
		f := strings.Split(line, "\t")
		if !strings.HasPrefix(f[0], "flv/") {
			continue
		}
		var got []string
		for _, p := range demux(t, media(t, f[0]))[0].packets {
			if p.Track == 0 && p.Flags.Has(av.Key) {
				got = append(got, strconv.FormatInt(p.PTS, 10))
			}
		}
		if want := strings.Fields(f[3]); !slices.Equal(got, want) {
			t.Errorf("%s: keys at %v, want %v", f[0], got, want)
		}
	}
}
