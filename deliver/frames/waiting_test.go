package frames

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/live"
)

// Where no request may wait any more, those that are answered at once are.
func TestWithoutPlaceToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Waiting: 1}, endless)
		defer r.end()
		pass(5*time.Second + 10*time.Millisecond)
		leave, err := r.hub.Wait("192.0.2.1:1")
		if err != nil {
			t.Fatal(err)
		}
		f := frameOf(t, r.get("/cam/frames"))
		if g := frameOf(t, r.get("/cam/frames?after="+strconv.FormatInt(f.PTS-10*frameDur, 10))); g.PTS > f.PTS {
			t.Errorf("%+v", g)
		}
		if w := r.get("/cam/frames?after=" + strconv.FormatInt(f.PTS, 10)); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		leave()
		frameOf(t, r.get("/cam/frames?after="+strconv.FormatInt(f.PTS, 10)))
		if w := r.hub.Waiting(); w.In != 0 || w.Refused != 1 {
			t.Errorf("%+v", w)
		}
	})
}
