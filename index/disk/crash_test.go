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

// TestCrash crashes at every point of writing logs and segments and of dropping:
// with all that was written, and with only what was synced. All that Add returned
// for is there, and nothing but the entry under way besides.
func TestCrash(t *testing.T) {
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root, small, WithoutSync())
	list := indextest.Entries(1, 3*index.PerBlock+5)
	acked, dropped := 0, 0
	synced := map[string]int64{} // path to the size that is on the disk
	named := map[string]bool{}
	states := 0
	check := func(when string, lose bool) {
		dir := filepath.Join(t.TempDir(), "index")
		copyTree(t, root, dir, func(path string, b []byte) []byte {
			if !lose {
				return b
			}
			if n := synced[path]; n < int64(len(b)) {
				b = b[:n+(int64(len(b))-n)/2] // half of what was not synced
			}
			if !named[path] {
				return nil
			}
			return b
		})
		states++
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
			for ; list[skip].Seq != got[0].Seq; skip++ {
			}
		}
		if skip > dropped {
			t.Errorf("%s: begins with entry %d, %d were dropped", when, skip, dropped)
			return
		}
		prefix(t, when, got, list[skip:], acked-skip, acked+1-skip)
		// It goes on from there.
		if next := skip + len(got); next < len(list) {
			if err := r.Add(t.Context(), name, list[next]); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
	}
	d.fault = func(p point, path string) error {
		switch p {
		case afterSync:
			if st, err := os.Stat(path); err == nil {
				synced[path] = st.Size()
			}
		case afterRename:
			synced[path] = synced[path+tmpSuffix]
			delete(synced, path+tmpSuffix)
		case afterSyncDir:
			entries, _ := os.ReadDir(path)
			for _, e := range entries {
				named[filepath.Join(path, e.Name())] = true
			}
		}
		if n := acked % index.PerBlock; n > 3 && n < index.PerBlock-2 {
			return nil // nothing happens there that does not elsewhere
		}
		for _, lose := range []bool{false, true} {
			check(fmt.Sprintf("%d added, point %d, %s, lose %v", acked, p, filepath.Base(path), lose), lose)
		}
		return nil
	}
	for i := range list {
		if err := d.Add(t.Context(), name, list[i]); err != nil {
			t.Fatal(err)
		}
		acked++
		if i == 2*index.PerBlock+1 {
			dropped = index.PerBlock + 10
			if err := d.Drop(t.Context(), name, list[dropped].Wall.Add(time.Millisecond)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d states", states)
	if states < 100 {
		t.Errorf("only %d states", states)
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

// logOf returns the log of a stream with n entries, and where its batches end.
func logOf(t *testing.T, n int) (root, path string, ends []int64, list []index.Entry) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "index")
	d := open(t, root, WithoutSync())
	list = indextest.Entries(4, n)
	for i := range list {
		if err := d.Add(t.Context(), name, list[i]); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, d.streams[name].size)
	}
	path = d.streams[name].log.Name()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return root, path, ends, list
}

// TestTornTail cuts the log at every byte: what is left is the whole batches, and
// the index goes on from there.
func TestTornTail(t *testing.T) {
	root, path, ends, list := logOf(t, 4)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range whole {
		for _, zeros := range []bool{false, true} {
			dir := filepath.Join(t.TempDir(), "index")
			copyTree(t, root, dir, func(string, []byte) []byte {
				b := append([]byte{}, whole[:cut]...)
				if zeros { // as where the size was written and the bytes were not
					b = append(b, make([]byte, len(whole)-cut)...)
				}
				return b
			})
			d, err := Open(dir, WithoutSync())
			if err != nil {
				t.Fatal(err)
			}
			got, err := all(t, d)
			var damage *index.CorruptError
			if cut < logHeader {
				if !errors.As(err, &damage) {
					t.Errorf("cut at %d: %v", cut, err)
				}
				d.Close()
				continue
			}
			want := 0
			for want < len(ends) && ends[want] <= int64(cut) {
				want++
			}
			prefix(t, fmt.Sprintf("cut at %d, zeros %v: %v", cut, zeros, err), got, list, want, want)
			if want < len(list) {
				if err := d.Add(t.Context(), name, list[want]); err != nil {
					t.Errorf("cut at %d: %v", cut, err)
				}
			}
			d.Close()
			d, err = Open(dir, WithoutSync())
			if err != nil {
				t.Fatal(err)
			}
			got, err = all(t, d)
			prefix(t, fmt.Sprintf("cut at %d, gone on: %v", cut, err), got, list, min(want+1, len(list)), min(want+1, len(list)))
			d.Close()
		}
	}
}

// TestBitFlips changes each bit of a log: an entry is right or not there, and where
// entries follow behind the damage that is an error, which Repair ends.
func TestBitFlips(t *testing.T) {
	root, path, ends, list := logOf(t, 3)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, bit := range []int{i % 8, (i*5 + 3) % 8} {
			dir := filepath.Join(t.TempDir(), "index")
			copyTree(t, root, dir, func(string, []byte) []byte {
				b := append([]byte(nil), whole...)
				b[i] ^= 1 << bit
				return b
			})
			d, err := Open(dir, WithoutSync())
			if err != nil {
				t.Fatal(err)
			}
			got, err := all(t, d)
			var damage *index.CorruptError
			when := fmt.Sprintf("bit %d of byte %d: %v", bit, i, err)
			intact := 0
			for intact < len(ends) && ends[intact] <= int64(i) {
				intact++
			}
			switch last := len(ends) - 1; {
			case i < logHeader || i < int(ends[last-1]):
				if !errors.As(err, &damage) {
					t.Errorf("%s: damage was not seen", when)
				}
				n, err := d.Repair(t.Context(), name)
				if i < logHeader {
					intact = 0
				}
				if err != nil || n != intact {
					t.Errorf("%s: Repair: %d entries, %v", when, n, err)
				}
				got, err = all(t, d)
				prefix(t, fmt.Sprintf("%s, repaired: %v", when, err), got, list, intact, intact)
				if err := d.Add(t.Context(), name, list[len(list)-1]); err != nil {
					t.Errorf("%s, repaired: %v", when, err)
				}
			default: // the last batch: nobody can tell that it was not torn
				prefix(t, when, got, list, last, last)
			}
			d.Close()
		}
	}
}

// TestSegmentDamage changes bytes all over a segment: reads of what is damaged say
// so, others go on, and Repair keeps the other blocks.
func TestSegmentDamage(t *testing.T) {
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root, func(d *Disk) { d.perSegment = 4 * index.PerBlock })
	list := indextest.Entries(6, 4*index.PerBlock+9)
	if err := d.AddAll(t.Context(), name, list[:4*index.PerBlock]); err != nil {
		t.Fatal(err)
	}
	if err := d.AddAll(t.Context(), name, list[4*index.PerBlock:]); err != nil {
		t.Fatal(err)
	}
	seg := filepath.Base(d.streams[name].segs[0].path)
	d.Close()
	var size int
	copyTree(t, root, filepath.Join(t.TempDir(), "x"), func(path string, b []byte) []byte {
		if filepath.Base(path) == seg {
			size = len(b)
		}
		return b
	})
	for off := 0; off < size; off += 1 + size/150 {
		dir := filepath.Join(t.TempDir(), "index")
		copyTree(t, root, dir, func(path string, b []byte) []byte {
			if filepath.Base(path) == seg {
				b[off] ^= 0x10
			}
			return b
		})
		r := open(t, dir, WithoutSync())
		got, err := all(t, r)
		var damage *index.CorruptError
		if !errors.As(err, &damage) {
			t.Errorf("byte %d: %v", off, err)
		}
		prefix(t, fmt.Sprintf("byte %d", off), got, list, 0, 3*index.PerBlock)
		if e, _, err := r.Seek(t.Context(), name, list[len(list)-2].Wall); err != nil || e.Seq > list[len(list)-2].Seq {
			t.Errorf("byte %d: what is in the log: seq %d, %v", off, e.Seq, err)
		}
		n, err := r.Repair(t.Context(), name)
		header := off < segHeader || off >= size-4*segEntry
		if err != nil || header && n != 9 || !header && n != 3*index.PerBlock+9 {
			t.Errorf("byte %d: Repair: %d entries, %v", off, n, err)
		}
		if got, err := all(t, r); err != nil || len(got) != n {
			t.Errorf("byte %d, repaired: %d entries, %v", off, len(got), err)
		}
		if _, err := os.Stat(filepath.Join(dir, badPrefix+dirName(name), seg)); err != nil {
			t.Errorf("byte %d: the damaged file is not kept: %v", off, err)
		}
	}
}

// TestMappedFileGetsShorter truncates a segment that is mapped: reading it is an
// error, not the end of the process.
func TestMappedFileGetsShorter(t *testing.T) {
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root, func(d *Disk) { d.perSegment = 8 * index.PerBlock })
	list := indextest.Entries(6, 8*index.PerBlock)
	if err := d.AddAll(t.Context(), name, list); err != nil {
		t.Fatal(err)
	}
	if _, err := all(t, d); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.streams[name].segs[0].path, 4096); err != nil {
		t.Fatal(err)
	}
	_, err := all(t, d)
	var damage *index.CorruptError
	if !errors.As(err, &damage) {
		t.Error(err)
	}
}

func TestOneProcess(t *testing.T) {
	root := t.TempDir()
	d := open(t, root)
	if _, err := Open(root); err == nil {
		t.Error("opened twice")
	}
	d.Close()
	if err := d.Add(t.Context(), name, indextest.Entries(1, 1)[0]); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
	open(t, root)
}
