// Package disk is a store.Store in a folder of the local file system.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/store"
)

// Disk keeps each object as a file whose path is its key. A file appears under
// its name by rename, after its bytes were synced; the folder is synced after.
type Disk struct {
	root string
	tmp  string
}

var _ store.Store = (*Disk)(nil)

// tmpDir holds files being written. No key lies in it: path refuses those.
const tmpDir = ".tmp"

// Open returns a store in root, which is made if need be. What an earlier
// process left half-written is removed.
func Open(root string) (*Disk, error) {
	d := &Disk{root: root, tmp: filepath.Join(root, tmpDir)}
	if err := os.RemoveAll(d.tmp); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(d.tmp, 0o755); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	return d, nil
}

func (d *Disk) path(key string) (string, error) {
	if err := store.CheckKey(key); err != nil {
		return "", err
	}
	if key == tmpDir || strings.HasPrefix(key, tmpDir+"/") {
		return "", fmt.Errorf("%w: %q is reserved", store.ErrKey, key)
	}
	return filepath.Join(d.root, filepath.FromSlash(key)), nil
}

// Put implements store.Store.
func (d *Disk) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	f, err := os.CreateTemp(d.tmp, "put-*")
	if err != nil {
		return classify(err)
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	if err := fill(f, body, size); err != nil {
		f.Close()
		return classify(err)
	}
	if err := f.Close(); err != nil {
		return classify(err)
	}
	return classify(publish(f.Name(), path))
}

// fill writes the object and brings it to the disk.
func fill(f *os.File, body io.ReaderAt, size int64) error {
	if b, ok := body.(store.Buffers); ok {
		for _, buf := range b.Buffers() {
			if _, err := f.Write(buf); err != nil {
				return err
			}
		}
	} else if _, err := io.Copy(f, io.NewSectionReader(body, 0, size)); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() != size {
		return fmt.Errorf("disk: %w: %d bytes of %d", io.ErrUnexpectedEOF, st.Size(), size)
	}
	return f.Sync()
}

// publish gives the file its name and brings that to the disk.
func publish(from, to string) error {
	dir := filepath.Dir(to)
	err := os.Rename(from, to)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		err = os.Rename(from, to)
	}
	if err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// classify gives an error of the system the kind that callers act on.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("%w: %w", store.ErrTransient, err)
	}
	return err
}

// object is an opened file.
type object struct {
	*os.File
	size int64
}

func (o *object) Size() int64 { return o.size }

// Open implements store.Store.
func (d *Disk) Open(ctx context.Context, key string) (store.Object, error) {
	path, err := d.path(key)
	if err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("%w: %s", store.ErrNotExist, key)
	}
	if err != nil {
		return nil, classify(err)
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%w: %s", store.ErrNotExist, key)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &object{f, st.Size()}, nil
}

// Delete implements store.Store. Folders that become empty go, too.
func (d *Disk) Delete(ctx context.Context, key string) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return classify(err)
	}
	for dir := filepath.Dir(path); dir != d.root; dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			break // not empty
		}
	}
	return nil
}

// List implements store.Store.
func (d *Disk) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		start := d.root
		if i := strings.LastIndexByte(prefix, '/'); i > 0 {
			start = filepath.Join(d.root, filepath.FromSlash(prefix[:i]))
		}
		err := filepath.WalkDir(start, func(path string, e fs.DirEntry, err error) error {
			if err == nil {
				err = context.Cause(ctx)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone meanwhile
			}
			if err != nil {
				return err
			}
			if e.IsDir() {
				if path == d.tmp {
					return fs.SkipDir
				}
				return nil
			}
			rel, err := filepath.Rel(d.root, path)
			if err != nil {
				return err
			}
			key := filepath.ToSlash(rel)
			if !strings.HasPrefix(key, prefix) {
				return nil
			}
			st, err := e.Info()
			if err != nil {
				return nil //nolint:nilerr // gone meanwhile
			}
			if !yield(store.Info{Key: key, Size: st.Size(), Modified: st.ModTime()}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(store.Info{}, err)
		}
	}
}
