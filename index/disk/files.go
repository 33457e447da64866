package disk

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
)

func checksum(b ...[]byte) uint32 {
	crc := uint32(0)
	for _, x := range b {
		crc = crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), x)
	}
	return crc
}

// sealHeader puts the checksum of a header behind it.
func sealHeader(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, checksum(b)) }

// headerOK checks a header that ends in its checksum.
func headerOK(b []byte) bool {
	n := len(b) - 4
	return binary.LittleEndian.Uint32(b[n:]) == checksum(b[:n])
}

const tmpSuffix = ".tmp"

// writeFile brings a file to the disk whole: temporary name, sync, rename, sync of
// the folder.
func (d *Disk) writeFile(path string, parts ...[]byte) error {
	tmp := path + tmpSuffix
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	err = d.fill(f, parts)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.rename(tmp, path)
	}
	if err != nil {
		return errors.Join(err, ignoreNotExist(os.Remove(tmp)))
	}
	return d.syncDir(filepath.Dir(path))
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *Disk) fill(f *os.File, parts [][]byte) error {
	if err := d.at(beforeWrite, f.Name()); err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	if err := d.at(afterWrite, f.Name()); err != nil {
		return err
	}
	return d.sync(f)
}

func (d *Disk) sync(f *os.File) error {
	if err := d.at(beforeSync, f.Name()); err != nil {
		return err
	}
	if !d.noSync {
		if err := datasync(f); err != nil {
			return err
		}
	}
	return d.at(afterSync, f.Name())
}

func (d *Disk) rename(from, to string) error {
	if err := d.at(beforeRename, to); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return d.at(afterRename, to)
}

func (d *Disk) syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := d.at(beforeSyncDir, dir); err != nil {
		return err
	}
	if !d.noSync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return d.at(afterSyncDir, dir)
}

func (d *Disk) remove(path string) error {
	if err := d.at(beforeRemove, path); err != nil {
		return err
	}
	if err := ignoreNotExist(os.Remove(path)); err != nil {
		return err
	}
	return d.at(afterRemove, path)
}

// errMapped says that a mapped file could not be read: the disk failed, or somebody
// made the file shorter.
var errMapped = errors.New("index: mapped file cannot be read")

// copyMapped copies from a mapping, where an error of the disk is a signal.
func copyMapped(dst, src []byte) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(runtime.Error); !ok {
				panic(r)
			}
			err = errMapped
		}
	}()
	copy(dst, src)
	return nil
}
