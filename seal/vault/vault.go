// Package vault keeps the keys that streams are encrypted with, each stream's in a
// file of its own, so that what was stored can be decrypted as long as it is there.
package vault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/seal"
)

// Vault is a folder of keys, which only its owner may read. One process at a time has
// it open. Its methods are safe for concurrent use.
type Vault struct {
	dir string

	mu      sync.Mutex // guards streams
	streams map[string]*Keys
}

// suffix ends the names of files.
const suffix = ".keys"

// Open opens a folder, which is made if it is not there.
func Open(dir string) (*Vault, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// What was half-written when a process ended.
	left, err := filepath.Glob(filepath.Join(dir, "*"+suffix+".tmp"))
	if err != nil {
		return nil, err
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return nil, err
		}
	}
	return &Vault{dir: dir, streams: make(map[string]*Keys)}, nil
}

// Stream returns the keys of a stream, of which there may be none yet. A damaged file is
// a *CorruptError.
func (v *Vault) Stream(name string) (*Keys, error) { return v.open(name, true) }

// Lookup returns the keys of a stream, or nil if it has had none.
func (v *Vault) Lookup(name string) (*Keys, error) { return v.open(name, false) }

func (v *Vault) open(name string, create bool) (*Keys, error) {
	if strings.Contains(name, "+") || name == "" {
		return nil, fmt.Errorf("vault: %w: stream %q", av.ErrInvalid, name)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	k := v.streams[name]
	if k == nil {
		k = &Keys{path: filepath.Join(v.dir, strings.ReplaceAll(name, "/", "+")+suffix), at: make(map[[16]byte]uint64)}
		found, err := k.load()
		if err != nil || !found && !create {
			return nil, err
		}
		v.streams[name] = k
	}
	return k, nil
}

// Keys are those of one stream, in the order of their use. Their methods are safe for
// concurrent use; Add and Forget write to the disk, the others do not wait for them.
type Keys struct {
	path string

	writing sync.Mutex // guards the file, size
	size    int64      // of what is right in it; 0: it is to be written anew

	mu    sync.RWMutex // guards what follows, which changes only under writing, too
	first uint64       // number of list[0]
	list  []seal.Key
	at    map[[16]byte]uint64 // number of each
}

func (k *Keys) load() (found bool, err error) {
	b, err := os.ReadFile(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	first, list, size, err := parse(b)
	if err != nil {
		var damage *CorruptError
		if errors.As(err, &damage) {
			damage.Path = k.path
		}
		return false, err
	}
	k.first, k.list, k.size = first, list, int64(size)
	for i := range list {
		k.at[list[i].ID] = first + uint64(i)
	}
	return true, nil
}

// Count returns how many keys the stream has had.
func (k *Keys) Count() uint64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.first + uint64(len(k.list))
}

// Len returns how many keys are kept.
func (k *Keys) Len() int {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.list)
}

// Find returns the key of that ID.
func (k *Keys) Find(id [16]byte) (seal.Key, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	n, ok := k.at[id]
	if !ok {
		return seal.Key{}, false
	}
	return k.list[n-k.first], true
}

// Newest returns the newest keys, n at most, oldest first.
func (k *Keys) Newest(n int) []seal.Key {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return append([]seal.Key(nil), k.list[max(0, len(k.list)-n):]...)
}

// Add keeps a key and returns when it will survive a crash. A key whose ID or bytes
// the stream has had, as far as they are kept, is refused with av.ErrInvalid. After an
// error it is not there, and may be added again.
func (k *Keys) Add(key seal.Key) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	n := k.first + uint64(len(k.list))
	err := k.refuse(&key)
	if err != nil {
		return err
	}
	if k.size == 0 {
		err = k.replace(k.first, append(k.list[:len(k.list):len(k.list)], key))
	} else {
		err = k.append(appendRecord(nil, &key, n))
	}
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, key)
	k.at[key.ID] = n
	return nil
}

func (k *Keys) refuse(key *seal.Key) error {
	for i := range k.list {
		if have := &k.list[i]; have.ID == key.ID || have.Key == key.Key {
			return fmt.Errorf("vault: %w: key %s is that of number %d, too", av.ErrInvalid, key.Name(), k.first+uint64(i))
		}
	}
	return nil
}

// append puts a record behind what is right in the file.
func (k *Keys) append(b []byte) error {
	f, err := os.OpenFile(k.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err = f.Truncate(k.size); err == nil { // what was torn goes
		_, err = f.WriteAt(b, k.size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		err = errors.Join(err, f.Truncate(k.size))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		k.size += int64(len(b))
	}
	return err
}

// replace writes the file anew: temporary name, sync, rename, sync of the folder.
func (k *Keys) replace(first uint64, list []seal.Key) error {
	b := appendHeader(nil, first)
	for i := range list {
		b = appendRecord(b, &list[i], first+uint64(i))
	}
	k.size = 0
	tmp := k.path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, k.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := syncDir(filepath.Dir(k.path)); err != nil {
		return err
	}
	k.size = int64(len(b))
	return nil
}

func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// leastForgotten is how many keys are given up at a time: each time the file is written
// anew.
const leastForgotten = 64

// Forget gives up the keys before the one of that ID, if they are many.
func (k *Keys) Forget(before [16]byte) error {
	k.writing.Lock()
	defer k.writing.Unlock()
	n, ok := k.at[before]
	gone := int(n - k.first)
	if !ok || gone < leastForgotten {
		return nil
	}
	left := append([]seal.Key(nil), k.list[gone:]...)
	if err := k.replace(n, left); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.list[:gone] {
		delete(k.at, k.list[i].ID)
	}
	k.first, k.list = n, left
	return nil
}
