package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/store"
)

// stream is the files of one stream. Entries are numbered from 0 on; the segments
// have the first ones, the log those from base on.
type stream struct {
	d   *Disk
	dir string

	mu        sync.Mutex // guards what follows, and is held while files change
	loaded    bool
	err       error // why the stream cannot be read: *index.CorruptError
	segs      []*segment
	run       *index.Run
	beforeRun index.Before
	base      uint64
	kept      uint64 // number of the first entry that is not dropped
	log       *os.File
	size      int64 // of the log, as far as it is right
	torn      int64 // bytes of it that were not, when it was read
	broken    bool  // the log may end otherwise than size says
	sealAt    int   // entries of the run at which a segment is written

	states sync.Mutex // guards the file of the state

	view atomic.Pointer[view] // what readers see; nil before load and after close

	queue   sync.Mutex // guards what follows
	waiting []*pending
	busy    bool // somebody commits
}

// pending is what somebody waits for to be committed.
type pending struct {
	list []index.Entry
	drop uint64 // or the number of the first entry to keep
	err  error
	done chan struct{} // closed when it is, or when it is the caller's turn to commit
	turn bool
}

func newStream(d *Disk, dir string) *stream {
	return &stream{d: d, dir: dir, run: &index.Run{}, sealAt: d.perSegment}
}

func (s *stream) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = fs.ErrClosed
	s.view.Store(nil)
	var errs []error
	for _, g := range s.segs {
		errs = append(errs, g.close(true))
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
		s.log = nil
	}
	return errors.Join(errs...)
}

// table returns the entries as they are now, and which of them is the first that
// is not dropped. It does not wait for what is being written.
func (s *stream) table() (*table, int, error) {
	v := s.view.Load()
	if v == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.load(); err != nil {
			return nil, 0, err
		}
		v = s.view.Load()
		s.rest()
	}
	t := v.table
	return &t, v.first, nil
}

// view is a stream at one moment.
type view struct {
	table table
	first int // entry that is not dropped
}

// publish shows the entries as they are now. s.mu is held.
func (s *stream) publish() {
	t := table{base: s.base, segs: s.segs, run: s.run.Table()}
	if len(s.segs) > 0 {
		t.base = s.segs[0].first
		t.n = int(s.base - t.base)
	}
	s.view.Store(&view{t, int(max(s.kept, t.base) - t.base)})
}

// load reads the names of the files and the log, once. s.mu is held.
func (s *stream) load() error {
	if s.loaded || s.err != nil {
		return s.err
	}
	logs, err := s.readDir()
	if err == nil {
		err = s.loadFiles(logs)
	}
	if err != nil {
		var damage *index.CorruptError
		if errors.As(err, &damage) {
			s.err = err
			return err
		}
		return store.Classify(err)
	}
	s.loaded = true
	s.publish()
	return nil
}

// loadFiles reads the last log and sees whether the segments fit before it. s.mu
// is held.
func (s *stream) loadFiles(logs []uint64) error {
	if len(logs) == 0 {
		if len(s.segs) > 0 {
			return &index.CorruptError{Path: s.dir, Why: "no log"}
		}
		return nil
	}
	path := filepath.Join(s.dir, logName(logs[len(logs)-1]))
	if err := s.replayLog(path); err != nil {
		return err
	}
	end, err := s.fitSegments(path)
	if err != nil {
		return err
	}
	if s.base < end {
		// A crash came between the segment and the log behind it.
		if err := s.forget(int(end-s.base) / index.PerBlock); err != nil {
			return err
		}
		if err := s.newLog(); err != nil {
			return err
		}
		logs = append(logs, s.base)
	} else {
		if s.log, err = os.OpenFile(path, os.O_RDWR, 0); err != nil {
			return err
		}
		s.broken = s.torn > 0 // nothing is written behind what is torn
	}
	for _, first := range logs[:len(logs)-1] {
		if err := s.d.remove(filepath.Join(s.dir, logName(first))); err != nil {
			return err
		}
	}
	return nil
}

// fitSegments removes the segments that are dropped, and returns the number of the
// entry behind the others. s.mu is held.
func (s *stream) fitSegments(log string) (end uint64, err error) {
	s.removeDropped()
	for i, g := range s.segs {
		if i > 0 && g.first != end {
			return 0, &index.CorruptError{Path: g.path, Why: fmt.Sprintf("begins with entry %d, the one before ends with %d", g.first, end)}
		}
		end = g.first + uint64(g.count)
	}
	switch n := s.base + uint64(s.run.Len()); {
	case len(s.segs) == 0 && s.kept >= s.base:
		return s.base, nil
	case s.base > end:
		return 0, &index.CorruptError{Path: log, Why: fmt.Sprintf("begins with entry %d, the segments end with %d", s.base, end)}
	case n < end:
		return 0, &index.CorruptError{Path: log, Why: fmt.Sprintf("ends with entry %d, the segments with %d", n, end)}
	}
	return end, nil
}

// readDir fills segs and returns the first entries of the logs, in order. What was
// half-written is removed.
func (s *stream) readDir() (logs []uint64, err error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.segs = nil
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		if e.Name() == stateName+tmpSuffix {
			continue // may be being written, and is written anew
		} else if strings.HasSuffix(e.Name(), tmpSuffix) {
			if err := s.d.remove(path); err != nil {
				return nil, err
			}
		} else if g, ok := parseSegmentName(e.Name()); ok {
			g.path = path
			if n := len(s.segs); n > 0 && s.segs[n-1].first == g.first {
				s.segs = s.segs[:n-1] // written in vain, and then with more
			}
			s.segs = append(s.segs, g)
		} else if first, ok := parseLogName(e.Name()); ok {
			logs = append(logs, first)
		}
	}
	// Names are in order, as numbers are written with all their digits.
	return logs, nil
}
