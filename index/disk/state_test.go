package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
	"github.com/cleave-video/cleave/store"
)

// TestStateGolden reads what earlier versions wrote; the file stays for ever.
func TestStateGolden(t *testing.T) {
	golden := filepath.Join("testdata", "golden", "state-1")
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root)
	if err := d.SetState(t.Context(), name, indextest.State()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, dirName(name), stateName)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(golden); errors.Is(err, fs.ErrNotExist) && *update {
		if err := os.WriteFile(golden, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Error("it is written otherwise")
	}
	if err := os.WriteFile(path, want, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := d.State(t.Context(), name)
	if diff := cmp.Diff(indextest.State(), got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// TestStateDamage cuts the file at every byte and changes each: that is an error, and
// no hindrance to write another state.
func TestStateDamage(t *testing.T) {
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root, WithoutSync())
	if err := d.SetState(t.Context(), name, indextest.State()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, dirName(name), stateName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		flipped := append([]byte(nil), whole...)
		flipped[i] ^= 1 << (i % 8)
		for _, b := range [][]byte{whole[:i], flipped} {
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
			var damage *index.CorruptError
			if _, err := d.State(t.Context(), name); !errors.As(err, &damage) {
				t.Errorf("byte %d: %v", i, err)
			}
		}
	}
	if err := d.SetState(t.Context(), name, indextest.State()); err != nil {
		t.Error(err)
	}
}

// TestStateCrash crashes at every point of replacing a state, with all that was written
// and with what was synced: the old one is there, or the new one. Then each point fails.
func TestStateCrash(t *testing.T) {
	root := filepath.Join(t.TempDir(), "index")
	d := open(t, root, WithoutSync())
	c := &crasher{t: t, root: root, synced: map[string]int64{}, named: map[string]bool{}}
	was, is := index.State{Epoch: 1, Next: 5}, index.State{Epoch: 2, Next: 9}
	d.fault = func(p point, path string) error {
		c.track(p, path)
		return nil
	}
	if err := d.SetState(t.Context(), name, was); err != nil {
		t.Fatal(err)
	}
	d.fault = func(p point, path string) error {
		c.track(p, path)
		for _, lose := range []bool{false, true} {
			dir := filepath.Join(t.TempDir(), "index")
			copyTree(t, root, dir, func(path string, b []byte) []byte {
				if lose {
					return c.after(path, b)
				}
				return b
			})
			r := open(t, dir, WithoutSync())
			got, err := r.State(t.Context(), name)
			if err != nil || !cmp.Equal(got, was) && !cmp.Equal(got, is) {
				t.Errorf("point %d, lose %v: %+v, %v", p, lose, got, err)
			}
		}
		return nil
	}
	if err := d.SetState(t.Context(), name, is); err != nil {
		t.Fatal(err)
	}
	for p := range points {
		hit := false
		d.fault = func(at point, path string) error {
			if at != p {
				return nil
			}
			hit = true
			return &fs.PathError{Op: "test", Path: path, Err: unix.ENOSPC}
		}
		err := d.SetState(t.Context(), name, index.State{Epoch: 3})
		d.fault = nil
		if hit != (err != nil) || hit && !errors.Is(err, store.ErrFull) {
			t.Errorf("point %d: hit %v, %v", p, hit, err)
		}
		if got, err := d.State(t.Context(), name); err != nil || got.Epoch < 2 {
			t.Errorf("point %d: %+v, %v", p, got, err)
		}
	}
}
