// Package disk is an index.Index in a folder: of each stream a log, which entries
// are appended to and synced, and segments, which the log's older entries are
// written to and which are mapped when they are looked at. docs/format/index.md
// draws the files.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/index"
)

// Disk is an index in a folder. One process at a time has it open.
type Disk struct {
	root   string
	lock   *os.File
	noSync bool
	// perSegment is how many entries a segment has.
	perSegment int
	// fault, if tests set it, is asked at each point; its error is that point's.
	fault func(p point, path string) error

	mu      sync.Mutex // guards what follows
	streams map[string]*stream
	closed  bool
}

var (
	_ index.Index    = (*Disk)(nil)
	_ index.Batcher  = (*Disk)(nil)
	_ index.Streamer = (*Disk)(nil)
	_ index.Replacer = (*Disk)(nil)
	_ index.Repairer = (*Disk)(nil)
	_ index.Walker   = (*Disk)(nil)
	_ index.Passer   = (*Disk)(nil)
	_ index.Finder   = (*Disk)(nil)
)

// Option changes what Open does.
type Option func(*Disk)

// WithoutSync leaves it to the system when bytes reach the disk: what was added
// survives a crash of the process, but not one of the machine. For an index that
// can be built anew.
func WithoutSync() Option { return func(d *Disk) { d.noSync = true } }

// perSegment bounds what a stream keeps in memory, about half a megabyte.
const perSegment = 32 * index.PerBlock

// point is a moment at which a crash or an error is of interest.
type point uint8

const (
	beforeWrite point = iota
	afterWrite
	beforeSync
	afterSync
	beforeRename
	afterRename
	beforeSyncDir
	afterSyncDir
	beforeRemove
	afterRemove
	points // how many there are
)

func (d *Disk) at(p point, path string) error {
	if d.fault == nil {
		return nil
	}
	return d.fault(p, path)
}

// Open opens the index in root, which is made if need be. A stream is read when it
// is first asked for.
func Open(root string, opts ...Option) (*Disk, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	lock, err := os.Open(root)
	if err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("index: %s is in use: %w", root, err)
	}
	d := &Disk{root: root, lock: lock, perSegment: perSegment, streams: make(map[string]*stream)}
	for _, o := range opts {
		o(d)
	}
	if err := os.RemoveAll(filepath.Join(root, freshDir)); err != nil {
		lock.Close()
		return nil, fmt.Errorf("index: %w", err)
	}
	return d, nil
}

// Close ends the index after the calls under way; later ones return fs.ErrClosed.
func (d *Disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var errs []error
	for _, s := range d.streams {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, d.lock.Close())...)
}

// A stream's folder has its name with "+" for "/", which no name contains. Others
// begin with "+".
const freshDir = "+fresh"

func dirName(stream string) string { return strings.ReplaceAll(stream, "/", "+") }

// stream returns the stream of that name, which may be in no file yet.
func (d *Disk) stream(ctx context.Context, name string) (*stream, error) {
	if err := index.CheckStream(name); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fs.ErrClosed
	}
	s := d.streams[name]
	if s == nil {
		s = newStream(d, filepath.Join(d.root, dirName(name)))
		d.streams[name] = s
	}
	return s, nil
}

// table returns the entries of a stream as they are now, and which of them is the first
// that is not dropped.
func (d *Disk) table(ctx context.Context, name string) (*table, int, error) {
	s, err := d.stream(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	return s.table()
}

// has reports whether there may be something of a stream. Names that others make up are
// not kept.
func (d *Disk) has(name string) (bool, error) {
	if err := index.CheckStream(name); err != nil {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.streams[name] != nil {
		return true, nil
	}
	_, err := os.Stat(filepath.Join(d.root, dirName(name)))
	return err == nil, nil
}

// Add implements index.Index. Who adds to a stream while others do shares a sync
// with them.
func (d *Disk) Add(ctx context.Context, name string, e index.Entry) error {
	return d.AddAll(ctx, name, []index.Entry{e})
}

// AddAll implements index.Batcher.
func (d *Disk) AddAll(ctx context.Context, name string, list []index.Entry) error {
	s, err := d.stream(ctx, name)
	if err != nil || len(list) == 0 {
		return err
	}
	return s.commit(&pending{list: list})
}

// Seek implements index.Index.
func (d *Disk) Seek(ctx context.Context, name string, at time.Time) (e index.Entry, k index.Key, err error) {
	err = d.read(ctx, name, func(t index.Table, first int, _ func(e *index.Entry) bool) error {
		e, k, err = index.SeekTable(t, first, at)
		return err
	})
	return e, k, err
}

// Range implements index.Index. What is dropped meanwhile may be left out.
func (d *Disk) Range(ctx context.Context, name string, from, to time.Time) iter.Seq2[index.Entry, error] {
	return func(yield func(index.Entry, error) bool) {
		err := d.read(ctx, name, func(t index.Table, first int, more func(e *index.Entry) bool) error {
			for e, err := range index.RangeTable(ctx, t, first, from, to) {
				if err != nil {
					return err
				}
				if more(&e) && !yield(e, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(index.Entry{}, err)
		}
	}
}

// Walk implements index.Walker. What is dropped meanwhile may be left out.
func (d *Disk) Walk(ctx context.Context, name string, f func(e *index.Entry) bool) error {
	return d.read(ctx, name, func(t index.Table, first int, more func(e *index.Entry) bool) error {
		return index.WalkTable(ctx, t, first, func(e *index.Entry) bool { return !more(e) || f(e) })
	})
}

// Pass implements index.Passer. What is dropped meanwhile may be left out.
func (d *Disk) Pass(ctx context.Context, name string, from, to time.Time, f func(e *index.Entry) bool) error {
	return d.read(ctx, name, func(t index.Table, first int, more func(e *index.Entry) bool) error {
		return index.PassTable(ctx, t, first, from, to, func(e *index.Entry) bool { return !more(e) || f(e) })
	})
}

// Find implements index.Finder.
func (d *Disk) Find(ctx context.Context, name string, seq int64) (e index.Entry, err error) {
	err = d.read(ctx, name, func(t index.Table, first int, _ func(e *index.Entry) bool) error {
		e, err = index.FindTable(t, first, seq)
		return err
	})
	return e, err
}

// read calls f with the entries of a stream, again if what it read was dropped since it
// looked. more reports whether an entry is behind the last one that it was asked for.
func (d *Disk) read(ctx context.Context, name string, f func(t index.Table, first int, more func(e *index.Entry) bool) error) error {
	last, err := int64(-1), errDropped
	more := func(e *index.Entry) bool {
		if e.Seq <= last {
			return false
		}
		last = e.Seq
		return true
	}
	for errors.Is(err, errDropped) {
		if ok, err := d.has(name); err != nil || !ok {
			return errors.Join(err, f(new(index.Run).Table(), 0, more))
		}
		t, first, terr := d.table(ctx, name)
		if terr != nil {
			return terr
		}
		err = f(t, first, more)
	}
	return err
}

// Last implements index.Index.
func (d *Disk) Last(ctx context.Context, name string) (e index.Entry, err error) {
	err = d.read(ctx, name, func(t index.Table, _ int, _ func(e *index.Entry) bool) error {
		e, err = index.LastOf(t)
		return err
	})
	return e, err
}

// Drop implements index.Index. Files go when all their entries are dropped.
func (d *Disk) Drop(ctx context.Context, name string, before time.Time) error {
	if ok, err := d.has(name); err != nil || !ok {
		return err
	}
	s, err := d.stream(ctx, name)
	if err != nil {
		return err
	}
	t, _, err := s.table()
	if err != nil {
		return err
	}
	first, err := index.DropTable(t, before)
	if err != nil {
		return err
	}
	return s.commit(&pending{drop: t.base + uint64(first)})
}

// Streams implements index.Streamer.
func (d *Disk) Streams(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		entries, err := os.ReadDir(d.root)
		if err != nil {
			yield("", err)
			return
		}
		for _, e := range entries {
			name := strings.ReplaceAll(e.Name(), "+", "/")
			if !e.IsDir() || index.CheckStream(name) != nil {
				continue
			}
			if err := context.Cause(ctx); err != nil {
				yield("", err)
				return
			}
			if !yield(name, nil) {
				return
			}
		}
	}
}
