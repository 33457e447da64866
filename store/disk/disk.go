// Package disk is a store.Store in a folder of the local file system.
package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/store"
)

// Disk keeps each object as a file. A file appears under its name by rename, after
// its bytes were synced; the folder is synced after.
type Disk struct {
	root    string
	tmp     *workplace
	minFree int64
	noSync  bool
	// fault, if tests set it, is asked at each point; its error is that point's.
	fault func(p point, path string) error

	// dirs is held for writing while folders are made or removed, so that nobody
	// puts a file into one whose own name is not on the disk yet.
	dirs sync.RWMutex
}

var (
	_ store.Store             = (*Disk)(nil)
	_ store.ConditionalPutter = (*Disk)(nil)
	_ store.KeyLister         = (*Disk)(nil)
	_ store.Filer             = (*object)(nil)
)

// Option changes what Open does.
type Option func(*Disk)

// WithMinFree has Put return store.ErrFull where fewer than n bytes of the file
// system would be left to others.
func WithMinFree(n int64) Option { return func(d *Disk) { d.minFree = n } }

// WithoutSync leaves it to the system when bytes reach the disk. What Put stored
// survives a crash of the process then, but not one of the machine.
func WithoutSync() Option { return func(d *Disk) { d.noSync = true } }

// point is a moment at which a crash or an error is of interest.
type point uint8

const (
	beforeWrite point = iota
	afterWrite
	beforeSync
	afterSync
	beforeRename
	afterRename
	beforeMkdir
	afterMkdir
	beforeSyncDir
	afterSyncDir
	points // how many there are
)

func (d *Disk) at(p point, path string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(p, path)
}

// Open returns a store in root, which is made if need be. What a process that is
// gone left half-written is removed; other processes may use root meanwhile.
func Open(root string, opts ...Option) (*Disk, error) {
	d := &Disk{root: root}
	for _, o := range opts {
		o(d)
	}
	var err error
	if d.tmp, err = openWorkplace(filepath.Join(root, tmpDir)); err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	return d, nil
}

// Put implements store.Store.
func (d *Disk) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	return d.put(ctx, key, body, size, os.Rename)
}

// PutNew implements store.ConditionalPutter.
func (d *Disk) PutNew(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	err := d.put(ctx, key, body, size, os.Link) // which never replaces
	if !errors.Is(err, fs.ErrExist) || errors.Is(err, store.ErrKey) {
		return err
	}
	if same, serr := d.holds(ctx, key, body, size); same || serr != nil {
		return serr
	}
	return fmt.Errorf("%w: %s", store.ErrExist, key)
}

// put writes the object under a temporary name and has name give it its own.
func (d *Disk) put(ctx context.Context, key string, body io.ReaderAt, size int64, name func(from, to string) error) error {
	path, err := d.path(key)
	if err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := d.room(size); err != nil {
		return err
	}
	f, err := os.CreateTemp(d.tmp.dir, "put-*")
	if err != nil {
		return store.Classify(err)
	}
	defer os.Remove(f.Name()) // after a rename there is nothing to remove
	if err := d.fill(ctx, f, body, size); err != nil {
		f.Close()
		return store.Classify(err)
	}
	if err := f.Close(); err != nil {
		return store.Classify(err)
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := d.publish(f.Name(), path, name); err != nil {
		if st, serr := os.Lstat(path); errors.Is(err, unix.ENOTDIR) || serr == nil && st.IsDir() {
			return fmt.Errorf("%w: %q lies below or above another: %w", store.ErrKey, key, err)
		}
		return store.Classify(err)
	}
	return nil
}

// room checks the watermark of free space.
func (d *Disk) room(size int64) error {
	if d.minFree <= 0 {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(d.root, &st); err != nil {
		return store.Classify(fmt.Errorf("disk: statfs %s: %w", d.root, err))
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free-size < d.minFree {
		return fmt.Errorf("%w: disk: %d bytes free, %d to store, %d to be left free", store.ErrFull, free, size, d.minFree)
	}
	return nil
}

// piece is how much is written between two looks at the context.
const piece = 1 << 20

// fill writes the object and brings it to the disk.
func (d *Disk) fill(ctx context.Context, f *os.File, body io.ReaderAt, size int64) error {
	if err := d.at(beforeWrite, f.Name()); err != nil {
		return err
	}
	if err := write(ctx, f, body, size); err != nil {
		return err
	}
	if err := d.at(afterWrite, f.Name()); err != nil {
		return err
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() != size {
		return fmt.Errorf("disk: %w: %d bytes of %d", io.ErrUnexpectedEOF, st.Size(), size)
	}
	return d.sync(f, beforeSync, afterSync)
}

func write(ctx context.Context, f *os.File, body io.ReaderAt, size int64) error {
	if b, ok := body.(store.Buffers); ok {
		for _, buf := range b.Buffers() {
			for len(buf) > 0 {
				n := min(len(buf), piece)
				if _, err := f.Write(buf[:n]); err != nil {
					return err
				}
				buf = buf[n:]
				if err := context.Cause(ctx); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for off := int64(0); off < size; off += piece {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if _, err := io.Copy(f, io.NewSectionReader(body, off, min(piece, size-off))); err != nil {
			return err
		}
	}
	return nil
}

func (d *Disk) sync(f *os.File, before, after point) error {
	if err := d.at(before, f.Name()); err != nil {
		return err
	}
	if !d.noSync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return d.at(after, f.Name())
}

// publish gives the file its name and brings that to the disk.
func (d *Disk) publish(from, to string, name func(from, to string) error) error {
	dir := filepath.Dir(to)
	for tries := 0; ; tries++ {
		err := d.rename(from, to, name)
		if err == nil {
			break
		}
		// Meanwhile Delete may remove the folder again, which was empty.
		if !errors.Is(err, fs.ErrNotExist) || tries > 10 {
			return err
		}
		if err := d.mkdirs(dir); err != nil {
			return err
		}
	}
	return d.syncDir(dir)
}

func (d *Disk) rename(from, to string, name func(from, to string) error) error {
	d.dirs.RLock()
	defer d.dirs.RUnlock()
	if err := d.at(beforeRename, to); err != nil {
		return err
	}
	if err := name(from, to); err != nil {
		return err
	}
	return d.at(afterRename, to)
}

// mkdirs makes dir and those it lies in, and brings the names of new ones to the
// disk before anything is put there.
func (d *Disk) mkdirs(dir string) error {
	d.dirs.Lock()
	defer d.dirs.Unlock()
	return d.mkdir(dir)
}

func (d *Disk) mkdir(dir string) error {
	if err := d.at(beforeMkdir, dir); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.mkdir(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		st, serr := os.Stat(dir)
		if serr == nil && !st.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: unix.ENOTDIR}
		}
		return serr
	}
	if err != nil {
		return err
	}
	if err := d.at(afterMkdir, dir); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(dir))
}

func (d *Disk) syncDir(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the object was deleted at once, and the folder with it
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return d.sync(f, beforeSyncDir, afterSyncDir)
}

// object is an opened file.
type object struct {
	*os.File
	size int64
}

func (o *object) Size() int64 { return o.size }

// Descriptor implements store.Filer.
func (o *object) Descriptor() *os.File { return o.File }

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(b []byte, off int64) (int, error) {
	n, err := o.File.ReadAt(b, off)
	if err != nil && err != io.EOF { //nolint:errorlint // ReadAt never wraps it
		err = store.Classify(err)
	}
	return n, err
}

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
		return nil, store.Classify(err)
	}
	st, err := f.Stat()
	if err == nil && st.IsDir() {
		err = fmt.Errorf("%w: %s", store.ErrNotExist, key)
	}
	if err != nil {
		f.Close()
		return nil, store.Classify(err)
	}
	return &object{f, st.Size()}, nil
}

// holds reports whether the object of that key has the bytes of body.
func (d *Disk) holds(ctx context.Context, key string, body io.ReaderAt, size int64) (bool, error) {
	o, err := d.Open(ctx, key)
	if err != nil {
		return false, err
	}
	defer o.Close()
	if o.Size() != size {
		return false, nil
	}
	mine, theirs := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); off < size; off += int64(len(mine)) {
		n := int(min(int64(len(mine)), size-off))
		if k, err := body.ReadAt(mine[:n], off); k < n {
			return false, err
		}
		if k, err := o.ReadAt(theirs[:n], off); k < n {
			return false, err
		}
		if !bytes.Equal(mine[:n], theirs[:n]) {
			return false, nil
		}
	}
	return true, nil
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
	if st, err := os.Lstat(path); err == nil && st.IsDir() {
		return nil // objects below the key, none of the key
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return store.Classify(err)
	}
	d.dirs.Lock()
	defer d.dirs.Unlock()
	for dir := filepath.Dir(path); strings.HasPrefix(dir, d.root+string(filepath.Separator)); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			break // not empty
		}
	}
	return nil
}
