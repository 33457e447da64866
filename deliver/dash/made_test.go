package dash

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	text "github.com/cleave-video/cleave/format/dash"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/stage"
)

// again is a stage that makes of a video the same, a second later, and fails at one chunk.
type again struct{ fails uint64 }

func (again) Makes(_ string, tracks []av.Track) []stage.Rendition {
	return []stage.Rendition{{Name: "again", Of: slices.IndexFunc(tracks, func(t av.Track) bool { return t.Kind == av.Video })}}
}

func (a again) Run(_ context.Context, o *stage.Object) error {
	time.Sleep(time.Second)
	if o.Chunk.Seq == a.fails {
		return errors.New("fails")
	}
	of := a.Makes("", o.Chunk.Tracks)[0].Of
	o.Made = append(o.Made, stage.Made{Name: "again", Track: o.Chunk.Tracks[of], Packets: slices.Clone(o.Chunk.Runs[of])})
	for i := range o.Made[0].Packets {
		o.Made[0].Packets[i].Data = slices.Clone(o.Made[0].Packets[i].Data)
	}
	return nil
}

// What a stage made is in the AdaptationSet of its source, with the same segments; where it
// has a gap a Period is without it.
func TestMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Part: -1, Stages: []stage.Stage{again{5}}})
		defer r.end()
		r.publish(camera(), nil)
		sleep(20500 * time.Millisecond)
		var reader text.Reader
		m, err := reader.MPD([]byte(r.manifest()))
		if err != nil {
			t.Fatal(err)
		}
		var shape []int
		for i := range m.Stretches {
			if len(m.Stretches[i].Sets) != 2 {
				t.Errorf("%d sets", len(m.Stretches[i].Sets))
			}
			tracks := m.Stretches[i].Sets[0].Tracks
			shape = append(shape, len(tracks))
			if len(tracks) < 2 {
				continue
			}
			if tracks[0].ID != "video0" || tracks[1].ID != "video0-again" {
				t.Errorf("%s, %s", tracks[0].ID, tracks[1].ID)
			}
			one, err1 := reader.Segments(&tracks[0], text.Absent, 0)
			two, err2 := reader.Segments(&tracks[1], text.Absent, 0)
			if err1 != nil || err2 != nil || len(two) < len(one)-1 || len(two) > len(one) {
				t.Fatalf("%d of %d segments: %v, %v", len(two), len(one), err1, err2)
			}
			for k := range two {
				if one[k].Time != two[k].Time || one[k].Dur != two[k].Dur {
					t.Errorf("%d: %+v of %+v", k, two[k], one[k])
				}
				if w := r.do("HEAD", "/cam/"+two[k].URL); w.Code != 200 {
					t.Errorf("%s: %d", two[k].URL, w.Code)
				}
			}
		}
		if !slices.Equal(shape, []int{2, 1, 2}) {
			t.Errorf("%v Representations of video:\n%s", shape, r.manifest())
		}
	})
}
