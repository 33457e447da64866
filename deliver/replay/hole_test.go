package replay_test

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver/replay"
	"github.com/cleave-video/cleave/deliver/replay/replaytest"
	"github.com/cleave-video/cleave/index"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/live"
)

// TestExactIntoAHole: a range that ends in a hole has all that was before it, also where
// the hole is so short that what comes behind it is looked at for the last frames; one that
// begins in a hole has all that comes behind it.
func TestExactIntoAHole(t *testing.T) {
	d, err := replaytest.NewDay()
	if err != nil {
		t.Fatal(err)
	}
	ix, st := indexmem.New(), &replaytest.Store{Day: d}
	const hole = 8 * time.Second
	var list []index.Entry
	for n := replaytest.Broken - 10; n < replaytest.Broken+10; n++ {
		e, _ := d.Chunk(n)
		if n >= replaytest.Broken {
			e.Wall = e.Wall.Add(hole - replaytest.Hole)
		}
		list = append(list, e)
	}
	if err := ix.AddAll(t.Context(), replaytest.Name, list); err != nil {
		t.Fatal(err)
	}
	hub, err := live.NewHub(live.Config{Store: st, Index: ix, Retention: func(string) *live.Retention { return &live.Retention{} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hub.Close() })
	h := replay.New(replay.Config{Hub: hub, Index: ix, Store: st})
	end := replaytest.Broken * replaytest.PerChunk // the first frame behind the hole
	gone := replaytest.Wall(end - 1).Add(av.Timebase{Num: replaytest.FrameDur, Den: replaytest.Scale}.Duration(1))
	in := stamp(gone.Add(2 * time.Second))
	checkFile(t, h, "from="+stamp(replaytest.Wall(end-200))+"&to="+in+"&exact=1", span{end - 200, end}, 1)
	checkFile(t, h, "from="+in+"&to="+stamp(gone.Add(hole+4*time.Second+10*time.Millisecond))+"&exact=1", span{end, end + 120}, 2)
}
