package crash

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cleave-video/cleave/index"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/server"
)

// file is an object as it lies in the data folder.
type file struct {
	path string
	size int64
}

// chunks returns the chunk objects of a data folder by key, without opening it as a
// store, which would tidy it.
func chunks(data string) (map[string]*file, error) {
	out := make(map[string]*file)
	err := filepath.WalkDir(data, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // deleted meanwhile
		}
		if err != nil {
			return err
		}
		if e.IsDir() {
			if path != data && (e.Name() == server.IndexDir || e.Name() == server.JournalDir || e.Name()[0] == '.') {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".chunk") {
			return nil
		}
		st, err := e.Info()
		if err != nil {
			return nil //nolint:nilerr // deleted meanwhile
		}
		rel, err := filepath.Rel(data, path)
		if err != nil {
			return err
		}
		var parts []string
		for part := range strings.SplitSeq(filepath.ToSlash(rel), "/") {
			if part[0] != '+' { // of many files
				parts = append(parts, part)
			}
		}
		out[strings.Join(parts, "/")] = &file{path, st.Size()}
		return nil
	})
	return out, err
}

// entries reads a copy of the index in a data folder, as reading it repairs what is
// torn.
func entries(ctx context.Context, data, stream string) (list []index.Entry, err error) {
	dir, err := os.MkdirTemp("", "crash-index-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	from := filepath.Join(data, server.IndexDir)
	if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := os.CopyFS(filepath.Join(dir, "index"), os.DirFS(from)); err != nil {
		return nil, err
	}
	ix, err := indexdisk.Open(filepath.Join(dir, "index"), indexdisk.WithoutSync())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	for e, err := range ix.Range(ctx, stream, time.Time{}, time.Time{}) {
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// object is an opened file as index.ReadDescription takes it.
type object struct {
	*os.File
	size int64
}

func (o object) Size() int64 { return o.size }

// digest returns the digest of a chunk's file, and what is wrong with it.
func digest(key string, f *file) (string, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if _, _, err := index.ReadDescription(object{r, f.size}, key); err != nil {
		return "", err
	}
	h := sha256.New()
	if n, err := io.Copy(h, r); err != nil || n != f.size {
		return "", fmt.Errorf("%d bytes of %d: %w", n, f.size, err)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

// left returns what is in the index and in the store of a data folder.
func left(ctx context.Context, data string) (list []index.Entry, files map[string]*file, err error) {
	if list, err = entries(ctx, data, stream); err == nil {
		files, err = chunks(data)
	}
	return list, files, err
}

// stored returns the entries whose chunk is in the store as they say. Of the others, but
// for gaps, the rule does not hold.
func (m *model) stored(rule string, list []index.Entry, files map[string]*file) (out []*index.Entry) {
	for i := range list {
		e := &list[i]
		if e.Gap && e.Object == "" {
			continue
		}
		if f := files[e.Object]; f == nil || f.size != e.Size {
			m.found(rule, "%s is in the index and not in the store: %+v", e.Object, f)
			continue
		}
		out = append(out, e)
	}
	return out
}

// killed looks at what a killed server has left: what is in its index is committed.
// All objects are read again if all is set, else those that are new.
func (m *model) killed(ctx context.Context, data string, all bool) error {
	list, files, err := left(ctx, data)
	if err != nil {
		return err
	}
	known := make(map[string]*commit)
	for _, c := range m.committed {
		known[c.key] = c
	}
	sums := make(map[string]string)
	for key, f := range files {
		if c := known[key]; c != nil && !all && f.size == c.size {
			sums[key] = c.digest
			continue
		}
		if sums[key], err = digest(key, f); err != nil {
			m.found(ruleTorn, "%s: %v", key, err)
		}
		m.counts.Read++
	}
	seen := make(map[int64]bool)
	for i := range list {
		seen[list[i].Seq] = true
	}
	for _, e := range m.stored(ruleLost, list, files) {
		if m.committed[e.Seq] == nil {
			m.committed[e.Seq] = &commit{e.Object, e.Size, sums[e.Object]}
		}
	}
	for seq, c := range m.committed {
		if !seen[seq] || sums[c.key] != c.digest {
			m.found(ruleLost, "%s: in the index: %v, same bytes: %v", c.key, seen[seq], sums[c.key] == c.digest)
		}
	}
	m.counts.Committed = len(m.committed)
	return nil
}

// started compares index and store of a server that has just started.
func (m *model) started(ctx context.Context, data string) error {
	list, files, err := left(ctx, data)
	if err != nil {
		return err
	}
	m.stored(ruleEqual, list, files)
	for i := range list {
		delete(files, list[i].Object)
	}
	for key := range files {
		m.found(ruleEqual, "%s is in the store and not in the index", key)
	}
	return nil
}
