package disk

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
)

// TestDropWhileRead removes segments under readers: those see no error, entries in
// order, and find what is not dropped.
func TestDropWhileRead(t *testing.T) {
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root, small, WithoutSync())
	list := indextest.Entries(3, 30*index.PerBlock+5)
	for i := 0; i < 30*index.PerBlock; i += index.PerBlock {
		if err := d.AddAll(t.Context(), name, list[i:i+index.PerBlock]); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.streams[name].segs); n != 30 {
		t.Fatalf("%d segments", n)
	}
	for i := 30 * index.PerBlock; i < len(list); i++ {
		if err := d.Add(t.Context(), name, list[i]); err != nil {
			t.Fatal(err)
		}
	}
	d.Close()
	d = open(t, root, small, WithoutSync())
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				last := int64(-1)
				for e, err := range d.Range(t.Context(), name, time.Time{}, time.Time{}) {
					if err != nil || e.Seq <= last {
						t.Errorf("seq %d after %d, %v", e.Seq, last, err)
						return
					}
					last = e.Seq
				}
				if last != list[len(list)-1].Seq {
					t.Errorf("ends with seq %d", last)
				}
				if e, _, err := d.Seek(t.Context(), name, list[len(list)-2].End()); err != nil || e.Seq < list[len(list)-40].Seq {
					t.Errorf("seq %d, %v", e.Seq, err)
				}
			}
		})
	}
	for i := 0; i < len(list)-10; i += index.PerBlock / 2 {
		if err := d.Drop(t.Context(), name, list[i].Wall.Add(time.Millisecond)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	files, err := filepath.Glob(filepath.Join(root, "*", "seg-*"))
	if err != nil || len(files) > 1 {
		t.Errorf("%d segments are left, %v", len(files), err)
	}
}

// A stream of which everything is dropped keeps no file open and no entries in memory, and
// goes on behind its last entry all the same.
func TestDropAll(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "index"), WithoutSync())
	list := indextest.Entries(3, 20)
	for i := range 5 {
		if err := d.AddAll(t.Context(), name, list[4*i:4*i+2]); err != nil {
			t.Fatal(err)
		}
		if err := d.Add(t.Context(), name, list[4*i+2]); err != nil {
			t.Fatal(err)
		}
		s := d.streams[name]
		if s.log == nil {
			t.Error("no log")
		}
		if err := d.Drop(t.Context(), name, list[4*i+2].End()); err != nil {
			t.Fatal(err)
		}
		if s.log != nil || s.view.Load() != nil || s.run.Len() != 0 {
			t.Errorf("turn %d: something is kept", i)
		}
		if e, err := d.Last(t.Context(), name); err != nil || e.Seq != list[4*i+2].Seq {
			t.Errorf("turn %d: the last is %d, %v", i, e.Seq, err)
		}
		if err := index.Pass(t.Context(), d, name, time.Time{}, time.Time{}, func(*index.Entry) bool { return true }); err != nil {
			t.Error(err)
		}
		if err := d.Drop(t.Context(), name, list[4*i+2].End()); err != nil {
			t.Error(err)
		}
		if s.log != nil || s.view.Load() != nil {
			t.Errorf("turn %d: something is kept again, since it was asked for", i)
		}
		if err := d.Add(t.Context(), name, list[4*i+1]); err == nil {
			t.Errorf("turn %d: an entry before the last was taken", i)
		}
		if err := d.Add(t.Context(), name, list[4*i+3]); err != nil {
			t.Fatal(err)
		}
		n := 0
		for e, err := range d.Range(t.Context(), name, time.Time{}, time.Time{}) {
			if n++; err != nil || e.Seq != list[4*i+3].Seq {
				t.Errorf("turn %d: seq %d, %v", i, e.Seq, err)
			}
		}
		if n != 1 {
			t.Errorf("turn %d: %d entries", i, n)
		}
	}
}
