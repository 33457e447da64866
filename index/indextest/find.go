package indextest

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cleave-video/cleave/index"
)

// pass: what Pass calls with is what Range yields.
func pass(t *testing.T, open Open) {
	ix, _ := open(t)
	p, ok := ix.(index.Passer)
	if !ok {
		t.Skip("no index.Passer")
	}
	list := Entries(9, 700)
	add(t, ix, list...)
	if err := ix.Drop(t.Context(), stream, list[99].End()); err != nil {
		t.Fatal(err)
	}
	for _, test := range [][2]time.Time{
		{},
		{list[300].Wall, list[301].Wall},
		{list[50].Wall, list[400].End()},
		{list[640].Wall.Add(time.Millisecond), {}},
		{{}, list[120].Wall},
		{list[699].End(), {}},
		{{}, list[0].Wall},
	} {
		want, n := collect(t, ix, test[0], test[1]), 0
		err := p.Pass(t.Context(), stream, test[0], test[1], func(e *index.Entry) bool {
			if n < len(want) {
				if d := cmp.Diff(want[n], *e, cmpopts.EquateEmpty()); d != "" {
					t.Errorf("%v, entry %d (-want +got):\n%s", test, n, d)
				}
			}
			n++
			return true
		})
		if err != nil || n != len(want) {
			t.Errorf("%v: %d entries of %d, %v", test, n, len(want), err)
		}
	}
	n := 0
	if err := p.Pass(t.Context(), stream, time.Time{}, time.Time{}, func(*index.Entry) bool { n++; return n < 3 }); err != nil || n != 3 {
		t.Errorf("it went on to %d, %v", n, err)
	}
	if err := p.Pass(t.Context(), "live/none", time.Time{}, time.Time{}, func(*index.Entry) bool { t.Error("of no stream"); return false }); err != nil {
		t.Error(err)
	}
}

// find: every entry that was not dropped is found by its number, and nothing else.
func find(t *testing.T, open Open) {
	ix, reopen := open(t)
	f, ok := ix.(index.Finder)
	if !ok {
		t.Skip("no index.Finder")
	}
	if _, err := f.Find(t.Context(), stream, 0); !errors.Is(err, index.ErrNotFound) {
		t.Errorf("of no stream: %v", err)
	}
	list := Entries(10, 900)
	add(t, ix, list...)
	if err := ix.Drop(t.Context(), stream, list[399].End()); err != nil {
		t.Fatal(err)
	}
	for {
		left, at := collect(t, ix, time.Time{}, time.Time{}), 0
		for seq := int64(0); seq <= list[len(list)-1].Seq+1; seq++ {
			got, err := f.Find(t.Context(), stream, seq)
			if at < len(left) && left[at].Seq == seq {
				if err != nil {
					t.Fatalf("number %d: %v", seq, err)
				}
				equal(t, "entry", got, left[at])
				at++
			} else if !errors.Is(err, index.ErrNotFound) {
				t.Fatalf("number %d, which is not there: %+v, %v", seq, got, err)
			}
		}
		if at != len(left) || len(left) == 0 {
			t.Errorf("%d of %d were found", at, len(left))
		}
		if reopen == nil {
			return
		}
		ix, reopen = reopen(), nil
		f = ix.(index.Finder)
	}
}
