package indextest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cleave-video/cleave/index"
)

// State returns one with every field set.
func State() index.State {
	return index.State{
		Epoch: 7, Begun: 90, First: 71, Next: 108, TargetDuration: 4, PartTarget: 334 * time.Millisecond, Discontinuities: 12, Breaks: []int64{75, 90, 91}, Keys: 4000,
	}
}

// states keeps states beside entries; they outlive Drop, Replace and the process.
func states(t *testing.T, open Open) {
	ix, reopen := open(t)
	c, ok := ix.(index.Catalogue)
	if !ok {
		t.Skip("no index.Catalogue")
	}
	if _, err := c.State(t.Context(), stream); !errors.Is(err, index.ErrNotFound) {
		t.Errorf("none was set: %v", err)
	}
	s := State()
	if err := c.SetState(t.Context(), stream, index.State{Epoch: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetState(t.Context(), stream, s); err != nil {
		t.Fatal(err)
	}
	s.Breaks[0] = 1 // nothing is shared
	if err := c.SetState(t.Context(), stream, index.State{Next: -1}); !errors.Is(err, index.ErrEntry) {
		t.Errorf("a wrong one: %v", err)
	}
	if err := c.SetState(t.Context(), "a//b", State()); !errors.Is(err, index.ErrEntry) {
		t.Errorf("a wrong name: %v", err)
	}
	list := Entries(3, 20)
	add(t, ix, list...)
	if err := ix.Drop(t.Context(), stream, list[9].Wall.Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if r, ok := ix.(index.Replacer); ok {
		if err := r.Replace(t.Context(), stream, list[12:15]); err != nil {
			t.Fatal(err)
		}
	}
	if reopen != nil {
		ix = reopen()
	}
	got, err := ix.(index.Catalogue).State(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "state", got, State())
}

// replace puts other entries in the place of those that were there.
func replace(t *testing.T, open Open) {
	ix, reopen := open(t)
	r, ok := ix.(index.Replacer)
	if !ok {
		t.Skip("no index.Replacer")
	}
	list := Entries(6, 700)
	add(t, ix, list[:600]...)
	kept := append(append([]index.Entry(nil), list[:10]...), list[300:650]...)
	if err := r.Replace(t.Context(), stream, kept); err != nil {
		t.Fatal(err)
	}
	equal(t, "replaced", collect(t, ix, time.Time{}, time.Time{}), kept)
	add(t, ix, list[650])
	if reopen != nil {
		ix = reopen()
		r = ix.(index.Replacer)
	}
	equal(t, "and added to", collect(t, ix, time.Time{}, time.Time{}), append(kept, list[650]))
	if err := r.Replace(t.Context(), stream, []index.Entry{list[1], list[0]}); !errors.Is(err, index.ErrOrder) {
		t.Errorf("in the wrong order: %v", err)
	}
	if err := r.Replace(t.Context(), stream, nil); err != nil {
		t.Fatal(err)
	}
	if got := collect(t, ix, time.Time{}, time.Time{}); len(got) > 0 {
		t.Errorf("%d entries are left", len(got))
	}
	if last, err := ix.Last(t.Context(), stream); err != nil || last.Seq != list[650].Seq {
		t.Errorf("the last one is %d, %v", last.Seq, err)
	}
	if err := r.Replace(t.Context(), "none/there", nil); err != nil {
		t.Errorf("nothing by nothing: %v", err)
	}
	add(t, ix, list[651])
	equal(t, "after all", collect(t, ix, time.Time{}, time.Time{}), list[651:652])
}

// walk goes through what Range gives.
func walk(t *testing.T, open Open) {
	ix, _ := open(t)
	w, ok := ix.(index.Walker)
	if !ok {
		t.Skip("no index.Walker")
	}
	if err := w.Walk(t.Context(), stream, func(*index.Entry) bool { t.Error("there is one"); return false }); err != nil {
		t.Errorf("of no stream: %v", err)
	}
	list := Entries(8, 600)
	add(t, ix, list...)
	if err := ix.Drop(t.Context(), stream, list[299].End()); err != nil {
		t.Fatal(err)
	}
	want := collect(t, ix, time.Time{}, time.Time{})
	n := 0
	err := w.Walk(t.Context(), stream, func(e *index.Entry) bool {
		if n >= len(want) {
			t.Errorf("entry %d: number %d", n, e.Seq)
			return false
		}
		if d := cmp.Diff(want[n], *e, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("entry %d (-want +got):\n%s", n, d)
		}
		n++
		return n < 250
	})
	if err != nil || n != 250 || len(want) < 290 {
		t.Errorf("%d of %d entries, %v", n, len(want), err)
	}
}
