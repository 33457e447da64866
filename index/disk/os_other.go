//go:build !linux

package disk

import "os"

// datasync brings a file's bytes and size to the disk.
func datasync(f *os.File) error { return f.Sync() }

// swap exchanges two folders. A crash between the steps leaves b under another name.
func swap(a, b string) error {
	tmp := b + "+swap"
	if err := os.Rename(b, tmp); err != nil {
		return err
	}
	if err := os.Rename(a, b); err != nil {
		return err
	}
	return os.Rename(tmp, a)
}
