package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/store"
)

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
		s.rest()
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
	s.rest()
}

// rest unloads a stream of which nothing is left: names that were used once must not cost
// for ever. s.mu is held.
func (s *stream) rest() {
	if len(s.segs) == 0 && s.kept >= s.base+uint64(s.run.Len()) {
		s.unload()
	}
}

// unload lets memory and the log's handle go, until the stream is asked for again. s.mu
// is held.
func (s *stream) unload() {
	if s.log != nil {
		s.log.Close()
	}
	s.segs, s.log, s.run, s.beforeRun = nil, nil, &index.Run{}, index.Before{}
	s.base, s.kept, s.size, s.torn, s.broken, s.sealAt = 0, 0, 0, 0, false, s.d.perSegment
	s.loaded = false
	s.view.Store(nil)
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
	s.removeDropped()
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
// the one that has the last entry. A file that cannot be removed now is when the
// stream is read again. s.mu is held.
func (s *stream) removeDropped() {
	n := 0
	for n < len(s.segs) && s.segs[n].first+uint64(s.segs[n].count) <= s.kept && (n+1 < len(s.segs) || s.run.Len() > 0) {
		_ = s.segs[n].close(true)
		_ = s.d.remove(s.segs[n].path)
		n++
	}
	s.segs = s.segs[n:]
}
