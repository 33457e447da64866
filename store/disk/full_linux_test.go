package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/store"
)

// TestFullFileSystem fills a small file system: Put says so, what was stored stays,
// and there is room again after a Delete.
func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d, err := Open(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("x"), 300<<10)
	put := func(i int) error {
		return d.Put(t.Context(), fmt.Sprintf("a/%d", i), bytes.NewReader(body), int64(len(body)))
	}
	n := 0
	for err = put(0); err == nil && n < 100; err = put(n) {
		n++
	}
	if !errors.Is(err, store.ErrFull) || n < 5 {
		t.Fatalf("after %d: %v", n, err)
	}
	if left, err := os.ReadDir(d.tmp.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	seen := 0
	for info, err := range d.List(t.Context(), "") {
		if err != nil || info.Size != int64(len(body)) {
			t.Errorf("%+v, %v", info, err)
		}
		seen++
	}
	if seen != n {
		t.Errorf("%d objects, %d were stored", seen, n)
	}
	if err := d.Delete(t.Context(), "a/0"); err != nil {
		t.Fatal(err)
	}
	if err := put(n); err != nil {
		t.Errorf("after Delete: %v", err)
	}
	if d, err = Open(filepath.Join(dir, "data"), WithMinFree(1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := put(n + 1); !errors.Is(err, store.ErrFull) {
		t.Errorf("below the watermark: %v", err)
	}
}
