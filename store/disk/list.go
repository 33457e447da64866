package disk

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/store"
)

// List implements store.Store. It holds the names of one folder of each level of
// the path in memory, and of chunks, which are many, those of one shard.
func (d *Disk) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return d.list(ctx, prefix, true)
}

// Keys implements store.KeyLister.
func (d *Disk) Keys(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for info, err := range d.list(ctx, prefix, false) {
			if !yield(info.Key, err) {
				return
			}
		}
	}
}

// list yields the objects, with nothing but their keys unless stat is set.
func (d *Disk) list(ctx context.Context, prefix string, stat bool) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		start := ""
		if i := strings.LastIndexByte(prefix, '/'); i > 0 {
			if start = prefix[:i]; store.CheckKey(start) != nil {
				return // no key begins so
			}
		}
		w := &walker{d, prefix, stat, yield}
		if _, err := w.walk(ctx, start); err != nil {
			yield(store.Info{}, store.Classify(err))
		}
	}
}

// walker is a listing under way.
type walker struct {
	d      *Disk
	prefix string
	stat   bool
	yield  func(store.Info, error) bool
}

// walk yields the objects below the folder of key dir; false ends it.
func (w *walker) walk(ctx context.Context, dir string) (bool, error) {
	d, prefix := w.d, w.prefix
	key, path := "", filepath.Join(d.root, filepath.FromSlash(dir))
	if dir != "" {
		key = dir + "/"
	}
	todo, err := readItems(path)
	if err != nil {
		return false, err
	}
	for len(todo) > 0 {
		if err := context.Cause(ctx); err != nil {
			return false, err
		}
		it := &todo[0]
		todo = todo[1:]
		name := key + it.order
		switch {
		case it.shard:
			more, err := readItems(it.path)
			if err != nil {
				return false, err
			}
			todo = merge(more, todo)
		case it.entry.IsDir():
			if it.path == d.tmp.root || !strings.HasPrefix(name, prefix) && !strings.HasPrefix(prefix, name) {
				continue
			}
			if more, err := w.walk(ctx, strings.TrimSuffix(name, "/")); !more || err != nil {
				return more, err
			}
		case strings.HasPrefix(name, prefix) && !w.stat:
			if !w.yield(store.Info{Key: name}, nil) {
				return false, nil
			}
		case strings.HasPrefix(name, prefix):
			st, err := it.entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // gone meanwhile
			}
			if err != nil {
				return false, err
			}
			if !w.yield(store.Info{Key: name, Size: st.Size(), Modified: st.ModTime()}, nil) {
				return false, nil
			}
		}
	}
	return true, nil
}

// item is an entry of a folder. Its place is that of the keys it stands for.
type item struct {
	order string // a folder's ends in "/", as its keys go on
	path  string // of a folder
	shard bool
	entry fs.DirEntry
}

// before orders items: by order, a shard before its equal.
func before(a, b *item) int {
	switch c := strings.Compare(a.order, b.order); {
	case c != 0 || a.shard == b.shard:
		return c
	case a.shard:
		return -1
	}
	return 1
}

func byOrder(a, b item) int { return before(&a, &b) }

// merge returns two lists in order as one. Nearly always all of a comes first.
func merge(a, b []item) []item {
	inOrder := len(a) == 0 || len(b) == 0 || before(&a[len(a)-1], &b[0]) <= 0
	a = append(a, b...)
	if !inOrder {
		slices.SortFunc(a, byOrder)
	}
	return a
}

// readItems returns the entries of a folder, in order.
func readItems(path string) ([]item, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil // gone meanwhile, or never there
	}
	if err != nil {
		return nil, err
	}
	out := make([]item, 0, len(entries))
	for _, e := range entries {
		it := item{order: e.Name(), entry: e}
		if e.IsDir() {
			it.path = filepath.Join(path, e.Name())
		}
		switch {
		case e.IsDir() && e.Name()[0] == shardMark:
			least, ok := leastIn(e.Name())
			if !ok {
				continue // not ours
			}
			it.order, it.shard = least, true
		case e.IsDir():
			it.order += "/"
		}
		out = append(out, it)
	}
	slices.SortFunc(out, byOrder)
	return out, nil
}
