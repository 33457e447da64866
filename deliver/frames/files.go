package frames

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/mem"
)

// Folder is a folder whose MP4 files are answered from: DIR/a/b.mp4 as NAME/a/b.mp4.
type Folder struct{ Name, Dir string }

// DefaultIndex is the budget of OpenFiles(…, 0), in bytes.
const DefaultIndex = 64 << 20

// Bounds of stored files.
const (
	maxOpen    = 256     // handles that are kept
	maxLoading = 2       // files whose tables are being read
	maxSamples = 2 << 20 // of a file: nine hours at 60 a second
)

// Files is folders of stored files. Of each file that was asked for it keeps one handle,
// read by position, and its index, which no second request reads again: those asked for
// last, within a budget. A file that has changed is opened anew. Safe for concurrent use.
type Files struct {
	folders []folder // the longest name first
	budget  int64
	loading chan struct{}
	pool    *mem.Pool // of what is read

	mu     sync.Mutex // guards what follows, and of each file what is said there
	open   map[string]*file
	recent list.List // of *file, asked for last first
	bytes  int64     // of their indexes
	closed bool
}

type folder struct {
	name string
	root *os.Root
}

// file is one that is open, or being opened.
type file struct {
	name  string
	info  fs.FileInfo
	ready chan struct{} // closed when what follows is set
	f     *os.File
	index *mp4.Index
	err   error

	// Guarded by Files.mu.
	refs int
	gone bool // not in Files.open: it is closed when nobody uses it
	at   *list.Element
}

// OpenFiles opens folders. Their files are indexed when they are asked for; budget, 0 is
// DefaultIndex, bounds the bytes of the indexes that are kept. Links that lead out of a
// folder lead nowhere.
func OpenFiles(folders []Folder, budget int64) (*Files, error) {
	if budget <= 0 {
		budget = DefaultIndex
	}
	x := &Files{budget: budget, loading: make(chan struct{}, maxLoading), open: map[string]*file{}, pool: mem.NewPool(maxCopied)}
	for _, f := range folders {
		if !fs.ValidPath(f.Name) || f.Name == "." || slices.ContainsFunc(x.folders, func(o folder) bool { return o.name == f.Name }) {
			return nil, errors.Join(fmt.Errorf("frames: %q is no name for a folder, or given twice", f.Name), x.Close())
		}
		root, err := os.OpenRoot(f.Dir)
		if err != nil {
			return nil, errors.Join(err, x.Close())
		}
		x.folders = append(x.folders, folder{f.Name, root})
	}
	slices.SortStableFunc(x.folders, func(a, b folder) int { return len(b.name) - len(a.name) })
	return x, nil
}

// Close closes what nobody uses, and the rest when it is no longer used. Idempotent.
func (x *Files) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil
	}
	x.closed = true
	for _, f := range x.open {
		x.drop(f)
	}
	x.pool.Close()
	var err error
	for _, f := range x.folders {
		err = errors.Join(err, f.root.Close())
	}
	return err
}

// find returns the folder and the path in it that name means. Parts that begin with a
// dot are hidden.
func (x *Files) find(name string) (f folder, rest string, ok bool) {
	if x == nil || !fs.ValidPath(name) || strings.HasPrefix(name, ".") || strings.Contains(name, "/.") {
		return f, "", false
	}
	for _, f := range x.folders {
		if rest, ok := strings.CutPrefix(name, f.name+"/"); ok {
			return f, rest, true
		}
	}
	return f, "", false
}

// stat returns what is known of the file that name means.
func (x *Files) stat(name string) (f folder, rest string, info fs.FileInfo, err error) {
	f, rest, ok := x.find(name)
	if !ok {
		return f, rest, nil, errNoFile
	}
	info, err = f.root.Stat(rest)
	if err != nil || !info.Mode().IsRegular() {
		return f, rest, nil, errNoFile // what it is instead is nobody's business
	}
	return f, rest, info, nil
}

var errNoFile = missing("no such stream or file")

// Has reports whether name means a file. A nil Files has none.
func (x *Files) Has(name string) bool {
	_, _, _, err := x.stat(name)
	return err == nil
}

// acquire returns the file that name means, with its index, to be released.
func (x *Files) acquire(ctx context.Context, name string) (*file, error) {
	dir, rest, info, err := x.stat(name)
	if err != nil {
		return nil, err
	}
	f, mine := x.entry(name, info)
	if mine {
		f.err = x.load(ctx, f, dir.root, rest)
		x.loaded(f)
	}
	select {
	case <-f.ready:
		err = f.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil {
		return f, nil
	}
	x.release(f)
	if !mine && errors.Is(err, errLeft) {
		return x.acquire(ctx, name) // the next of those who waited with it loads it
	}
	return nil, err
}

// errLeft says that who was to load a file has left.
var errLeft = errors.New("the client has left")

// entry returns the file that is open, or a new one, which is the caller's to load.
func (x *Files) entry(name string, info fs.FileInfo) (f *file, mine bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f = x.open[name]
	if f != nil && !same(f.info, info) {
		x.drop(f)
		f = nil
	}
	if f == nil {
		f, mine = &file{name: name, info: info, ready: make(chan struct{})}, true
		x.open[name] = f
		f.at = x.recent.PushFront(f)
	}
	x.recent.MoveToFront(f.at)
	f.refs++
	return f, mine
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// load opens the file and reads its index.
func (x *Files) load(ctx context.Context, f *file, root *os.Root, rest string) error {
	select {
	case x.loading <- struct{}{}:
		defer func() { <-x.loading }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", errLeft, context.Cause(ctx))
	}
	h, err := root.OpenFile(rest, os.O_RDONLY|syscall.O_NONBLOCK, 0) // it may have become a pipe
	if err != nil {
		return err
	}
	info, err := h.Stat()
	if err != nil {
		return errors.Join(err, h.Close())
	}
	if !same(info, f.info) {
		err = later("the file is being changed")
	}
	if err == nil {
		f.index, err = mp4.ReadIndex(h, info.Size(), maxSamples)
	}
	if err == nil && f.index.Keys() == 0 {
		f.index, err = nil, missing("the file has no key frame")
	}
	if err != nil {
		return errors.Join(explain(err, info.Size()), h.Close())
	}
	f.f = h
	return nil
}

// explain says what is wrong with a file of size bytes.
func explain(err error, size int64) error {
	var broken *av.Error
	switch {
	case errors.Is(err, mp4.ErrNoVideo):
		return missing("the file has no video")
	case errors.Is(err, av.ErrEncrypted):
		return &refusal{415, "the file is encrypted"}
	case errors.Is(err, av.ErrTooLarge) && size > maxSamples: // a smaller one lies
		return &refusal{507, "the file's index is too large"}
	case errors.As(err, &broken):
		return &refusal{415, "it is no MP4 file, or a broken one: of others there is no index"}
	}
	return err
}

// loaded lets those who wait for f have it. What is wrong with a file is kept with it;
// what was wrong with its opening is tried again.
func (x *Files) loaded(f *file) {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(f.ready)
	var no *refusal
	switch {
	case f.err == nil:
		x.bytes += f.index.Bytes()
	case !errors.As(f.err, &no) || no.code == 503:
		x.drop(f)
	}
	if x.closed {
		x.drop(f)
	}
	for e := x.recent.Back(); e != nil && e != f.at && (x.bytes > x.budget || x.recent.Len() > maxOpen); e = x.recent.Back() {
		x.drop(e.Value.(*file))
	}
}

// drop forgets f. x.mu is held.
func (x *Files) drop(f *file) {
	if f.gone {
		return
	}
	f.gone = true
	delete(x.open, f.name)
	x.recent.Remove(f.at)
	select {
	case <-f.ready:
		if f.index != nil {
			x.bytes -= f.index.Bytes()
		}
	default: // it is being loaded, and not counted yet
	}
	x.closeIdle(f)
}

// closeIdle closes f if it is forgotten and not used. x.mu is held.
func (x *Files) closeIdle(f *file) {
	if f.gone && f.refs == 0 && f.f != nil {
		f.f.Close() // it was only read
		f.f = nil
	}
}

func (x *Files) release(f *file) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f.refs--
	x.closeIdle(f)
}
