package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/index"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/index/indextest"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/store/mem"
)

// chunks returns n entries with small objects.
func chunks(seed uint64, name string, n int) (list []index.Entry, objects [][]byte) {
	for _, e := range indextest.Entries(seed, n) {
		for k := range e.Tracks {
			e.Tracks[k].Offset, e.Tracks[k].Size = int64(k*10), 10
		}
		e.Object, e.Size = fmt.Sprintf("%s/%d/%010d.chunk", name, e.Epoch, e.Seq), 20
		b := object(&e, name)
		e.Size, e.Digest = int64(len(b)), [32]byte{}
		list, objects = append(list, e), append(objects, b)
	}
	return list, objects
}

// reconciling is a stream of 40 chunks, of which store and index have what a case says.
type reconciling struct {
	t       *testing.T
	s       *mem.Mem
	ix      index.Index
	list    []index.Entry
	objects [][]byte
}

func (r *reconciling) put(from, to int) {
	for i := from; i < to; i++ {
		if err := r.s.Put(r.t.Context(), r.list[i].Object, bytes.NewReader(r.objects[i]), int64(len(r.objects[i]))); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *reconciling) add(from, to int) {
	for i := from; i < to; i++ {
		if err := r.ix.Add(r.t.Context(), "live/cam1", r.list[i]); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *reconciling) drop(n int) {
	if err := r.ix.Drop(r.t.Context(), "live/cam1", r.list[n-1].End()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reconciling) remove(from, to int) {
	for i := from; i < to; i++ {
		if err := r.s.Delete(r.t.Context(), r.list[i].Object); err != nil {
			r.t.Fatal(err)
		}
	}
}

// equal checks that store and index have these, and only these.
func (r *reconciling) equal(want ...index.Entry) {
	r.t.Helper()
	var got []index.Entry
	for e, err := range r.ix.Range(r.t.Context(), "live/cam1", time.Time{}, time.Time{}) {
		if err != nil {
			r.t.Fatal(err)
		}
		got = append(got, e)
	}
	if d := cmp.Diff(want, got); d != "" {
		r.t.Errorf("(-want +got):\n%s", d)
	}
	n := 0
	for info, err := range r.s.List(r.t.Context(), "live/") {
		if err != nil || !slices.ContainsFunc(want, func(e index.Entry) bool { return e.Object == info.Key && e.Size == info.Size }) {
			r.t.Errorf("in the store: %v, %v", info, err)
		}
		n++
	}
	if n != len(want) {
		r.t.Errorf("%d objects, %d entries", n, len(want))
	}
}

// TestReconcile makes index and store equal after what a crash, and worse, can leave.
func TestReconcile(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(r *reconciling)
		want func(l []index.Entry) []index.Entry
		out  index.Reconciled
	}{
		{"equal", func(r *reconciling) { r.put(0, 40); r.add(0, 40) }, func(l []index.Entry) []index.Entry { return l }, index.Reconciled{Objects: 40, Entries: 40}},
		{"stored and not added", func(r *reconciling) { r.put(0, 40); r.add(0, 37) }, func(l []index.Entry) []index.Entry { return l }, index.Reconciled{Objects: 40, Entries: 40, Adopted: 3}},
		{"no index", func(r *reconciling) { r.put(0, 40) }, func(l []index.Entry) []index.Entry { return l }, index.Reconciled{Objects: 40, Entries: 40, Adopted: 40}},
		{"dropped and not deleted", func(r *reconciling) { r.put(0, 40); r.add(0, 40); r.drop(5); r.remove(0, 3) }, func(l []index.Entry) []index.Entry { return l[5:] }, index.Reconciled{Objects: 37, Entries: 35, Deleted: 2}},
		{"all dropped", func(r *reconciling) { r.put(0, 41); r.add(0, 40); r.drop(40) }, func(l []index.Entry) []index.Entry { return l[40:] }, index.Reconciled{Objects: 41, Entries: 1, Deleted: 40, Adopted: 1}},
		{"objects lost", func(r *reconciling) { r.put(0, 40); r.add(0, 40); r.remove(7, 9) }, func(l []index.Entry) []index.Entry { return append(l[:7:7], l[9:]...) }, index.Reconciled{Objects: 38, Entries: 38, Dropped: 2}},
		{"all lost", func(r *reconciling) { r.add(0, 40) }, func([]index.Entry) []index.Entry { return nil }, index.Reconciled{Dropped: 40}},
		{"a hole in the index", func(r *reconciling) { r.put(0, 40); r.add(0, 10); r.add(13, 38) }, func(l []index.Entry) []index.Entry { return l }, index.Reconciled{Objects: 40, Entries: 40, Adopted: 5}},
		{"both", func(r *reconciling) { r.put(0, 40); r.add(0, 10); r.add(13, 38); r.remove(20, 21) }, func(l []index.Entry) []index.Entry { return append(l[:20:20], l[21:]...) }, index.Reconciled{Objects: 39, Entries: 39, Adopted: 5, Dropped: 1}},
	} {
		for _, kind := range []string{"mem", "disk"} {
			t.Run(c.name+" "+kind, func(t *testing.T) {
				r := &reconciling{t: t, s: mem.New(mem.Config{}), ix: indexmem.New()}
				defer r.s.Close()
				if kind == "disk" {
					ix, err := indexdisk.Open(filepath.Join(t.TempDir(), "index"), indexdisk.WithoutSync())
					if err != nil {
						t.Fatal(err)
					}
					defer ix.Close()
					r.ix = ix
				}
				r.list, r.objects = chunks(3, "live/cam1", 41)
				n := 40
				c.make(r)
				if c.name == "all dropped" {
					n = 41
				}
				got, err := index.Reconcile(t.Context(), r.s, r.ix, nil)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(&c.out, got); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
				r.equal(c.want(r.list[:n])...)
				want := index.Reconciled{Objects: c.out.Entries, Entries: c.out.Entries}
				if again, err := index.Reconcile(t.Context(), r.s, r.ix, nil); err != nil || again.Changed() || !cmp.Equal(&want, again) {
					t.Errorf("again: %+v, %v", again, err)
				}
			})
		}
	}
}

// TestReconcileDamage damages the log of an index in the middle: what was behind it is
// found in the store, and nothing is taken for dropped.
func TestReconcileDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	open := func() *indexdisk.Disk {
		ix, err := indexdisk.Open(dir, indexdisk.WithoutSync())
		if err != nil {
			t.Fatal(err)
		}
		return ix
	}
	ix := open()
	r := &reconciling{t: t, s: mem.New(mem.Config{}), ix: ix}
	defer r.s.Close()
	r.list, r.objects = chunks(3, "live/cam1", 40)
	r.put(0, 40)
	r.add(0, 40)
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "live+cam1", "log-*"))
	if err != nil || len(logs) != 1 {
		t.Fatal(logs, err)
	}
	whole, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{3, 70, len(whole) / 2} { // the header, the first entry, one of the middle
		b := slices.Clone(whole)
		b[at] ^= 4
		if err := os.WriteFile(logs[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		ix := open()
		r.ix = ix
		got, err := index.Reconcile(t.Context(), r.s, r.ix, nil)
		if err != nil || got.Repaired != 1 || got.Entries != 40 || got.Deleted != 0 || got.Adopted == 0 {
			t.Errorf("byte %d: %+v, %v", at, got, err)
		}
		r.equal(r.list...)
		if err := ix.Close(); err != nil {
			t.Fatal(err)
		}
		if logs, err = filepath.Glob(filepath.Join(dir, "live+cam1", "log-*")); err != nil || len(logs) != 1 {
			t.Fatal(logs, err)
		}
	}
}

// TestReconcileOthers passes over what is no chunk, and reports what is damaged.
func TestReconcileOthers(t *testing.T) {
	r := &reconciling{t: t, s: mem.New(mem.Config{}), ix: indexmem.New()}
	defer r.s.Close()
	r.list, r.objects = chunks(3, "live/cam1", 3)
	r.put(0, 2)
	r.add(0, 1)
	r.objects[2][len(r.objects[2])-15] ^= 1
	r.put(2, 3)
	for key, b := range map[string]string{"live/cam1/init-1.mp4": "an initialization section, which is no chunk and longer than a box", "x": ""} {
		if err := r.s.Put(t.Context(), key, bytes.NewReader([]byte(b)), int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
	got, err := index.Reconcile(t.Context(), r.s, r.ix, func(key string) bool { return key == "x" })
	if err != nil || got.Objects != 4 || got.Adopted != 1 || got.Lost != 1 || len(got.Damaged) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := index.Reconcile(t.Context(), failing{r.s}, r.ix, nil); !errors.Is(err, errOpen) {
		t.Errorf("a store that does not answer: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := index.Reconcile(ctx, r.s, r.ix, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
