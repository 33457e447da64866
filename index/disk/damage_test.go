package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
)

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

// TestBitFlips changes a bit of each byte of a log: an entry is right or not there, and where
// entries follow behind the damage that is an error, which Repair ends.
func TestBitFlips(t *testing.T) {
	root, path, ends, list := logOf(t, 3)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		for _, bit := range []int{i * 5 % 8} {
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
	for off := 0; off < size; off += 1 + size/60 {
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
