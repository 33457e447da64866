package live

import (
	"crypto/sha256"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/index"
	indexmem "github.com/cleave-video/cleave/index/mem"
	storemem "github.com/cleave-video/cleave/store/mem"
)

func entries(t *testing.T, ix index.Index) (out []index.Entry) {
	t.Helper()
	for e, err := range ix.Range(t.Context(), "live/cam", time.Time{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// TestIndex: what is stored is in the index, which names the very bytes of segments
// and key frames; the objects alone give the same index; numbers go on behind it; and
// what retention deletes is in it no longer.
func TestIndex(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, ix := storemem.New(storemem.Config{MaxBytes: 64 << 20}), indexmem.New()
		defer st.Close()
		h, end := hub(t, Config{Store: st, Index: ix, Grace: time.Second, Window: 8 * time.Second})
		if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(6)))); err != nil {
			t.Fatal(err)
		}
		got := entries(t, ix)
		if len(got) != 4 { // of 1 s at the start, then of 2
			t.Fatalf("%d entries: %v", len(got), got)
		}
		edge := h.Lookup("live/cam").Edge()
		for i, e := range got {
			o, err := st.Open(t.Context(), e.Object)
			if err != nil || o.Size() != e.Size || e.Seq != int64(i) || !e.Independent || len(e.Tracks) != 2 || len(e.Keys) == 0 {
				t.Fatalf("entry %d: %+v: %v", i, e, err)
			}
			all, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
			if err != nil || e.Digest != sha256.Sum256(all) {
				t.Errorf("entry %d: digest %x: %v", i, e.Digest, err)
			}
			got[i].Digest = [32]byte{} // an object does not say its own
			for _, tr := range e.Tracks {
				b := make([]byte, 8)
				if _, err := o.ReadAt(b, tr.Offset); err != nil || string(b[4:]) != "styp" {
					t.Errorf("entry %d: %s begins with %q: %v", i, tr.Name, b, err)
				}
				s := edge.Rendition(tr.Name).Segment(e.Epoch, e.Seq)
				if key, off, ok := s.Stored(); !ok || key != e.Object || off != tr.Offset || s.Size != tr.Size || s.Start != tr.Start {
					t.Errorf("entry %d: %s is not the segment: %+v", i, tr.Name, tr)
				}
			}
			for _, k := range e.Keys {
				b := make([]byte, 8)
				if _, err := o.ReadAt(b, k.Offset); err != nil || string(b[4:]) != "moof" && string(b[4:]) != "styp" {
					t.Errorf("entry %d: the key frame at %d begins with %q: %v", i, k.Offset, b, err)
				}
			}
			o.Close()
		}

		again := indexmem.New()
		if _, err := index.Rebuild(t.Context(), st, again, index.RebuildConfig{}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(got, entries(t, again)); d != "" {
			t.Error("rebuilt, it differs:", d)
		}

		// Another server with the same store and index.
		time.Sleep(30 * time.Second)
		end()
		if n := len(entries(t, ix)); n != 0 {
			t.Errorf("%d entries are left of what was deleted", n)
		}
		h, end = hub(t, Config{Store: st, Index: ix})
		if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(4)))); err != nil {
			t.Fatal(err)
		}
		next := entries(t, ix)
		if len(next) == 0 || next[0].Seq <= got[3].Seq || next[0].Epoch <= got[3].Epoch || slices.ContainsFunc(next, func(e index.Entry) bool { return e.Gap }) {
			t.Errorf("it goes on with %+v", next)
		}
		end()
	})
}
