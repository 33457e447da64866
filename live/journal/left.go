package journal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cleave-video/cleave/index"
)

const suffix = ".parts"

func fileName(id ID) string { return fmt.Sprintf("%010d-%010d%s", id.Epoch, id.Seq, suffix) }

func parseFileName(name string) (id ID, ok bool) {
	n, err := fmt.Sscanf(name, "%d-%d"+suffix, &id.Epoch, &id.Seq)
	return id, n == 2 && err == nil && name == fileName(id)
}

// A mark says that an epoch was begun, in a run of the system with that identity.
func markName(epoch uint32) string { return fmt.Sprintf("%010d.begun", epoch) }

// boot identifies the run of the system: files that are not synced outlive a process,
// not that. Empty: it is not known.
func boot() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Left is what a process has left of a stream.
type Left struct {
	Stream string
	IDs    []ID // of the chunks that have a file, in order

	dir string
}

// Find returns what an earlier process has left of each stream in dir.
func Find(dir string) ([]*Left, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var out []*Left
	for _, e := range entries {
		name := strings.ReplaceAll(e.Name(), "+", "/")
		if !e.IsDir() || index.CheckStream(name) != nil {
			continue
		}
		l := &Left{Stream: name, dir: filepath.Join(dir, e.Name())}
		files, err := os.ReadDir(l.dir)
		if err != nil {
			return nil, fmt.Errorf("journal: %w", err)
		}
		for _, f := range files {
			if id, ok := parseFileName(f.Name()); ok {
				l.IDs = append(l.IDs, id)
			}
		}
		slices.SortFunc(l.IDs, func(a, b ID) int { return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.Epoch, b.Epoch)) })
		out = append(out, l)
	}
	return out, nil
}

// Complete reports whether the process that began an epoch has begun a file here for each
// chunk of it, but for one of which no part had come.
func (l *Left) Complete(epoch uint32) bool {
	b, err := os.ReadFile(filepath.Join(l.dir, markName(epoch)))
	return err == nil && len(b) > 0 && string(b) == boot()
}

// Read returns what there is of a chunk. The error matches *index.CorruptError if the
// file is damaged.
func (l *Left) Read(id ID) (*Chunk, error) {
	path := filepath.Join(l.dir, fileName(id))
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	c, err := Parse(b)
	var damage *index.CorruptError
	if errors.As(err, &damage) {
		damage.Path = path
	}
	if err == nil && c.ID != id {
		return nil, &index.CorruptError{Path: path, Why: "it is of another chunk"}
	}
	return c, err
}

// Clear removes everything, when all that there was is committed or given up.
func (l *Left) Clear() error {
	if err := os.RemoveAll(l.dir); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}
