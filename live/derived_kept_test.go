package live

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av/avtest"
	indexmem "github.com/cleave-video/cleave/index/mem"
)

// A header that the store did not take while one publisher was there is stored with what
// the next one has.
func TestDerivedHeaderStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ix := &memStore{fail: errors.New("away")}, indexmem.New()
		cfg := plain(&half{})
		cfg.Store, cfg.Index = st, ix
		h, end := hub(t, cfg)
		defer end()
		for range 2 {
			if err := h.Publish(t.Context(), "cam", avtest.Pace(avtest.NewSynthetic(spec(8)))); err != nil {
				t.Error(err)
			}
			st.mu.Lock()
			st.fail = nil
			st.mu.Unlock()
		}
		n := 0
		for e, err := range ix.Range(t.Context(), "cam", time.Time{}, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range e.Tracks {
				if st.get("cam/"+x.Init) == nil {
					t.Errorf("%d: %s of %s is not stored", e.Seq, x.Init, x.Name)
				}
				if !x.Gap {
					n++
				}
			}
		}
		if n < 9 {
			t.Errorf("%d segments are stored", n)
		}
	})
}
