package disk

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/storetest"
)

func TestDisk(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		d, err := Open(filepath.Join(t.TempDir(), "data"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func TestOpenRemovesWhatWasHalfWritten(t *testing.T) {
	root := t.TempDir()
	d, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(root, tmpDir, "put-1")
	if err := os.WriteFile(half, []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), tmpDir+"/x", bytes.NewReader(nil), 0); err == nil {
		t.Error("a key in the folder for files being written")
	}
	if _, err := Open(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("still there")
	}
}

func TestDeleteRemovesEmptyFolders(t *testing.T) {
	root := t.TempDir()
	d, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"a/b/c", "a/d"} {
		if err := d.Put(t.Context(), k, bytes.NewReader(nil), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Delete(t.Context(), "a/b/c"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "a", "b")); err == nil {
		t.Error("empty folder left")
	}
	if _, err := os.Stat(filepath.Join(root, "a", "d")); err != nil {
		t.Error(err)
	}
}

type buffers struct{ bytes.Reader }

func (*buffers) Buffers() [][]byte { return [][]byte{[]byte("ab"), []byte("c")} }

func TestPutWritesBuffers(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), "k", &buffers{}, 3); err != nil {
		t.Fatal(err)
	}
	o, err := d.Open(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b := make([]byte, 3)
	if _, err := o.ReadAt(b, 0); err != nil || string(b) != "abc" {
		t.Errorf("%q, %v", b, err)
	}
}

// Keys are those that List gives, also where folders, shards and objects are mixed.
func TestKeys(t *testing.T) {
	d, err := Open(t.TempDir(), WithoutSync())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a/0000001023.chunk", "a/0000001024.chunk", "a/0000002048.chunk", "a/0000001500/x", "a/00000020", "a/1", "a/1/2", "b", "a/+", "a/2000", "a/10000", "a.b", "a/0000001024.chunk.more"} {
		err := d.Put(t.Context(), key, bytes.NewReader(nil), 0)
		if err != nil && !errors.Is(err, store.ErrKey) {
			t.Fatal(err)
		}
	}
	for _, prefix := range []string{"", "a", "a/", "a/00000010", "a/1", "b", "c"} {
		var want, got []string
		for info, err := range d.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, info.Key)
		}
		for key, err := range d.Keys(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, key)
		}
		if !slices.Equal(want, got) || !slices.IsSorted(got) {
			t.Errorf("%q: %q, listed are %q", prefix, got, want)
		}
		if prefix == "" && len(got) < 9 {
			t.Errorf("only %q", got)
		}
	}
}
