package live

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av/avtest"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/seal/vault"
)

// TestRestoreSealed: an encrypted stream that is shown again has its keys.
func TestRestoreSealed(t *testing.T) {
	for _, scheme := range []seal.Scheme{seal.CBCS, seal.AES128} {
		t.Run(string(scheme), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				st, ix := &memStore{}, indexmem.New()
				journal := t.TempDir()
				part := time.Duration(0)
				if scheme == seal.AES128 {
					part = -1
				}
				run := func() (*Hub, func()) {
					v, err := vault.Open(dir)
					if err != nil {
						t.Fatal(err)
					}
					return hub(t, Config{Store: st, Index: ix, Journal: journal, Part: part, Sealing: all(&Sealing{Scheme: scheme, Vault: v, Supply: seal.Random{}, Chunks: 2})})
				}
				h, end := run()
				if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(20)))); err != nil {
					t.Fatal(err)
				}
				before := h.Lookup("live/cam").Edge()
				end()
				h, end = run()
				defer end()
				if err := h.Recover(t.Context()); err != nil {
					t.Fatal(err)
				}
				s := h.Lookup("live/cam")
				if s == nil {
					t.Fatal("it is not shown")
				}
				for i, r := range s.Edge().Renditions {
					if s.Edge().Sealing == nil || len(r.Segments) < 8 {
						t.Fatalf("%d segments", len(r.Segments))
					}
					for k := range r.Segments {
						got, want := &r.Segments[k], before.Renditions[i].Segment(r.Segments[k].Epoch, r.Segments[k].MSN)
						if want == nil || got.Gap {
							continue
						}
						if got.Sealed == nil || *got.Sealed != *want.Sealed || got.Discontinuity != want.Discontinuity || got.Init != want.Init {
							t.Errorf("%s %d: %+v, was %+v", r.Name, got.MSN, got.Sealed, want.Sealed)
						}
					}
				}
				if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(6)))); err != nil {
					t.Fatal(err)
				}
				o := newOpener(t, s.Sealing().Vault, "live/cam")
				readChunks(t, st, ix, "live/cam", o)
			})
		})
	}
}
