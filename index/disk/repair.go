package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/cleave-video/cleave/index"
)

// badPrefix begins the name of the folder that a damaged stream is kept in.
const badPrefix = "+bad+"

// Repair writes a stream anew from what of it can be read, where calls return
// *index.CorruptError, and returns how many entries it has then. The others may be
// found in the store (index.Rebuild). The damaged files are kept beside it, in a
// folder whose name begins with "+bad+"; those of an earlier repair are removed.
func (d *Disk) Repair(ctx context.Context, name string) (entries int, err error) {
	s, err := d.stream(ctx, name)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renew(func(fresh *stream) (int, error) { return s.salvage(ctx, fresh) })
}

// Replace implements index.Replacer. The files that were there are kept as Repair
// keeps damaged ones.
func (d *Disk) Replace(ctx context.Context, name string, list []index.Entry) error {
	s, err := d.stream(ctx, name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(list) == 0 { // numbers go on from the last entry
		if err := s.load(); err != nil {
			return err
		}
		t := s.view.Load().table
		if t.Len() == 0 {
			return nil
		}
		last, err := index.LastOf(&t)
		if err != nil {
			return err
		}
		_, err = s.renew(func(fresh *stream) (int, error) {
			w := &salvager{to: fresh, dropped: &last}
			return w.finish()
		})
		return err
	}
	_, err = s.renew(func(fresh *stream) (int, error) {
		for part := range slices.Chunk(list, perReplace) {
			if err := context.Cause(ctx); err != nil {
				return 0, err
			}
			if err := fresh.commit(&pending{list: part}); err != nil {
				return 0, err
			}
		}
		return len(list), nil
	})
	return err
}

// perReplace is how many entries Replace writes at a time.
const perReplace = 4096

// renew has fill write the stream anew, beside the old files, whose place that takes;
// it returns what fill returns. s.mu is held.
func (s *stream) renew(fill func(fresh *stream) (int, error)) (entries int, err error) {
	d := s.d
	if err := os.MkdirAll(filepath.Join(d.root, freshDir), 0o755); err != nil {
		return 0, err
	}
	defer os.RemoveAll(filepath.Join(d.root, freshDir))
	name := filepath.Base(s.dir)
	fresh := newStream(d, filepath.Join(d.root, freshDir, name))
	entries, err = fill(fresh)
	if err = errors.Join(err, fresh.close()); err != nil {
		return 0, err
	}
	s.states.Lock()
	defer s.states.Unlock()
	if err := d.keepState(s.dir, fresh.dir); err != nil {
		return 0, err
	}
	if err := d.exchange(fresh.dir, s.dir, filepath.Join(d.root, badPrefix+name)); err != nil {
		return 0, err
	}
	for _, g := range s.segs {
		_ = g.close(true)
	}
	s.unload()
	s.err = nil
	return entries, s.load()
}

// keepState copies the file of a stream's state, if there is one.
func (d *Disk) keepState(from, to string) error {
	b, err := os.ReadFile(filepath.Join(from, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.writeFile(filepath.Join(to, stateName), b)
}

// exchange puts the folder fresh in the place of old at once, and old into bad.
func (d *Disk) exchange(fresh, old, bad string) error {
	if err := os.RemoveAll(bad); err != nil {
		return err
	}
	if err := swap(fresh, old); err != nil {
		return err
	}
	if err := os.Rename(fresh, bad); err != nil {
		return err
	}
	return d.syncDir(d.root)
}

// salvage adds what can be read of s to another stream, but not what was dropped.
// s.mu is held.
func (s *stream) salvage(ctx context.Context, to *stream) (int, error) {
	from := newStream(s.d, s.dir) // as the files are
	logs, err := from.readDir()
	if err != nil {
		return 0, err
	}
	if len(logs) > 0 {
		// Up to what is damaged; the error says where that is.
		_ = from.replayLog(filepath.Join(s.dir, logName(logs[len(logs)-1])))
	}
	w := &salvager{to: to}
	for _, g := range from.segs {
		for i := range g.count / index.PerBlock {
			if err := context.Cause(ctx); err != nil {
				return 0, err
			}
			b, err := g.block(i, new([]byte))
			if err != nil {
				continue
			}
			if err := w.add(b, g.first+uint64(i*index.PerBlock), from.kept); err != nil {
				return 0, err
			}
		}
		_ = g.close(true)
	}
	t := from.run.Table()
	for i := 0; i*index.PerBlock < t.Len(); i++ {
		b, err := t.Block(i, new([]byte))
		if err != nil {
			return 0, err
		}
		if err := w.add(b, from.base+uint64(i*index.PerBlock), from.kept); err != nil {
			return 0, err
		}
	}
	return w.finish()
}

// salvager adds the entries of blocks that follow, with blocks missing.
type salvager struct {
	to      *stream
	n       int
	seq     int64 // of the last entry
	some    bool
	dropped *index.Entry // the last one that was dropped, if none was kept after it
}

func (w *salvager) add(b []byte, number, kept uint64) error {
	var dec index.Decoder
	var list []index.Entry
	for len(b) > 0 {
		var e index.Entry
		var err error
		if b, err = dec.Next(b, &e); err != nil {
			break // the checksum was right, so this is not damage: leave the rest
		}
		number++
		switch {
		case w.some && e.Seq <= w.seq:
			continue // a segment had it, too
		case number <= kept:
			w.dropped = &e
		default:
			list = append(list, e)
		}
		w.some, w.seq = true, e.Seq
	}
	if len(list) == 0 {
		return nil
	}
	w.n += len(list)
	w.dropped = nil
	return w.to.commit(&pending{list: list})
}

func (w *salvager) finish() (int, error) {
	if w.n == 0 && w.dropped != nil {
		if err := w.to.commit(&pending{list: []index.Entry{*w.dropped}}); err != nil {
			return 0, err
		}
		return 0, w.to.commit(&pending{drop: 1})
	}
	// Makes the folder also if there is nothing to put into it.
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	return w.n, w.to.ready()
}
