package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
	"github.com/cleave-video/cleave/store"
)

const name = "live/cam1"

func all(t *testing.T, d *Disk) ([]index.Entry, error) {
	t.Helper()
	var list []index.Entry
	for e, err := range d.Range(t.Context(), name, time.Time{}, time.Time{}) {
		if err != nil {
			return list, err
		}
		list = append(list, e)
	}
	return list, nil
}

// prefix checks that got is the first entries of list, and between low and high of them.
func prefix(t *testing.T, when string, got, list []index.Entry, low, high int) {
	t.Helper()
	if len(got) < low || len(got) > high {
		t.Errorf("%s: %d entries, want %d to %d", when, len(got), low, high)
		return
	}
	for i := range got {
		if got[i].Seq != list[i].Seq || got[i].Digest != list[i].Digest || got[i].Size != list[i].Size {
			t.Errorf("%s: entry %d is another", when, i)
			return
		}
	}
}

func copyTree(t *testing.T, from, to string, change func(path string, b []byte) []byte) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, path)
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if b = change(path, b); b == nil {
			return nil
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// crasher knows what of an index is certain to be on the disk. At each point it
// makes the states in which a crash could leave it.
type crasher struct {
	t       *testing.T
	root    string
	list    []index.Entry
	acked   int // entries that Add returned for
	dropped int // entries that may be dropped
	synced  map[string]int64
	named   map[string]bool
	states  int
}

// track notes what a point says of a file.
func (c *crasher) track(p point, path string) {
	switch p {
	case afterSync:
		if st, err := os.Stat(path); err == nil {
			c.synced[path] = st.Size()
		}
	case afterRename:
		c.synced[path] = c.synced[path+tmpSuffix]
		delete(c.synced, path+tmpSuffix)
	case afterSyncDir:
		entries, _ := os.ReadDir(path)
		for _, e := range entries {
			c.named[filepath.Join(path, e.Name())] = true
		}
	}
}

func (c *crasher) at(p point, path string) error {
	c.track(p, path)
	if n := c.acked % index.PerBlock; n > 3 && n < index.PerBlock-2 {
		return nil // nothing happens there that does not elsewhere
	}
	for _, lose := range []bool{false, true} {
		c.check(fmt.Sprintf("%d added, point %d, %s, lose %v", c.acked, p, filepath.Base(path), lose), lose)
	}
	return nil
}

// after returns what a crash leaves of a file; nil if it leaves none.
func (c *crasher) after(path string, b []byte) []byte {
	if !c.named[path] {
		return nil
	}
	if n := c.synced[path]; n < int64(len(b)) {
		b = b[:n+(int64(len(b))-n)/2] // half of what was not synced
	}
	return b
}

func (c *crasher) check(when string, lose bool) {
	t := c.t
	dir := filepath.Join(t.TempDir(), "index")
	copyTree(t, c.root, dir, func(path string, b []byte) []byte {
		if lose {
			return c.after(path, b)
		}
		return b
	})
	c.states++
	r, err := Open(dir, WithoutSync())
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer r.Close()
	got, err := all(t, r)
	if err != nil {
		t.Errorf("%s: %v", when, err)
		return
	}
	skip := 0
	if len(got) > 0 {
		for ; c.list[skip].Seq != got[0].Seq; skip++ {
		}
	}
	if skip > c.dropped {
		t.Errorf("%s: begins with entry %d, %d were dropped", when, skip, c.dropped)
		return
	}
	prefix(t, when, got, c.list[skip:], c.acked-skip, c.acked+1-skip)
	// It goes on from there.
	if next := skip + len(got); next < len(c.list) {
		if err := r.Add(t.Context(), name, c.list[next]); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}

// TestCrash crashes at every point of writing logs and segments and of dropping:
// with all that was written, and with only what was synced. All that Add returned
// for is there, and nothing but the entry under way besides.
func TestCrash(t *testing.T) {
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root, small, WithoutSync())
	c := &crasher{t: t, root: root, list: indextest.Entries(1, 3*index.PerBlock+5), synced: map[string]int64{}, named: map[string]bool{}}
	d.fault = c.at
	for i := range c.list {
		if err := d.Add(t.Context(), name, c.list[i]); err != nil {
			t.Fatal(err)
		}
		c.acked++
		if i == 2*index.PerBlock+1 {
			c.dropped = index.PerBlock + 10
			if err := d.Drop(t.Context(), name, c.list[c.dropped].Wall.Add(time.Millisecond)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d states", c.states)
	if c.states < 100 {
		t.Errorf("only %d states", c.states)
	}
}

// TestReplaceCrash crashes at every point of replacing a stream's entries: the old ones
// are there, or the new ones, and the state in both cases. Then each point fails.
func TestReplaceCrash(t *testing.T) {
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root, small, WithoutSync())
	list := indextest.Entries(4, 2*index.PerBlock+20)
	if err := d.AddAll(t.Context(), name, list[:index.PerBlock+30]); err != nil {
		t.Fatal(err)
	}
	if err := d.SetState(t.Context(), name, indextest.State()); err != nil {
		t.Fatal(err)
	}
	fresh := list[20:]
	states := 0
	look := func(when, dir string) {
		r := open(t, dir, WithoutSync())
		got, err := all(t, r)
		if err != nil {
			t.Errorf("%s: %v", when, err)
			return
		}
		if want := list[:index.PerBlock+30]; len(got) == len(want) {
			prefix(t, when, got, want, len(want), len(want))
		} else {
			prefix(t, when, got, fresh, len(fresh), len(fresh))
		}
		if s, err := r.State(t.Context(), name); err != nil || s.Epoch != indextest.State().Epoch {
			t.Errorf("%s: %+v, %v", when, s, err)
		}
	}
	d.fault = func(p point, path string) error {
		dir := filepath.Join(t.TempDir(), "index")
		copyTree(t, root, dir, func(_ string, b []byte) []byte { return b })
		states++
		look(fmt.Sprintf("point %d, %s", p, path), dir)
		return nil
	}
	if err := d.Replace(t.Context(), name, fresh); err != nil {
		t.Fatal(err)
	}
	if states < 10 {
		t.Errorf("only %d states", states)
	}
	for p := range points {
		hit := false
		d.fault = func(at point, path string) error {
			if at != p {
				return nil
			}
			hit = true
			return &fs.PathError{Op: "test", Path: path, Err: unix.EIO}
		}
		err := d.Replace(t.Context(), name, list[:index.PerBlock+30])
		d.fault = nil
		if got, rerr := all(t, d); rerr != nil || hit && err == nil && len(got) != index.PerBlock+30 || err != nil && len(got) != len(fresh) && len(got) != index.PerBlock+30 {
			t.Errorf("point %d: hit %v, %v: %d entries, %v", p, hit, err, len(got), rerr)
		}
	}
}

// TestFaults has each point fail at each time it is met: Add says so or does not,
// and what it returned for is there after that and after opening anew.
func TestFaults(t *testing.T) {
	for p := range points {
		for _, errno := range []error{unix.EIO, unix.ENOSPC} {
			for met := range 6 {
				testFault(t, p, errno, met)
			}
		}
	}
}

func testFault(t *testing.T, p point, errno error, met int) {
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root, small, WithoutSync())
	list := indextest.Entries(2, 2*index.PerBlock+20)
	if err := d.AddAll(t.Context(), name, list[:index.PerBlock-2]); err != nil {
		t.Fatal(err)
	}
	d.fault = func(at point, path string) error {
		if at != p {
			return nil
		}
		if met--; met == -1 {
			return &fs.PathError{Op: "test", Path: path, Err: errno}
		}
		return nil
	}
	when := fmt.Sprintf("point %d, %v, time %d", p, errno, met)
	added := index.PerBlock - 2
	for added < len(list) {
		k := min(added+1, len(list))
		if added > index.PerBlock+20 {
			k = len(list)
		}
		err := d.AddAll(t.Context(), name, list[added:k])
		if err == nil {
			added = k
			continue
		}
		if kind := map[error]error{unix.EIO: store.ErrTransient, unix.ENOSPC: store.ErrFull}[errno]; !errors.Is(err, kind) {
			t.Fatalf("%s: %v", when, err)
		}
		got, err := all(t, d)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		prefix(t, when, got, list, added, added)
	}
	if err := d.Drop(t.Context(), name, list[0].Wall); err != nil {
		t.Logf("%s: Drop: %v", when, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	r := open(t, root, WithoutSync())
	got, err := all(t, r)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	prefix(t, when+", opened anew", got, list, len(list), len(list))
}
