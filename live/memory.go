package live

import (
	"sync"
	"time"

	"github.com/cleave-video/cleave/mem"
)

// memory is the parts that the edge holds: those of the newest segments, so that
// they are answered without the store, and those that the store would not take.
type memory struct {
	most int64         // bytes
	back time.Duration // media time behind the end; 0: not known yet

	mu    sync.Mutex // guards what follows
	held  []held     // oldest first
	bytes int64
	end   time.Duration
}

type held struct {
	object *object
	blocks []*mem.Block
	bytes  int64
	end    time.Duration
}

// keep takes over the blocks of a whole segment.
func (m *memory) keep(s *Segment, end time.Duration) {
	if len(s.Parts) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	blocks := make([]*mem.Block, len(s.Parts))
	for i := range s.Parts {
		blocks[i] = s.Parts[i].block
	}
	m.held = append(m.held, held{s.object, blocks, s.Size, end})
	m.bytes += s.Size
	m.end = max(m.end, end)
	m.trim(m.most)
}

// trim lets the oldest go until at most most bytes are held. What is stored goes
// when it is back behind the end.
func (m *memory) trim(most int64) bool {
	kept, freed := m.held[:0], false
	for i := range m.held {
		h := &m.held[i]
		old := m.back > 0 && h.end < m.end-m.back && h.object.state.Load() == stored
		if !old && m.bytes <= most {
			kept = append(kept, *h)
			continue
		}
		m.release(h)
		freed = freed || h.bytes > 0
	}
	clear(m.held[len(kept):])
	m.held = kept
	return freed
}

func (m *memory) release(h *held) {
	for _, b := range h.blocks {
		b.Release()
	}
	m.bytes -= h.bytes
}

// shed lets everything go that is stored, and reports whether that was anything.
func (m *memory) shed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept, freed := m.held[:0], false
	for i := range m.held {
		h := &m.held[i]
		if h.object.state.Load() != stored {
			kept = append(kept, *h)
			continue
		}
		m.release(h)
		freed = freed || h.bytes > 0
	}
	clear(m.held[len(kept):])
	m.held = kept
	return freed
}

// forget lets everything go.
func (m *memory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.held {
		m.release(&m.held[i])
	}
	m.held = nil
}

// headers are the initialization sections of a stream, newest last.
type headers struct {
	mu   sync.Mutex // guards list
	list []header
}

type header struct {
	name string
	b    []byte
}

// maxHeaders bounds how many are kept in memory; older ones are in the store.
const maxHeaders = 32

// put keeps a section.
func (h *headers) put(name string, b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.list {
		if h.list[i].name == name {
			return
		}
	}
	if len(h.list) == maxHeaders {
		h.list = append(h.list[:0], h.list[1:]...)
	}
	h.list = append(h.list, header{name, b})
}

// Init returns the initialization section of that name, or nil if it is not in
// memory. The caller must not change it.
func (s *Stream) Init(name string) []byte {
	h := &s.headers
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.list {
		if h.list[i].name == name {
			return h.list[i].b
		}
	}
	return nil
}

// reach makes what is stored stay for as long as parts can be asked for: three
// target durations in the list and as long behind it (RFC 8216bis 6.2.2), of which
// the newest four target durations are all that players at the edge want.
func (m *memory) reach(target time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.back = 4 * target
}
