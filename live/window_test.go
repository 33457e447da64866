package live

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av/avtest"
)

// TestListedStaysStored: what any rendition lists, or has listed not long ago, is in the
// store, also when one track often ends before the other, so that its window has more
// chunks.
func TestListedStaysStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := new(memStore)
		h, end := hub(t, Config{Store: st, Window: 10 * time.Second})
		defer end()
		checked := 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			watch(h, "cam", func(e *Edge) {
				for i := range e.Renditions {
					r := &e.Renditions[i]
					for _, list := range [][]Segment{r.Past, r.Segments} {
						for k := range list {
							key, _, ok := list[k].Stored()
							if !ok {
								continue
							}
							if checked++; st.get(key) == nil {
								t.Errorf("%s: segment %d of epoch %d is gone", r.Name, list[k].MSN, list[k].Epoch)
							}
						}
					}
				}
			})
		}()
		short := spec(1)
		short.Audio.Frames = 10
		for range 150 {
			if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(short))); err != nil {
				t.Fatal(err)
			}
		}
		<-done
		if checked == 0 {
			t.Error("nothing was stored")
		}
	})
}

// TestPastIsLongEnough: a segment that has left the playlist stays for the length of that
// and its own.
func TestPastIsLongEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{Window: 10 * time.Second})
		defer end()
		listed := map[int64]time.Time{} // when last
		least := time.Hour
		done := make(chan struct{})
		go func() {
			defer close(done)
			watch(h, "cam", func(e *Edge) {
				if len(e.Renditions) == 0 || e.Ended {
					return
				}
				r := &e.Renditions[0]
				for i := range r.Segments {
					listed[r.Segments[i].MSN] = time.Now()
				}
				for msn, at := range listed {
					if msn < r.first() {
						least = min(least, time.Since(at))
						delete(listed, msn)
					}
				}
			})
		}()
		if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(60)))); err != nil {
			t.Fatal(err)
		}
		<-done
		if least < 12*time.Second || least > 16*time.Second {
			t.Errorf("a segment of 2 s stayed for %v after a playlist of 10 s", least)
		}
	})
}
