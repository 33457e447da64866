package cut

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// output is a folder that appears under its name only when it is whole.
type output struct {
	dir     string // where it will be
	partial string // where it is written
	lock    *os.File
	force   bool
	done    bool
}

const (
	// indexName is the file by which a folder is known to be cleave's.
	indexName = "chunks.json"
	// lockName is the file by which a folder is known to be an unfinished cut's, which is
	// locked while that runs.
	lockName = ".cleave-cut"
)

// checkName refuses a folder that is named by where it is: what is beside it, and what is
// put in its place, would be inside it.
func checkName(dir string) error {
	if dir == "" {
		return errors.New("cut: no output folder is named")
	}
	switch base := filepath.Base(filepath.Clean(dir)); base {
	case ".", "..", string(filepath.Separator):
		return fmt.Errorf("cut: the output cannot be %s: it is a folder that is made under its name when all of it is written; name one in it, such as %s", dir, filepath.Join(dir, "out"))
	}
	return nil
}

func newOutput(dir string, force bool) (*output, error) {
	if err := checkName(dir); err != nil {
		return nil, err
	}
	dir = filepath.Clean(dir)
	o := &output{dir: dir, partial: dir + ".partial", force: force}
	if err := o.check(); err != nil {
		return nil, err
	}
	if err := o.clear(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.partial, 0o755); err != nil {
		return nil, err
	}
	if err := o.claim(os.O_CREATE); err != nil {
		return nil, err
	}
	return o, nil
}

// clear removes what a run that was killed has left, which is worth nothing, and nothing
// else: neither what another run is writing nor what is not a cut's.
func (o *output) clear() error {
	names, err := os.ReadDir(o.partial)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case len(names) == 0:
		return os.Remove(o.partial)
	}
	if err := o.claim(0); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cut: %s holds other files than an unfinished cut's (no %s); it is left alone: remove it, or write elsewhere", o.partial, lockName)
	} else if err != nil {
		return err
	}
	defer o.lock.Close()
	return os.RemoveAll(o.partial)
}

// claim locks the unfinished folder.
func (o *output) claim(flags int) error {
	f, err := os.OpenFile(filepath.Join(o.partial, lockName), os.O_RDWR|flags, 0o644)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf("cut: another cut is writing to %s", o.partial)
		}
		return fmt.Errorf("cut: lock of %s: %w", o.partial, err)
	}
	o.lock = f
	return nil
}

// check refuses to replace what is not ours.
func (o *output) check() error {
	st, err := os.Stat(o.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !st.IsDir() {
		return fmt.Errorf("cut: %s exists and is not a folder", o.dir)
	}
	names, err := os.ReadDir(o.dir)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(o.dir, indexName)); err != nil {
		return fmt.Errorf("cut: %s holds other files than a cut's (no %s); it is left alone: write elsewhere", o.dir, indexName)
	}
	if !o.force {
		return fmt.Errorf("cut: %s exists; --force replaces it", o.dir)
	}
	return nil
}

// mkdir makes a folder in the output.
func (o *output) mkdir(name string) error { return os.MkdirAll(filepath.Join(o.partial, name), 0o755) }

// plainFile is a file of the output that is being written, by its descriptor: an os.File
// would ask the poller about each of thousands of plain files.
type plainFile int

// create opens a new file of the output.
func (o *output) create(name string) (plainFile, error) {
	name = filepath.Join(o.partial, name)
	fd, err := retry(func() (int, error) {
		return unix.Open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	})
	if err != nil {
		return 0, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return plainFile(fd), nil
}

// Write implements io.Writer.
func (f plainFile) Write(b []byte) (int, error) {
	if err := f.writev([][]byte{b}); err != nil {
		return 0, err
	}
	return len(b), nil
}

// writev writes bufs, which it consumes, by as few calls as the system allows.
func (f plainFile) writev(bufs [][]byte) error {
	for len(bufs) > 0 {
		n, err := retry(func() (int, error) { return unix.Writev(int(f), bufs[:min(len(bufs), 1024)]) })
		if err != nil {
			return err
		}
		for len(bufs) > 0 && n >= len(bufs[0]) {
			n -= len(bufs[0])
			bufs = bufs[1:]
		}
		if n > 0 {
			bufs[0] = bufs[0][n:]
		}
	}
	return nil
}

func (f plainFile) Close() error { return unix.Close(int(f)) }

// retry calls call again as long as a signal interrupts it.
func retry(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// write makes a file of bufs, which it consumes.
func (o *output) write(name string, bufs [][]byte) error {
	return o.fill(name, func(f plainFile) error { return f.writev(bufs) })
}

// stream makes a file of what render writes.
func (o *output) stream(name string, render func(w io.Writer) error) error {
	return o.fill(name, func(f plainFile) error { return render(f) })
}

func (o *output) fill(name string, write func(f plainFile) error) error {
	f, err := o.create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("cut: %s: %w", name, err)
	}
	return f.Close()
}

// writeSecret makes a file that only its owner can read.
func (o *output) writeSecret(name string, b []byte) error {
	f, err := os.OpenFile(filepath.Join(o.partial, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// commit brings all to the disk and gives the folder its name.
func (o *output) commit() error {
	d, err := os.Open(o.partial)
	if err != nil {
		return err
	}
	err = unix.Syncfs(int(d.Fd()))
	d.Close()
	if err != nil {
		return fmt.Errorf("cut: sync of %s: %w", o.partial, err)
	}
	if err := o.check(); err != nil { // it may have appeared meanwhile
		return err
	}
	if err := os.Remove(filepath.Join(o.partial, lockName)); err != nil {
		return err
	}
	if err := o.rename(); err != nil {
		return err
	}
	o.done = true
	o.lock.Close()
	parent, err := os.Open(filepath.Dir(o.dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// rename gives the folder its name. One that is there is replaced at one stroke, where the
// file system can.
func (o *output) rename() error {
	err := unix.Renameat2(unix.AT_FDCWD, o.partial, unix.AT_FDCWD, o.dir, unix.RENAME_EXCHANGE)
	if err == nil {
		return os.RemoveAll(o.partial) // what was there
	}
	if !errors.Is(err, unix.ENOENT) { // it is there, and cannot be exchanged
		if err := os.RemoveAll(o.dir); err != nil {
			return err
		}
	}
	return os.Rename(o.partial, o.dir)
}

// abandon removes what was written, unless it was committed.
func (o *output) abandon() {
	if !o.done {
		os.RemoveAll(o.partial)
		o.lock.Close()
	}
}
