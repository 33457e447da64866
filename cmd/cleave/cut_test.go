package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestTableIsNotWritten: a cut whose table cannot be written says so by its exit code, as a
// table and as JSON.
func TestTableIsNotWritten(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	saved := os.Stdout
	defer func() { os.Stdout = saved }()
	os.Stdout = full
	dir := t.TempDir()
	for _, flag := range []string{"--quiet", "--json"} {
		out := filepath.Join(dir, flag)
		if code := run([]string{"cut", "../../format/mp4/testdata/first.mp4", flag, "-o", out}); code != exitFailed {
			t.Errorf("%s: exit %d", flag, code)
		}
		if _, err := os.Stat(filepath.Join(out, "index.m3u8")); err != nil {
			t.Error(err)
		}
	}
}
