package cut

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fill makes a folder with files of these names.
func fill(t *testing.T, dir string, names ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestPartialOfOthers: an unfinished folder that is not a cut's, or that another cut is
// writing, is left alone; what a cut that was killed has left is not.
func TestPartialOfOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	notes := filepath.Join(dir+".partial", "notes.txt")
	fill(t, dir+".partial", "notes.txt")
	for _, force := range []bool{false, true} {
		if _, err := newOutput(dir, force); err == nil || !strings.Contains(err.Error(), "left alone") {
			t.Errorf("force %v: %v", force, err)
		}
	}
	if _, err := os.Stat(notes); err != nil {
		t.Fatal(err)
	}
	fill(t, dir+".partial", lockName) // as if a cut had been killed
	o, err := newOutput(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(notes); err == nil {
		t.Error("what was left is still there")
	}
	if _, err := newOutput(dir, true); err == nil || !strings.Contains(err.Error(), "another cut") {
		t.Errorf("two at a time: %v", err)
	}
	fill(t, o.partial, indexName)
	if err := o.commit(); err != nil {
		t.Fatal(err)
	}
	names, err := os.ReadDir(dir)
	if err != nil || len(names) != 1 || names[0].Name() != indexName {
		t.Errorf("%v, %v", names, err)
	}
}

// TestReplace: the folder that was there is gone, and so is the unfinished one.
func TestReplace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	fill(t, dir, indexName, "old")
	if _, err := newOutput(dir, false); err == nil {
		t.Error("it is replaced without being told to")
	}
	o, err := newOutput(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, o.partial, indexName, "new")
	if err := o.commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "new")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{filepath.Join(dir, "old"), filepath.Join(dir, lockName), o.partial} {
		if _, err := os.Stat(name); err == nil {
			t.Error(name, "is there")
		}
	}
}

// TestNamedByPlace: a folder that has no name of its own is refused before the input is
// looked at.
func TestNamedByPlace(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{".", "./", "..", "../..", "a/..", "a/../..", "/", ""} {
		if _, err := Run(t.Context(), config("no-such-input", dir)); err == nil || !strings.Contains(err.Error(), "output") {
			t.Errorf("%q: %v", dir, err)
		}
	}
	if names, err := os.ReadDir("."); err != nil || len(names) > 0 {
		t.Errorf("%v, %v", names, err)
	}
}
