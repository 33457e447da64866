package replay_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cleave-video/cleave/deliver/replay"
	"github.com/cleave-video/cleave/deliver/replay/replaytest"
	"github.com/cleave-video/cleave/index"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/store"
)

// held is a store whose objects open when it is let go.
type held struct {
	replaytest.Store
	free <-chan struct{}
	n    atomic.Int64 // that wait to be opened
}

func (h *held) Open(ctx context.Context, key string) (store.Object, error) {
	h.n.Add(1)
	defer h.n.Add(-1)
	<-h.free
	return h.Store.Open(ctx, key)
}

// TestExactPlansAtATime: few files are planned to the frame at a time, and the others after
// them.
func TestExactPlansAtATime(t *testing.T) {
	d, err := replaytest.NewDay()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		ix, st := indexmem.New(), &held{Store: replaytest.Store{Day: d}, free: free}
		var list []index.Entry
		for n := range 10 {
			e, _ := d.Chunk(n)
			list = append(list, e)
		}
		if err := ix.AddAll(t.Context(), replaytest.Name, list); err != nil {
			t.Fatal(err)
		}
		hub, err := live.NewHub(live.Config{Store: st, Index: ix, Retention: func(string) *live.Retention { return &live.Retention{} }})
		if err != nil {
			t.Fatal(err)
		}
		h := replay.New(replay.Config{Hub: hub, Index: ix, Store: st})
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				if w := ask(t, h, "/live/day.mp4?exact=1&"+span{100, 400}.query()); w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		if n := st.n.Load(); n != 4 {
			t.Errorf("%d are planned at a time", n)
		}
		close(free)
		all.Wait()
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
}
