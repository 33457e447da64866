// Package journal keeps the parts of chunks that are not committed yet in files, so that
// what a killed process had received is stored by the next one. The files are written and
// not synced: they survive the process, and not the machine.
package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cleave-video/cleave/mem"
)

// ID names a chunk of a stream.
type ID struct {
	Epoch uint32
	Seq   int64
}

// Init is an initialization section.
type Init struct {
	Name  string
	Bytes []byte
}

// Config says where and how much. Zero values mean the defaults.
type Config struct {
	Dir    string // of all streams
	Stream string
	Epoch  uint32
	Bytes  int64 // of parts that wait to be written; 16 MiB
	Log    *slog.Logger
}

// maxBytes is the default of Config.Bytes, of what comes in some seconds.
const maxBytes = 16 << 20

// Writer writes the files of a publisher. What it is told is written behind the caller,
// who never waits. Where the disk is too slow for that, or has no room, chunks are left
// out and counted. Its methods belong to one goroutine each, but Remove to any.
type Writer struct {
	cfg   Config
	dir   string
	group sync.WaitGroup

	mu     sync.Mutex // guards what follows
	queue  []op
	bytes  int64
	wake   chan struct{} // has a token when there is something
	out    map[ID]bool   // chunks that are left out
	lost   bool          // a chunk was left out
	closed bool
}

// op is something to be done to a chunk's file.
type op struct {
	id    ID
	what  action
	inits []Init
	kind  kind
	head  []byte
	block *mem.Block
	done  chan struct{} // of create, closed when it is tried
}

type action uint8

const (
	create action = iota
	write
	remove
)

// NewWriter returns a writer, which runs until Close. When it returns, Left will find
// that the epoch was begun.
func NewWriter(c Config) (*Writer, error) {
	if c.Bytes <= 0 {
		c.Bytes = maxBytes
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{cfg: c, dir: streamDir(c.Dir, c.Stream), wake: make(chan struct{}, 1), out: make(map[ID]bool)}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, markName(c.Epoch)), []byte(boot()), 0o644); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	w.group.Go(w.run)
	return w, nil
}

func streamDir(dir, stream string) string {
	return filepath.Join(dir, strings.ReplaceAll(stream, "/", "+"))
}

// Open begins the file of a chunk. What it returns is closed when the file is there, or
// will not be: who shows nothing of the chunk before is sure that its number is not given
// again.
func (w *Writer) Open(id ID, inits []Init) <-chan struct{} {
	done := make(chan struct{})
	w.tell(op{id: id, what: create, inits: inits, done: done})
	return done
}

// Part adds a part of a section, which it retains until it is written, and what
// describes the chunk with it; nil: nothing new.
func (w *Writer) Part(id ID, section int, b *mem.Block, description []byte) {
	w.tell(op{id: id, what: write, kind: partRecord, head: binary.AppendUvarint(nil, uint64(section)), block: b})
	if description != nil {
		w.tell(op{id: id, what: write, kind: descriptionRecord, head: description})
	}
}

// End says that the chunk has ended and has that description.
func (w *Writer) End(id ID, description []byte) {
	w.tell(op{id: id, what: write, kind: endRecord, head: description})
}

// Remove removes the file: the chunk is committed, or given up.
func (w *Writer) Remove(id ID) { w.tell(op{id: id, what: remove}) }

// tell queues an op. A chunk of which something finds no room is left out.
func (w *Writer) tell(o op) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.out[o.id] && o.what != remove {
		if o.done != nil {
			close(o.done)
		}
		return
	}
	if o.what == remove {
		delete(w.out, o.id)
	}
	if o.block != nil {
		n := int64(len(o.block.Bytes()))
		if w.bytes+n > w.cfg.Bytes {
			w.out[o.id] = true
			o = op{id: o.id, what: remove}
			w.lost = true
		} else {
			w.bytes += n
			o.block.Retain()
		}
	}
	w.queue = append(w.queue, o)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Close returns when all is written. If every chunk was removed, nothing is left.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closed = true
	select {
	case w.wake <- struct{}{}:
	default:
	}
	w.mu.Unlock()
	w.group.Wait()
}

// run does what it is told.
func (w *Writer) run() {
	files := make(map[ID]*os.File)
	marked := true
	for range w.wake {
		for {
			w.mu.Lock()
			queue, lost, closed := w.queue, w.lost, w.closed
			w.queue = nil
			w.mu.Unlock()
			if lost && marked {
				marked = false
				w.unmark() // what is here is not all there was
			}
			if len(queue) == 0 {
				if closed {
					w.end(files, marked)
					return
				}
				break
			}
			for i := range queue {
				w.do(files, &queue[i])
			}
		}
	}
}

// do does one thing, and lets go of its part.
func (w *Writer) do(files map[ID]*os.File, o *op) {
	err := w.try(files, o)
	if o.done != nil {
		close(o.done)
	}
	if o.block != nil {
		n := int64(len(o.block.Bytes()))
		o.block.Release()
		w.mu.Lock()
		w.bytes -= n
		w.mu.Unlock()
	}
	if err == nil {
		return
	}
	w.cfg.Log.Warn("parts of a chunk not kept", "stream", w.cfg.Stream, "number", o.id.Seq, "error", err)
	w.mu.Lock()
	w.out[o.id], w.lost = true, true
	w.mu.Unlock()
	if err := w.try(files, &op{id: o.id, what: remove}); err != nil {
		w.cfg.Log.Warn("journal", "stream", w.cfg.Stream, "error", err)
	}
}

func (w *Writer) try(files map[ID]*os.File, o *op) error {
	f := files[o.id]
	switch o.what {
	case create:
		return w.create(files, o)
	case remove:
		if f == nil {
			return nil
		}
		delete(files, o.id)
		return errors.Join(f.Close(), os.Remove(f.Name()))
	case write:
		if f == nil {
			return nil // it was left out
		}
		var body []byte
		if o.block != nil {
			body = o.block.Bytes()
		}
		return writeRecord(f, o.kind, o.head, body)
	}
	return nil
}

func (w *Writer) create(files map[ID]*os.File, o *op) error {
	f, err := os.Create(filepath.Join(w.dir, fileName(o.id)))
	if err != nil {
		return err
	}
	files[o.id] = f
	b := appendHeader(nil, o.id)
	for _, x := range o.inits {
		head := append(binary.AppendUvarint(nil, uint64(len(x.Name))), x.Name...)
		b = append(appendRecordHead(b, initRecord, head, x.Bytes), head...)
		b = append(b, x.Bytes...)
	}
	_, err = f.Write(b)
	return err
}

// writeRecord writes a record, the large piece of its payload without a copy.
func writeRecord(f *os.File, k kind, head, body []byte) error {
	if _, err := f.Write(append(appendRecordHead(nil, k, head, body), head...)); err != nil || len(body) == 0 {
		return err
	}
	_, err := f.Write(body)
	return err
}

// unmark takes back that what is in the files is all there was.
func (w *Writer) unmark() {
	if err := os.Remove(filepath.Join(w.dir, markName(w.cfg.Epoch))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.cfg.Log.Warn("journal", "stream", w.cfg.Stream, "error", err)
	}
}

// end closes what is open, and removes the folder if all was committed.
func (w *Writer) end(files map[ID]*os.File, marked bool) {
	for _, f := range files {
		f.Close()
	}
	if len(files) > 0 {
		return
	}
	if marked {
		w.unmark()
	}
	_ = os.Remove(w.dir) // unless an earlier process left something
}
