package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
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
	if err := s.removeDropped(); err != nil {
		return 0, err
	}
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
		if strings.HasSuffix(e.Name(), tmpSuffix) {
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

// commit has p written, with what others want to have written meanwhile.
func (s *stream) commit(p *pending) error {
	p.done = make(chan struct{})
	s.queue.Lock()
	s.waiting = append(s.waiting, p)
	if s.busy {
		s.queue.Unlock()
		<-p.done
		if !p.turn {
			return p.err
		}
		s.queue.Lock()
	}
	s.busy = true
	group := s.waiting
	s.waiting = nil
	s.queue.Unlock()

	s.mu.Lock()
	s.commitAll(group)
	s.mu.Unlock()

	s.queue.Lock()
	if s.busy = len(s.waiting) > 0; s.busy {
		s.waiting[0].turn = true
		close(s.waiting[0].done)
	}
	s.queue.Unlock()
	for _, q := range group {
		if q != p && !q.turn {
			close(q.done)
		}
	}
	return p.err
}

// commitAll writes a group. s.mu is held.
func (s *stream) commitAll(group []*pending) {
	if err := s.ready(); err != nil {
		for _, p := range group {
			p.err = err
		}
		return
	}
	stage := s.run.Stage()
	var payload, batch []byte
	kept := s.kept
	for _, p := range group {
		if p.list == nil {
			kept = max(kept, p.drop)
			continue
		}
		payload, p.err = stage.Encode(payload, p.list)
	}
	if len(payload) > maxBatch {
		s.failAll(group, fmt.Errorf("%w: %d bytes at once", index.ErrEntry, len(payload)))
		return
	}
	if len(payload) > 0 {
		batch = appendBatch(batch, payload)
	}
	if kept > s.kept {
		batch = appendBatch(batch, binary.AppendUvarint([]byte{recordMark, recordDrop}, kept))
	}
	if len(batch) == 0 {
		return
	}
	if err := s.append(batch); err != nil {
		s.broken = true
		s.failAll(group, store.Classify(fmt.Errorf("index: %w", err)))
		return
	}
	s.size += int64(len(batch))
	for _, p := range group {
		if p.err != nil {
			continue
		}
		for i := range p.list {
			if err := s.run.Append(&p.list[i]); err != nil {
				panic("index: staged entry is refused: " + err.Error())
			}
		}
	}
	s.kept = kept
	s.tidy()
	s.publish()
}

func (s *stream) failAll(group []*pending, err error) {
	for _, p := range group {
		if p.err == nil {
			p.err = err
		}
	}
}

// ready sees to it that there is a log to append to. s.mu is held.
func (s *stream) ready() error {
	if err := s.load(); err != nil {
		return err
	}
	if s.log != nil && !s.broken {
		return nil
	}
	if err := s.makeDir(); err != nil {
		return store.Classify(fmt.Errorf("index: %w", err))
	}
	if err := s.newLog(); err != nil {
		return store.Classify(fmt.Errorf("index: %w", err))
	}
	return nil
}

// tidy writes a segment when the log has enough entries, and removes dropped ones.
// What fails is tried again with a later entry: the log has all. s.mu is held.
func (s *stream) tidy() {
	if s.run.Len() >= s.sealAt || s.run.Len() >= index.PerBlock && s.run.Bytes() > maxRun {
		s.sealAt = s.d.perSegment
		if err := s.seal(); err != nil {
			s.sealAt = s.run.Len() + index.PerBlock
			return
		}
	}
	_ = s.removeDropped()
}

// maxRun bounds the bytes of entries in memory that have very many key frames.
const maxRun = 32 << 20

// seal moves the log's whole blocks to a segment. s.mu is held.
func (s *stream) seal() error {
	t := s.run.Table()
	blocks := t.Len() / index.PerBlock
	header, body, err := appendSegment(s.base, t, blocks)
	if err != nil {
		return err
	}
	g := &segment{first: s.base, count: blocks * index.PerBlock, time: t.Time(0)}
	g.path = filepath.Join(s.dir, segmentName(g.first, g.count, g.time))
	if err := s.d.writeFile(g.path, header, body); err != nil {
		return errors.Join(err, ignoreNotExist(os.Remove(g.path)))
	}
	old := s.log.Name()
	s.segs = append(slices.Clip(s.segs), g)
	if err := s.forget(blocks); err != nil {
		return err
	}
	if err := s.newLog(); err != nil {
		// The old log goes on to be read, but has the segment's entries, too.
		s.broken = true
		return err
	}
	return s.d.remove(old)
}

// forget removes the first blocks of the run, which a segment has. s.mu is held.
func (s *stream) forget(blocks int) error {
	t := s.run.Table()
	c := index.NewCursor(t, blocks*index.PerBlock-1)
	e, at, err := c.Next()
	if err != nil {
		return err
	}
	s.beforeRun = index.Before{Some: true, Epoch: e.Epoch, Seq: e.Seq, Time: at}
	s.run.Drop(blocks)
	s.base += uint64(blocks) * index.PerBlock
	return nil
}

// removeDropped removes the segments all of whose entries are dropped, but leaves
// the one that has the last entry. s.mu is held.
func (s *stream) removeDropped() error {
	n := 0
	for n < len(s.segs) && s.segs[n].first+uint64(s.segs[n].count) <= s.kept && (n+1 < len(s.segs) || s.run.Len() > 0) {
		g := s.segs[n]
		if err := errors.Join(g.close(true), s.d.remove(g.path)); err != nil {
			return err
		}
		n++
	}
	s.segs = s.segs[n:]
	return nil
}
