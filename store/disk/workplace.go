package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tmpDir holds a workplace of each process. No key lies in it: path refuses those.
const tmpDir = ".tmp"

// workplace is a folder for files being written, locked while its process lives.
type workplace struct {
	root string // of all workplaces
	dir  string
	lock *os.File // of dir; the system unlocks it when the process ends
}

// openWorkplace clears away the workplaces of processes that are gone and makes a
// new one.
func openWorkplace(root string) (*workplace, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	if err := clearWorkplaces(root); err != nil {
		return nil, err
	}
	for range 10 {
		dir, err := os.MkdirTemp(root, "w-*")
		if err != nil {
			return nil, err
		}
		f, err := lockDir(dir)
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue // taken for abandoned before it was locked
		}
		return &workplace{root: root, dir: dir, lock: f}, nil
	}
	return nil, fmt.Errorf("disk: %s: other processes remove what is made there", root)
}

// lockDir locks a folder; nil without an error if somebody else has, or removed it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil
		}
		return nil, &fs.PathError{Op: "flock", Path: dir, Err: err}
	}
	if _, err := os.Stat(dir); err != nil {
		f.Close()
		return nil, nil //nolint:nilerr // removed between open and lock
	}
	return f, nil
}

// clearWorkplaces removes those that nobody has locked, and what else lies there.
func clearWorkplaces(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(root, e.Name())
		if !e.IsDir() {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		f, err := lockDir(path)
		if err != nil {
			return err
		}
		if f == nil {
			continue // at work
		}
		err = os.RemoveAll(path)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
