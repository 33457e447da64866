package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/store"
)

// crasher keeps what of a folder is certain to be on the disk. At each point it
// makes the states in which a crash could leave the folder.
type crasher struct {
	t      *testing.T
	root   string
	synced map[string]bool // paths whose contents are on the disk
	named  map[string]bool // paths whose names are
	states int
	check  func(dir, when string)
}

func (c *crasher) at(p point, path string) error {
	switch p {
	case afterSync:
		c.synced[path] = true
	case afterRename:
		delete(c.named, path)
		c.synced[path] = true // it was when it was still called otherwise
	case afterSyncDir:
		entries, err := os.ReadDir(path)
		if err != nil {
			c.t.Fatal(err)
		}
		for _, e := range entries {
			c.named[filepath.Join(path, e.Name())] = true
		}
	}
	for _, lose := range []bool{false, true} {
		dir := c.t.TempDir()
		c.copy(dir, lose)
		c.states++
		c.check(dir, fmt.Sprintf("point %d, %s, lose %v", p, path, lose))
	}
	return nil
}

// copy makes the state after a crash: with lose, names that were not synced are
// gone with all below them, and contents are half there.
func (c *crasher) copy(to string, lose bool) {
	err := filepath.WalkDir(c.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(c.root, path)
		inTmp := strings.HasPrefix(rel, tmpDir)
		if lose && rel != "." && !inTmp && !c.named[path] {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if lose && !c.synced[path] {
			b = b[:len(b)/2]
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestCrash stores objects and crashes at every point: what Put returned for is
// there, what it did not return for is there whole or not at all.
func TestCrash(t *testing.T) {
	d, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	content := func(key string) []byte { return bytes.Repeat([]byte(key), 100) }
	done, doing := map[string]bool{}, ""
	c := &crasher{t: t, root: d.root, synced: map[string]bool{}, named: map[string]bool{}}
	c.check = func(dir, when string) {
		s, err := Open(dir)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		seen := map[string]bool{}
		for info, err := range s.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			o, err := s.Open(t.Context(), info.Key)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, o.Size())
			_, _ = o.ReadAt(b, 0)
			o.Close()
			if !bytes.Equal(b, content(info.Key)) {
				t.Errorf("%s: %s is torn: %d bytes", when, info.Key, len(b))
			}
			if !done[info.Key] && info.Key != doing {
				t.Errorf("%s: %s was never put", when, info.Key)
			}
			seen[info.Key] = true
		}
		for k := range done {
			if !seen[k] {
				t.Errorf("%s: %s is lost", when, k)
			}
		}
		if left, _ := filepath.Glob(filepath.Join(dir, tmpDir, "*", "*")); len(left) > 0 {
			t.Errorf("%s: Open leaves %q", when, left)
		}
	}
	d.fault = c.at
	for _, key := range []string{"a", "live/cam1/1/0000000001.chunk", "live/cam1/1/0000000002.chunk", "live/cam1/1/0000001024.chunk", "live/cam1/2/0000001025.chunk"} {
		doing = key
		if err := d.Put(t.Context(), key, bytes.NewReader(content(key)), int64(len(content(key)))); err != nil {
			t.Fatal(err)
		}
		done[key] = true
	}
	if c.states < 60 {
		t.Errorf("only %d states were seen", c.states)
	}
}

// TestFaults has each point fail in turn, with each kind of error.
func TestFaults(t *testing.T) {
	kinds := map[error]error{unix.ENOSPC: store.ErrFull, unix.EDQUOT: store.ErrFull, unix.EIO: store.ErrTransient, unix.EMFILE: store.ErrTransient}
	for p := range points {
		for errno, kind := range kinds {
			d, err := Open(filepath.Join(t.TempDir(), "data"))
			if err != nil {
				t.Fatal(err)
			}
			hit := false
			d.fault = func(at point, path string) error {
				if at == p && !hit {
					hit = true
					return &fs.PathError{Op: "test", Path: path, Err: errno}
				}
				return nil
			}
			put := func() error {
				return d.Put(t.Context(), "a/b/2000", bytes.NewReader([]byte("body")), 4)
			}
			if err := put(); !hit || !errors.Is(err, kind) || !errors.Is(err, errno) {
				t.Errorf("point %d, %v: hit %v, %v", p, errno, hit, err)
			}
			if left, _ := filepath.Glob(filepath.Join(d.tmp.dir, "*")); len(left) > 0 {
				t.Errorf("point %d: left %q", p, left)
			}
			if err := put(); err != nil {
				t.Errorf("point %d, tried again: %v", p, err)
			}
			if _, err := d.Open(t.Context(), "a/b/2000"); err != nil {
				t.Errorf("point %d: %v", p, err)
			}
		}
	}
}

func TestMinFree(t *testing.T) {
	root := t.TempDir()
	d, err := Open(root, WithMinFree(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), "k", bytes.NewReader(nil), 0); !errors.Is(err, store.ErrFull) {
		t.Error(err)
	}
	if d, err = Open(root, WithMinFree(1)); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), "k", bytes.NewReader(nil), 0); err != nil {
		t.Error(err)
	}
}

// TestTwoProcesses opens one folder twice, as two processes do: neither takes the
// other's files for abandoned.
func TestTwoProcesses(t *testing.T) {
	root := t.TempDir()
	a, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	var b *Disk
	a.fault = func(p point, _ string) error {
		if p == afterWrite {
			b, err = Open(root)
		}
		return err
	}
	if err := a.Put(t.Context(), "k", bytes.NewReader([]byte("x")), 1); err != nil {
		t.Fatal(err)
	}
	if o, err := b.Open(t.Context(), "k"); err != nil {
		t.Error(err)
	} else {
		o.Close()
	}
}

func TestShard(t *testing.T) {
	for name, want := range map[string]string{
		"1": "", "1023": "", "1024": "+4-1", "0000005000.chunk": "+10-4", "x1024": "", "": "",
		"999999999999999999": "+18-976562499999999", "1234567890123456789": "",
	} {
		got := shard(name)
		if got != want {
			t.Errorf("shard(%q) = %q, want %q", name, got, want)
		}
		if got == "" {
			continue
		}
		if least, ok := leastIn(got); !ok || least > name || shard(least) != got {
			t.Errorf("leastIn(%q) = %q, %v", got, least, ok)
		}
	}
	for _, s := range []string{"+", "+-", "+1", "+x-1", "+4-x", "+99-1"} {
		if least, ok := leastIn(s); ok {
			t.Errorf("leastIn(%q) = %q", s, least)
		}
	}
}

func TestKeysThatFoldersCannotHold(t *testing.T) {
	d, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"a", "a/b"}, {"c/d", "c"}} {
		if err := d.Put(t.Context(), c[0], bytes.NewReader(nil), 0); err != nil {
			t.Fatal(err)
		}
		if err := d.Put(t.Context(), c[1], bytes.NewReader(nil), 0); !errors.Is(err, store.ErrKey) {
			t.Errorf("%s beside %s: %v", c[1], c[0], err)
		}
		if err := d.PutNew(t.Context(), c[1], bytes.NewReader(nil), 0); !errors.Is(err, store.ErrKey) {
			t.Errorf("new %s beside %s: %v", c[1], c[0], err)
		}
		if err := d.Delete(t.Context(), c[1]); err != nil {
			t.Errorf("Delete %s: %v", c[1], err)
		}
	}
}
