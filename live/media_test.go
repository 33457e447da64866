package live

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/format/ts"
)

// again is a file that is played several times: each time its tracks are announced
// anew and its times begin again, as when an encoder is started again.
type again struct {
	av.Demuxer
	open  func() av.Demuxer
	times int
}

func (g *again) ReadPacket(a av.Allocator) (av.Packet, error) {
	p, err := g.Demuxer.ReadPacket(a)
	if errors.Is(err, io.EOF) && g.times > 1 {
		g.times--
		g.Demuxer = g.open()
		return g.Demuxer.ReadPacket(a)
	}
	return p, err
}

// What real encoders and cameras made breaks no promise either: uneven rates, GOPs of
// any length, open ones, reordered pictures.
func TestRealSources(t *testing.T) {
	root := os.Getenv("CLEAVE_MEDIA")
	if root == "" {
		t.Skip("CLEAVE_MEDIA is not set: real media are left out")
	}
	n := 0
	for _, pattern := range []string{"mp4/*.mp4", "fmp4/*.mp4", "flv/*.flv", "ts/*.ts"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if info, err := os.Stat(name); err != nil || info.Size() > 6<<20 {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(strings.TrimPrefix(name, root+"/"), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { realSource(t, name, b) })
			})
			n++
		}
	}
	if n < 20 {
		t.Errorf("only %d files", n)
	}
}

func realSource(t *testing.T, name string, b []byte) {
	open := func() av.Demuxer {
		r := strings.NewReader(string(b))
		switch filepath.Ext(name) {
		case ".flv":
			return avtest.Pace(flv.NewDemuxer(r))
		case ".ts":
			return avtest.Pace(ts.NewDemuxer(r))
		}
		return avtest.Pace(mp4.New(r, int64(len(b))))
	}
	h, end := hub(t, Config{Grace: time.Second})
	defer end()
	c := &checkEdges{t: t, off: time.Minute}
	var wg sync.WaitGroup
	wg.Go(func() { watch(h, "cam", c.see) })
	err := h.Publish(t.Context(), "cam", &again{Demuxer: open(), open: open, times: 3})
	wg.Wait()
	if err != nil {
		t.Log(err)
	}
	if len(c.last.Renditions) == 0 {
		return
	}
	parts, listed := 0, 0
	for _, r := range c.last.Renditions {
		for k := range r.Segments {
			parts, listed = parts+len(r.Segments[k].Parts), listed+r.Segments[k].Listed
		}
	}
	t.Logf("%d edges, target duration %d s, PART-TARGET %v, %d of %d parts listed", c.n, c.last.TargetDuration, c.last.PartTarget, listed, parts)
}
