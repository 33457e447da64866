package seal

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
)

// Supply gives a stream that does not end its keys, one behind the other. Its method
// may be called by several goroutines at a time.
type Supply interface {
	// Next returns the key behind last, the newest that the stream has had, or the
	// first if last is nil; number is how many it has had. It may block until ctx is
	// done. The error is ErrNoKey if there is none now: later there may be.
	Next(ctx context.Context, stream string, number uint64, last *Key) (Key, error)
}

// Random makes keys.
type Random struct{}

// Next implements Supply.
func (Random) Next(context.Context, string, uint64, *Key) (Key, error) { return newKey(), nil }

func newKey() (k Key) {
	_, _ = rand.Read(k.ID[:]) // never fails
	_, _ = rand.Read(k.Key[:])
	_, _ = rand.Read(k.IV[:])
	return k
}

// File takes keys from a file, which is read each time: keys may be added at its
// end. Every stream gets all of them. See Parse.
type File string

// Next implements Supply. If the file does not have last it returns the first.
func (f File) Next(_ context.Context, _ string, _ uint64, last *Key) (Key, error) {
	list, err := ReadFile(string(f))
	if err != nil {
		return Key{}, err
	}
	n := 0
	if last != nil {
		n = slices.IndexFunc(list, func(k Key) bool { return k.ID == last.ID }) + 1
	}
	if n == len(list) {
		return Key{}, fmt.Errorf("%s: %w behind the %d that are given", string(f), ErrNoKey, n)
	}
	return list[n], nil
}
