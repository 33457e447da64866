package hls

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/live"
)

// visits is a Demand of the name "cam".
type visits struct {
	now, all, started atomic.Int32
	begin             func()
}

func (v *visits) Has(name string) bool { return name == "cam" }

func (v *visits) Visit(string) (leave func()) {
	v.now.Add(1)
	v.all.Add(1)
	return func() { v.now.Add(-1) }
}

func (v *visits) Start(context.Context, string) error {
	if v.started.Add(1) == 1 {
		v.begin()
	}
	return nil
}

// Playlists start a source and media do not; every request counts as long as it lasts.
func TestOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		v := &visits{begin: func() {
			r.publish()
			synctest.Wait()
		}}
		r.hub.SetDemand(v)
		for path, code := range map[string]int{"/cam/video0/1-0.m4s": 404, "/cam/video0/init-0.mp4": 404, "/dog/index.m3u8": 404, "/cam/x": 404} {
			if w := r.get(path); w.Code != code || v.started.Load() > 0 || v.now.Load() > 0 {
				t.Errorf("%s: %d, %d started", path, w.Code, v.started.Load())
			}
		}
		if w := r.get("/cam/index.m3u8"); w.Code != 200 || v.started.Load() != 1 || v.now.Load() != 0 {
			t.Errorf("%d, %d started", w.Code, v.started.Load())
		}
		w := r.get(video + "index.m3u8")
		if w.Code != 200 || v.started.Load() != 2 {
			t.Fatalf("%d, %d started", w.Code, v.started.Load())
		}
		before := v.all.Load()
		segment := video + w.Body.String()[strings.LastIndex(w.Body.String(), "\n1-")+1:]
		segment, _, _ = strings.Cut(segment, "\n")
		if w := r.get(segment); w.Code != 200 || v.all.Load() != before+1 || v.started.Load() != 2 {
			t.Errorf("%s: %d, %d visits", segment, w.Code, v.all.Load())
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.get(video + "index.m3u8?_HLS_msn=2")
		}()
		time.Sleep(time.Millisecond)
		if v.now.Load() != 1 {
			t.Errorf("while a request waits: %d viewers", v.now.Load())
		}
		<-done
		if v.now.Load() != 0 {
			t.Errorf("%d viewers", v.now.Load())
		}
	})
}
