package replay_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/deliver/replay"
	"github.com/cleave-video/cleave/deliver/replay/replaytest"
	"github.com/cleave-video/cleave/index"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/live"
	storemem "github.com/cleave-video/cleave/store/mem"
)

// patient is a client that takes its time for each piece.
type patient struct {
	*httptest.ResponseRecorder
	pause time.Duration
}

func (p patient) Write(b []byte) (int, error) {
	time.Sleep(p.pause)
	n, err := p.ResponseRecorder.Write(b)
	return n, err
}

// TestSlowDownload: what a file that is being sent is made of is not deleted before it has
// been sent, unless that takes longer than it lasts.
func TestSlowDownload(t *testing.T) {
	d, err := replaytest.NewDay()
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		const chunks = 200
		ix, st := indexmem.New(), storemem.New(storemem.Config{})
		begin := time.Now().Add(-chunks * 2 * time.Second)
		var list []index.Entry
		for n := range chunks {
			e, b := d.Chunk(n)
			e.Wall = begin.Add(replaytest.Wall(n * replaytest.PerChunk).Sub(replaytest.Wall(0)))
			if err := st.Put(t.Context(), e.Object, bytes.NewReader(b), int64(len(b))); err != nil {
				t.Fatal(err)
			}
			list = append(list, e)
		}
		for i, b := range d.Inits {
			if err := st.Put(t.Context(), replaytest.Name+"/"+list[0].Tracks[i].Init, bytes.NewReader(b), int64(len(b))); err != nil {
				t.Fatal(err)
			}
		}
		if err := ix.AddAll(t.Context(), replaytest.Name, list); err != nil {
			t.Fatal(err)
		}
		hub, err := live.NewHub(live.Config{Store: st, Index: ix, Retention: func(string) *live.Retention { return &live.Retention{Age: chunks * 2 * time.Second} }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- hub.Run(ctx) }()
		synctest.Wait()
		h := replay.New(replay.Config{Hub: hub, Index: ix, Store: st})
		w := patient{httptest.NewRecorder(), 500 * time.Millisecond}
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/"+replaytest.Name+".mp4?from=-390&to=-20", nil))
		if size, err := strconv.Atoi(w.Header().Get("Content-Length")); w.Code != http.StatusOK || err != nil || w.Body.Len() != size {
			t.Errorf("%d, %d of %d bytes, after %v", w.Code, w.Body.Len(), size, time.Since(begin.Add(chunks*2*time.Second)))
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := hub.Close(); err != nil {
			t.Error(err)
		}
	})
}
