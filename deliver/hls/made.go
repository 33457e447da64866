package hls

import "sync"

// made keeps what was made of segments for players of another container: each once, as
// long as it is among the newest used.
type made struct {
	most int64 // bytes

	mu    sync.Mutex // guards what follows
	items map[string]*item
	bytes int64
	clock int64
}

type item struct {
	once sync.Once
	b    []byte
	err  error
	used int64 // by made.clock
}

// get returns what build has made for a key; whoever asks meanwhile waits for it. An error
// is not kept.
func (m *made) get(key string, build func() ([]byte, error)) ([]byte, error) {
	m.mu.Lock()
	if m.items == nil {
		m.items = make(map[string]*item)
	}
	x := m.items[key]
	if x == nil {
		x = new(item)
		m.items[key] = x
	}
	m.clock++
	x.used = m.clock
	m.mu.Unlock()
	x.once.Do(func() {
		b, err := build()
		m.settle(key, x, b, err)
	})
	return x.b, x.err
}

// settle counts an item that was made, and lets those go that were not used for longest.
// Those that are being made are nobody's to look at yet.
func (m *made) settle(key string, x *item, b []byte, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if x.b, x.err = b, err; err != nil {
		delete(m.items, key)
		return
	}
	m.bytes += int64(len(x.b))
	for m.bytes > m.most {
		oldest := ""
		for k, i := range m.items {
			if i != x && i.b != nil && (oldest == "" || i.used < m.items[oldest].used) {
				oldest = k
			}
		}
		if oldest == "" {
			return
		}
		m.bytes -= int64(len(m.items[oldest].b))
		delete(m.items, oldest)
	}
}
