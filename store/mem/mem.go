// Package mem is a store.Store in memory, outside the Go heap and bounded in
// bytes: for the newest chunks, for caches and for tests. What it stored does not
// survive the process.
package mem

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/store"
)

// Config says how much a store keeps and what happens then.
type Config struct {
	// MaxBytes bounds the objects, those that were deleted but are still open
	// included; 0 means mem.DefaultLimit. An object takes up to 64 KiB more than
	// its size, as memory is taken in slabs.
	MaxBytes int64
	// DropOldest makes room for a new object by removing those that were put
	// first. Without it Put returns store.ErrFull.
	DropOldest bool
}

// Mem keeps objects in slabs of a pool of its own.
type Mem struct {
	pool *mem.Pool
	drop bool

	mu      sync.Mutex // guards what follows
	objects map[string]*content
	oldest  *content // a list in order of Put
	newest  *content
}

var (
	_ store.Store             = (*Mem)(nil)
	_ store.ConditionalPutter = (*Mem)(nil)
)

// content is one version of an object. It is never changed.
type content struct {
	key        string
	size       int64
	put        time.Time
	blocks     []*mem.Block // pieceSize bytes each, the last one fewer
	refs       atomic.Int32 // the store's and that of each opened object
	prev, next *content     // neighbours in age; guarded by Mem.mu
}

// pieceSize is the size of a slab that pools keep for reuse.
const pieceSize = 256 << 10

// New returns an empty store. Close gives its memory back.
func New(c Config) *Mem {
	return &Mem{pool: mem.NewPool(c.MaxBytes), drop: c.DropOldest, objects: make(map[string]*content)}
}

// Used returns the bytes taken, which MaxBytes bounds.
func (m *Mem) Used() int64 { return m.pool.InUse() }

// Close removes every object. Opened ones stay until they are closed.
func (m *Mem) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for m.oldest != nil {
		m.remove(m.oldest)
	}
	m.pool.Close()
	return nil
}

// Put implements store.Store.
func (m *Mem) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	n, err := m.read(ctx, key, body, size)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.add(n)
	return nil
}

// PutNew implements store.ConditionalPutter.
func (m *Mem) PutNew(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	n, err := m.read(ctx, key, body, size)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.objects[key]
	if old == nil {
		m.add(n)
		return nil
	}
	defer n.release()
	if old.equal(n) {
		return nil
	}
	return fmt.Errorf("%w: %s", store.ErrExist, key)
}

// read copies an object into slabs; the caller has its one reference.
func (m *Mem) read(ctx context.Context, key string, body io.ReaderAt, size int64) (*content, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	n := &content{key: key, size: size, put: time.Now()}
	n.refs.Store(1)
	dropped := int64(0)
	for off := int64(0); off < size; off += pieceSize {
		if err := context.Cause(ctx); err != nil {
			n.release()
			return nil, err
		}
		k, err := m.block(int(min(pieceSize, size-off)), size, &dropped)
		if err != nil {
			n.release()
			return nil, err
		}
		n.blocks = append(n.blocks, k)
		if got, err := body.ReadAt(k.Bytes(), off); got < len(k.Bytes()) {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			n.release()
			return nil, fmt.Errorf("mem: %d bytes of %d: %w", off+int64(got), size, err)
		}
	}
	if err := context.Cause(ctx); err != nil {
		n.release()
		return nil, err
	}
	return n, nil
}

// block returns n bytes for an object of size. To make room for it at most that
// many bytes are dropped, lest readers who hold everything empty the store.
func (m *Mem) block(n int, size int64, dropped *int64) (*mem.Block, error) {
	for {
		k, err := m.pool.TryNewBlock(n)
		if !errors.Is(err, mem.ErrFull) {
			return k, err
		}
		if !m.drop || *dropped > size || size > m.pool.Limit() {
			return nil, fmt.Errorf("%w: mem: %d bytes taken of %d", store.ErrFull, m.pool.InUse(), m.pool.Limit())
		}
		m.mu.Lock()
		c := m.oldest
		if c != nil {
			m.remove(c)
			*dropped += max(c.size, 1)
		}
		m.mu.Unlock()
		if c == nil {
			return nil, fmt.Errorf("%w: mem: opened objects hold %d bytes of %d", store.ErrFull, m.pool.InUse(), m.pool.Limit())
		}
	}
}

// add takes over the caller's reference of n. m.mu is held.
func (m *Mem) add(n *content) {
	if old := m.objects[n.key]; old != nil {
		m.remove(old)
	}
	m.objects[n.key] = n
	n.prev = m.newest
	if m.newest != nil {
		m.newest.next = n
	} else {
		m.oldest = n
	}
	m.newest = n
}

// remove takes n out of the store. m.mu is held.
func (m *Mem) remove(n *content) {
	delete(m.objects, n.key)
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		m.oldest = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		m.newest = n.prev
	}
	n.prev, n.next = nil, nil
	n.release()
}

func (n *content) release() {
	if n.refs.Add(-1) > 0 {
		return
	}
	for _, k := range n.blocks {
		k.Release()
	}
	n.blocks = nil
}

func (n *content) equal(o *content) bool {
	return n.size == o.size && slices.EqualFunc(n.blocks, o.blocks, func(a, b *mem.Block) bool { return bytes.Equal(a.Bytes(), b.Bytes()) })
}

// Open implements store.Store.
func (m *Mem) Open(ctx context.Context, key string) (store.Object, error) {
	if err := store.CheckKey(key); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.objects[key]
	if n == nil {
		return nil, fmt.Errorf("%w: %s", store.ErrNotExist, key)
	}
	n.refs.Add(1)
	return &object{n: n, size: n.size}, nil
}

// Delete implements store.Store.
func (m *Mem) Delete(ctx context.Context, key string) error {
	if err := store.CheckKey(key); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.objects[key]; n != nil {
		m.remove(n)
	}
	return nil
}

// List implements store.Store. It yields what is there when it begins.
func (m *Mem) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for _, info := range m.infos(prefix) {
			if err := context.Cause(ctx); err != nil {
				yield(store.Info{}, err)
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (m *Mem) infos(prefix string) []store.Info {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []store.Info
	for key, n := range m.objects {
		if strings.HasPrefix(key, prefix) {
			list = append(list, store.Info{Key: key, Size: n.size, Modified: n.put})
		}
	}
	slices.SortFunc(list, func(a, b store.Info) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// object is an opened object.
type object struct {
	size int64
	mu   sync.RWMutex // guards n against Close
	n    *content     // nil when closed
}

// Size implements store.Object.
func (o *object) Size() int64 { return o.size }

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(b []byte, off int64) (int, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.n == nil {
		return 0, fs.ErrClosed
	}
	if off < 0 {
		return 0, fmt.Errorf("mem: offset %d", off)
	}
	read := 0
	for read < len(b) && off < o.size {
		k := copy(b[read:], o.n.blocks[off/pieceSize].Bytes()[off%pieceSize:])
		read += k
		off += int64(k)
	}
	if read < len(b) {
		return read, io.EOF
	}
	return read, nil
}

// Close implements io.Closer.
func (o *object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n != nil {
		o.n.release()
		o.n = nil
	}
	return nil
}
