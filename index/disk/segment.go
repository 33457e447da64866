package disk

import (
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/index"
)

// A segment is written once:
//
//	 0                   8                  16        20        24
//	| "CLVSEG" 0 version | number of first   | entries | a block | time of first ...
//	24                  32                  40        48        52        56    60
//	| time of first      | time of last      | directory offset | blocks | CRC of directory | 0 | CRC of 0-60
//
// then the blocks, then of each block its time, offset and CRC. All numbers are
// little-endian, times Unix nanoseconds, CRCs CRC32C.
const (
	segMagic  = "CLVSEG\x00\x01"
	segHeader = 64
	segEntry  = 16
)

// segment is a file of whole blocks. Its name says what it has, so that opening a
// stream reads none; it is mapped when it is first looked at.
type segment struct {
	path  string
	first uint64 // number of its first entry
	count int
	time  int64 // of its first entry

	mu      sync.RWMutex // guards what follows
	data    []byte       // the mapping
	dir     []byte
	checked []atomic.Bool // blocks whose CRC was right
	gone    bool          // dropped
}

func segmentName(first uint64, count int, time int64) string {
	return fmt.Sprintf("seg-%016x-%08x-%016x", first, count, uint64(time))
}

// parseSegmentName is the inverse of segmentName.
func parseSegmentName(name string) (*segment, bool) {
	var s segment
	var time uint64
	if n, err := fmt.Sscanf(name, "seg-%016x-%08x-%016x", &s.first, &s.count, &time); n != 3 || err != nil {
		return nil, false
	}
	s.time = int64(time)
	return &s, name == segmentName(s.first, s.count, s.time) && s.count > 0 && s.count%index.PerBlock == 0
}

// appendSegment returns the file of the first blocks of t, in two parts.
func appendSegment(first uint64, t index.Table, blocks int) (header, body []byte, err error) {
	var dir []byte
	for i := range blocks {
		b, err := t.Block(i, new([]byte))
		if err != nil {
			return nil, nil, err
		}
		dir = binary.LittleEndian.AppendUint64(dir, uint64(t.Time(i)))
		dir = binary.LittleEndian.AppendUint32(dir, uint32(segHeader+len(body)))
		dir = binary.LittleEndian.AppendUint32(dir, checksum(b))
		body = append(body, b...)
	}
	last, err := lastTime(t, blocks)
	if err != nil {
		return nil, nil, err
	}
	le := binary.LittleEndian
	header = append(header, segMagic...)
	header = le.AppendUint64(header, first)
	header = le.AppendUint32(header, uint32(blocks*index.PerBlock))
	header = le.AppendUint32(header, index.PerBlock)
	header = le.AppendUint64(header, uint64(t.Time(0)))
	header = le.AppendUint64(header, uint64(last))
	header = le.AppendUint64(header, uint64(segHeader+len(body)))
	header = le.AppendUint32(header, uint32(blocks))
	header = le.AppendUint32(header, checksum(dir))
	header = le.AppendUint32(header, 0)
	return sealHeader(header), append(body, dir...), nil
}

// lastTime returns the time of the last entry of the first blocks.
func lastTime(t index.Table, blocks int) (int64, error) {
	c := index.NewCursor(t, blocks*index.PerBlock-1)
	_, at, err := c.Next()
	return at, err
}

func (s *segment) corrupt(off int64, why string) error {
	return &index.CorruptError{Path: s.path, Offset: off, Why: why}
}

// open maps the file unless it is. It returns with s.mu held for reading, except
// with an error.
func (s *segment) open() error {
	s.mu.RLock()
	if s.data != nil {
		return nil
	}
	s.mu.RUnlock()
	s.mu.Lock()
	var err error
	if s.gone {
		err = errDropped
	} else if s.data == nil {
		err = s.mapFile()
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.mu.RLock()
	if s.data == nil {
		s.mu.RUnlock()
		return errDropped
	}
	return nil
}

// errDropped is returned for a segment that was dropped since the table was made.
var errDropped = fmt.Errorf("%w: dropped meanwhile", index.ErrNotFound)

// mapFile maps the file and checks what it says of itself. s.mu is held.
func (s *segment) mapFile() error {
	f, err := os.Open(s.path)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	if st.Size() < segHeader+segEntry {
		return s.corrupt(st.Size(), "too short")
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("index: mmap %s: %w", s.path, err)
	}
	if err := s.readHeader(data); err != nil {
		_ = unix.Munmap(data)
		return err
	}
	s.data, s.checked = data, make([]atomic.Bool, s.count/index.PerBlock)
	return nil
}

func (s *segment) readHeader(data []byte) error {
	h := make([]byte, segHeader)
	if err := copyMapped(h, data); err != nil {
		return err
	}
	le := binary.LittleEndian
	blocks := s.count / index.PerBlock
	switch {
	case string(h[:8]) != segMagic:
		return s.corrupt(0, fmt.Sprintf("magic and version %x", h[:8]))
	case !headerOK(h):
		return s.corrupt(60, "checksum of header")
	case le.Uint64(h[8:]) != s.first, le.Uint32(h[16:]) != uint32(s.count), le.Uint64(h[24:]) != uint64(s.time):
		return s.corrupt(8, "not what the name says")
	case le.Uint32(h[20:]) != index.PerBlock, le.Uint32(h[48:]) != uint32(blocks):
		return s.corrupt(20, "size of blocks")
	}
	at := le.Uint64(h[40:])
	if at < segHeader || at != uint64(len(data))-uint64(blocks)*segEntry {
		return s.corrupt(40, "directory not at the end")
	}
	dir := make([]byte, blocks*segEntry)
	if err := copyMapped(dir, data[at:]); err != nil {
		return err
	}
	if checksum(dir) != le.Uint32(h[52:]) {
		return s.corrupt(int64(at), "checksum of directory")
	}
	s.dir = dir
	return nil
}

// blockTime returns the time of the first entry of a block.
func (s *segment) blockTime(i int) (int64, error) {
	if i == 0 {
		return s.time, nil
	}
	if err := s.open(); err != nil {
		return 0, err
	}
	defer s.mu.RUnlock()
	return int64(binary.LittleEndian.Uint64(s.dir[i*segEntry:])), nil
}

// block copies a block to *buf. Its CRC is checked the first time.
func (s *segment) block(i int, buf *[]byte) ([]byte, error) {
	if err := s.open(); err != nil {
		return nil, err
	}
	defer s.mu.RUnlock()
	le := binary.LittleEndian
	end := uint32(len(s.data) - len(s.dir))
	d := s.dir[i*segEntry:]
	off, crc := le.Uint32(d[8:]), le.Uint32(d[12:])
	if len(d) > segEntry {
		end = le.Uint32(d[segEntry+8:])
	}
	if off < segHeader || off > end || int(end) > len(s.data)-len(s.dir) {
		return nil, s.corrupt(int64(off), "offset of block")
	}
	n := int(end - off)
	if cap(*buf) < n {
		*buf = make([]byte, n, n+n/4)
	}
	b := (*buf)[:n]
	if err := copyMapped(b, s.data[off:end]); err != nil {
		return nil, s.corrupt(int64(off), err.Error())
	}
	if !s.checked[i].Load() {
		if checksum(b) != crc {
			return nil, s.corrupt(int64(off), "checksum of block")
		}
		s.checked[i].Store(true)
	}
	return b, nil
}

// close unmaps the file; with drop it is never mapped again.
func (s *segment) close(drop bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = s.gone || drop
	if s.data == nil {
		return nil
	}
	err := unix.Munmap(s.data)
	s.data, s.dir, s.checked = nil, nil, nil
	return err
}

// table is the entries of a stream at one moment.
type table struct {
	base uint64 // number of the first entry
	segs []*segment
	run  index.Table
	n    int // entries in segs
}

// Len implements index.Table.
func (t *table) Len() int { return t.n + t.run.Len() }

// where returns the segment that has a block, and which of its blocks that is; nil
// if the run has it.
func (t *table) where(block int) (*segment, int) {
	if block*index.PerBlock >= t.n {
		return nil, block - t.n/index.PerBlock
	}
	number := t.base + uint64(block)*index.PerBlock
	lo, hi := 0, len(t.segs)
	for lo+1 < hi {
		if mid := (lo + hi) / 2; t.segs[mid].first <= number {
			lo = mid
		} else {
			hi = mid
		}
	}
	return t.segs[lo], int(number-t.segs[lo].first) / index.PerBlock
}

// Time implements index.Table. Of a segment that cannot be read it is the time of
// the first entry, so that what lies elsewhere is found; Block has the error.
func (t *table) Time(block int) int64 {
	s, i := t.where(block)
	if s == nil {
		return t.run.Time(i)
	}
	at, err := s.blockTime(i)
	if err != nil {
		return s.time
	}
	return at
}

// Block implements index.Table.
func (t *table) Block(block int, buf *[]byte) ([]byte, error) {
	s, i := t.where(block)
	if s == nil {
		return t.run.Block(i, buf)
	}
	return s.block(i, buf)
}
