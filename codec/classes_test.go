package codec_test

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// classes counts the pictures of a track by what they are.
type classes struct{ closed, open, leading, refB, plainB, intra int }

// TestClasses: as many pictures of each class as MANIFEST.tsv counts in the NAL
// units of the files.
func TestClasses(t *testing.T) {
	dir, names := mediaFiles(t)
	f, err := os.Open(filepath.Join(dir, "MANIFEST.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	tested := 0
	for s.Scan() {
		row := strings.Split(s.Text(), "\t")
		if len(row) < 25 || !strings.HasPrefix(row[24], "pic=") || !slices.Contains(names, row[0]) || row[0] == "ts/starts_mid_gop.ts" {
			continue
		}
		tested++
		t.Run(row[0], func(t *testing.T) {
			n := map[string]int{}
			for _, field := range strings.Fields(row[24]) {
				k, v, _ := strings.Cut(field, "=")
				n[k], _ = strconv.Atoi(v)
			}
			want := classes{
				closed: n["IDR"] + n["IDR_N_LP"] + n["IDR_W_RADL"], open: n["CRA"] + n["recovery_point_SEI"],
				leading: n["RASL"], refB: n["B_ref"], plainB: n["B_nonref"], intra: n["nonIDR_I"],
			}
			got := classify(t, filepath.Join(dir, row[0]))
			if strings.Contains(row[0], "hevc") { // counted for H.264 only
				got.refB, got.plainB, got.intra = 0, 0, 0
			}
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
	if tested < 20 {
		t.Errorf("%d files", tested)
	}
}

func classify(t *testing.T, file string) (c classes) {
	t.Helper()
	d := open(t, file)
	defer d.Close()
	var insp *codec.Inspector
	track := -1
	for {
		p, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, av.ErrTracks) {
			track = slices.IndexFunc(d.Tracks(), func(tr av.Track) bool { return tr.Kind == av.Video })
			if insp, err = codec.NewInspector(&d.Tracks()[track]); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err != nil {
			return c
		}
		if p.Track != track {
			continue
		}
		flags, kind := insp.Flags(p.Data), insp.FrameType(p.Data)
		switch {
		case flags.Has(av.Key | av.Open):
			c.open++
		case flags.Has(av.Key):
			c.closed++
		}
		switch {
		case kind == 'I' && (!flags.Has(av.Key) || flags.Has(av.Open)):
			c.intra++
		case kind == 'B' && flags.Has(av.Disposable):
			c.plainB++
		case kind == 'B':
			c.refB++
		}
		if flags.Has(av.Leading) {
			c.leading++
		}
	}
}
