package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-video/cleave/index"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/index/indextest"
	"github.com/cleave-video/cleave/server"
	storedisk "github.com/cleave-video/cleave/store/disk"
)

// TestIndexRebuild builds the index of a folder of chunks, of which one is damaged.
func TestIndexRebuild(t *testing.T) {
	data := t.TempDir()
	st, err := storedisk.Open(data, storedisk.WithoutSync())
	if err != nil {
		t.Fatal(err)
	}
	put := func(key string, b []byte) {
		if err := st.Put(t.Context(), key, bytes.NewReader(b), int64(len(b))); err != nil {
			t.Fatal(err)
		}
	}
	list := indextest.Entries(1, 30)
	for i := range list {
		e := &list[i]
		last := e.Tracks[len(e.Tracks)-1]
		body := make([]byte, last.Offset+last.Size)
		put(e.Object, index.AppendDescription(body, "live/cam1", e))
	}
	put("live/cam1/init-1.mp4", []byte("no chunk"))
	old, err := indexdisk.Open(filepath.Join(data, server.IndexDir))
	if err != nil {
		t.Fatal(err)
	}
	if err := old.SetState(t.Context(), "live/cam1", indextest.State()); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if got := run([]string{"index", "rebuild", "--data", data}); got != exitDone {
		t.Fatalf("exit code %d", got)
	}
	count := func() int {
		ix, err := indexdisk.Open(filepath.Join(data, server.IndexDir))
		if err != nil {
			t.Fatal(err)
		}
		defer ix.Close()
		n := 0
		for _, err := range ix.Range(t.Context(), "live/cam1", time.Time{}, time.Time{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		return n
	}
	if n := count(); n != 30 {
		t.Errorf("%d entries", n)
	}
	path := filepath.Join(data, list[3].Object)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-20] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := run([]string{"index", "rebuild", "--json", "--data", data}); got != exitFailed {
		t.Errorf("exit code %d with a damaged object", got)
	}
	if n := count(); n != 29 {
		t.Errorf("%d entries", n)
	}
	ix, err := indexdisk.Open(filepath.Join(data, server.IndexDir))
	if err != nil {
		t.Fatal(err)
	}
	defer ix.Close()
	if s, err := ix.State(t.Context(), "live/cam1"); err != nil || s.Next != indextest.State().Next {
		t.Errorf("the state is %+v, %v", s, err)
	}
	if got := run([]string{"index", "rebuild", "--data", data}); got != exitFailed {
		t.Errorf("exit code %d while the index is in use", got)
	}
	if got := run([]string{"index", "rebuild", "--data", filepath.Join(data, "none")}); got != exitUsage {
		t.Errorf("exit code %d without a folder", got)
	}
}
