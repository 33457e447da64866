// Package store keeps whole objects by key: chunks, headers, whatever is
// committed. Nothing half-written is ever seen under a key.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"
)

// Errors that callers act on; those of a Store match them by errors.Is.
var (
	ErrNotExist  = errors.New("store: no such object")
	ErrExist     = errors.New("store: object exists")
	ErrFull      = errors.New("store: full")
	ErrTransient = errors.New("store: try again") // the same call may work later
	ErrCorrupt   = errors.New("store: not the bytes that were put")
	ErrKey       = errors.New("store: not a key")
)

// Store keeps objects. All methods are safe for concurrent use. They return the
// cause of a context that ends, as soon as what they wait for lets them.
type Store interface {
	// Put stores size bytes of body under key, all or nothing, and returns when
	// they will survive a crash. An object of that key is replaced. It may be
	// retried; body is read anew then, and may be read twice in one call, too. A
	// store of folders refuses a key that lies below an object's, and one that
	// others lie below. Errors: ErrKey, ErrFull, ErrTransient, what body returns.
	Put(ctx context.Context, key string, body io.ReaderAt, size int64) error
	// Open returns the object, which the caller must close. Errors: ErrKey,
	// ErrNotExist, ErrTransient.
	Open(ctx context.Context, key string) (Object, error)
	// Delete removes the object; one that does not exist is no error. After a
	// crash it may be there again. Errors: ErrKey, ErrTransient.
	Delete(ctx context.Context, key string) error
	// List yields the objects whose key begins with prefix, in order of the bytes
	// of their keys. What is put or deleted meanwhile may be seen or not. After an
	// error nothing follows. Errors: ErrTransient.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
}

// ConditionalPutter is an optional ability of a Store, with which writers that
// compete for a key find out who was first.
type ConditionalPutter interface {
	// PutNew is Put that returns ErrExist if there is an object of that key. One
	// with the same bytes is success: it is what a retry finds whose first try was
	// stored but not answered. Writers that compete put their name into the body.
	PutNew(ctx context.Context, key string, body io.ReaderAt, size int64) error
}

// KeyLister is an optional ability of a Store that lists keys for less than List does.
type KeyLister interface {
	// Keys yields the keys that List would.
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// PutNew calls s.PutNew if s has that ability, else it returns errors.ErrUnsupported.
func PutNew(ctx context.Context, s Store, key string, body io.ReaderAt, size int64) error {
	if c, ok := s.(ConditionalPutter); ok {
		return c.PutNew(ctx, key, body, size)
	}
	return fmt.Errorf("store: PutNew: %w", errors.ErrUnsupported)
}

// Object is an opened object. Its contents do not change: if it is replaced or
// deleted meanwhile, reads see it as it was, or end with ErrNotExist where a store
// cannot keep it. Reads may end with ErrTransient or ErrCorrupt.
type Object interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// Filer is an optional ability of an Object that is a file, opened for it alone: its
// position is the caller's, who must not close it.
type Filer interface {
	Descriptor() *os.File
}

// Info describes an object in a listing.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time
}

// Buffers is an optional ability of a body given to Put: its bytes, one behind
// the other, so that they can be written without a copy. Put does not change them,
// and does not keep them.
type Buffers interface {
	Buffers() [][]byte
}

// maxKey bounds a key in bytes.
const maxKey = 512

// CheckKey returns ErrKey unless key is a path of 1 to 16 parts of
// [A-Za-z0-9._~-], none of them "." or "..".
func CheckKey(key string) error {
	if len(key) == 0 || len(key) > maxKey {
		return fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	parts := 0
	for part := range strings.SplitSeq(key, "/") {
		parts++
		if part == "" || part == "." || part == ".." || parts > 16 || strings.ContainsFunc(part, notKey) {
			return fmt.Errorf("%w: %q", ErrKey, key)
		}
	}
	return nil
}

func notKey(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("._~-", r)
}
