package hls

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/live"
)

// Requests that wait have so many places, and those of one address so many of them; what
// can be answered at once needs none, and who has been answered leaves his to others.
func TestWaiting(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  live.Config
		code int
		text string
	}{
		{"all", live.Config{Waiting: 3, WaitingPerAddress: 10}, 503, "too many requests wait: 3"},
		{"one address", live.Config{WaitingPerAddress: 3}, 429, "too many requests wait of one address: 3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, c.cfg)
				defer r.end()
				r.at()
				var wg sync.WaitGroup
				for _, path := range []string{"index.m3u8?_HLS_msn=5", "1-4.4.m4s", "1-4.m4s"} {
					wg.Go(func() {
						if a := r.get(video + path); a.Code != 200 {
							t.Errorf("%s: %d %s", path, a.Code, a.Body)
						}
					})
				}
				synctest.Wait()
				for _, path := range []string{"index.m3u8?_HLS_msn=4&_HLS_part=3", "iframes.m3u8?_HLS_msn=7", "1-4.3.m4s", "1-5.m4s"} {
					a := r.get(video + path)
					if a.Code != c.code || a.took != 0 || a.Header().Get("Retry-After") != "5" || a.Header().Get("Cache-Control") != "no-store" || !strings.Contains(a.Body.String(), c.text) {
						t.Errorf("%s: %d after %v, %v %s", path, a.Code, a.took, a.Header(), a.Body)
					}
				}
				for _, path := range []string{"index.m3u8", "index.m3u8?_HLS_msn=4&_HLS_part=2", "1-4.2.m4s", "1-3.m4s", "iframes.m3u8"} {
					if a := r.get(video + path); a.Code != 200 || a.took != 0 {
						t.Errorf("%s: %d after %v", path, a.Code, a.took)
					}
				}
				if w := r.hub.Waiting(); w.In != 3 || w.Refused != 4 {
					t.Errorf("%+v", w)
				}
				wg.Wait()
				if a := r.get(video + "index.m3u8?_HLS_msn=7"); a.Code != 200 || a.took == 0 {
					t.Errorf("%d after %v %s", a.Code, a.took, a.Body)
				}
				if w := r.hub.Waiting(); w.In != 0 {
					t.Errorf("%+v", w)
				}
			})
		})
	}
}

// A stream that has just begun is waited for in a place, too.
func TestWaitingToBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Waiting: 1})
		defer r.end()
		r.publish()
		var wg sync.WaitGroup
		time.Sleep(time.Millisecond)
		wg.Go(func() {
			if a := r.get("/cam/index.m3u8"); a.Code != 200 || a.took == 0 {
				t.Errorf("%d after %v %s", a.Code, a.took, a.Body)
			}
		})
		synctest.Wait()
		if a := r.get(video + "index.m3u8"); a.Code != 503 || a.took != 0 || a.Header().Get("Retry-After") != "5" {
			t.Errorf("%d after %v %v", a.Code, a.took, a.Header())
		}
		wg.Wait()
	})
}
