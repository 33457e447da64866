package index_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
)

// sealedEntries change keys every third entry, are now and then in the clear, and
// every fifth is encrypted as a whole.
func sealedEntries(n int) []index.Entry {
	list := indextest.Entries(42, n)
	for i := range list {
		for k := range list[i].Tracks {
			t := &list[i].Tracks[k]
			if i%7 == 6 {
				continue
			}
			t.KeyID = [16]byte{1, byte(i / 3), 15: 9}
			if i%5 == 4 {
				t.IV = [16]byte{2, byte(i), byte(k)}
			}
		}
	}
	return list
}

// TestSealedEntries: keys and vectors are read as they were written, from every
// prefix whole entries, and from golden files what earlier versions wrote.
func TestSealedEntries(t *testing.T) {
	list := sealedEntries(20)
	b, ends := encode(list)
	got, err := decode(b)
	if d := cmp.Diff(list, got); err != nil || d != "" {
		t.Fatalf("%v (-want +got):\n%s", err, d)
	}
	for n := range b {
		whole := 0
		for whole < len(ends) && ends[whole] <= n {
			whole++
		}
		if got, _ := decode(b[:n]); len(got) != whole {
			t.Errorf("%d bytes: %d entries, want %d", n, len(got), whole)
		}
	}
	path := filepath.Join("testdata", "golden", "sealed-1.bin")
	want, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		want, err = b, nil
	}
	if err != nil || !bytes.Equal(want, b) {
		t.Errorf("%d bytes are written otherwise than the %d of this version: %v", len(b), len(want), err)
	}
}

// TestSealedDescription: an object says of itself which keys it needs.
func TestSealedDescription(t *testing.T) {
	for _, want := range sealedEntries(10) {
		b := object(&want, "live/cam1")
		want.Size, want.Digest = int64(len(b)), [32]byte{}
		_, got, err := index.ReadDescription(body{bytes.NewReader(b)}, want.Object)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Fatalf("%v (-want +got):\n%s", err, d)
		}
	}
}
