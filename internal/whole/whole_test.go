package whole

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// What could not be written leaves the older file, and nothing else.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name, link := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := WriteFile(name, text("old")); err != nil {
		t.Fatal(err)
	}
	full := errors.New("full")
	err := WriteFile(name, func(w io.Writer) error {
		_ = text("half")(w)
		return full
	})
	if !errors.Is(err, full) {
		t.Error(err)
	}
	if b, err := os.ReadFile(name); string(b) != "old" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.Symlink("a", link); err != nil {
		t.Skip("no links here: ", err)
	}
	if err := WriteFile(link, text("new")); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(name); string(b) != "new" {
		t.Errorf("%q behind the link", b)
	}
	if list, _ := os.ReadDir(dir); len(list) != 2 {
		t.Errorf("%v", list)
	}
	if err := WriteFile(os.DevNull, text("x")); err != nil {
		t.Error(err)
	}
	if err := WriteFile(filepath.Join(dir, "none", "x"), text("x")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := WriteFile(dir, text("x")); err == nil {
		t.Error("a folder was written to")
	}
}
