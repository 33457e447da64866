// Package live keeps the streams that run: it takes packets of publishers, cuts
// them into chunks, commits these to the store in order, and shows players the
// edge.
package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/internal/peer"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/stage"
	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/retry"
)

// Defaults of Config.
const (
	DefaultTarget   = 2 * time.Second
	DefaultPart     = pack.DefaultPart
	DefaultMaxChunk = 10 * time.Second
	DefaultWindow   = time.Minute
	DefaultGrace    = 30 * time.Second
	DefaultStreams  = 256
	DefaultMemory   = 512 << 20
	DefaultStream   = 128 << 20
	DefaultViewer   = 4 << 20
	DefaultDrain    = 10 * time.Second
	DefaultViewers  = 10000
	DefaultWaiting  = 20000
)

// Config says how streams are kept. Store is required; the zero value of each
// other field is the default named.
type Config struct {
	Store    store.Store
	Index    index.Index   // of what is stored; nil: none
	Journal  string        // folder for the parts of chunks that are not stored yet; empty: none
	Target   time.Duration // chunk length aimed at
	Part     time.Duration // length of parts aimed at; negative: none are listed
	MaxChunk time.Duration // longest chunk of the first GOP, and so the longest promise
	Window   time.Duration // of playlists; segments that left it stay as long again
	Grace    time.Duration // how long a stream waits for its publisher to return
	Streams  int           // with a publisher at a time
	// PerAddress is how many of them clients of one address may publish; 0: half of
	// Streams, so that nobody takes every place.
	PerAddress int
	// Viewers is how many viewers of packets there may be at a time, of all streams, and
	// Waiting how many requests that wait for what is not there yet. Of both clients of one
	// address may have so many; 0: half, since a proxy's address is that of many.
	Viewers, ViewersPerAddress int
	Waiting, WaitingPerAddress int
	Memory                     int64 // bytes of payload of all streams
	// StreamMemory is the bytes of payload of one stream: packets and parts. Viewer
	// is how many of them a viewer may be behind before it jumps.
	StreamMemory, Viewer int64
	RecoverWait          time.Duration // of Recover for what the store has; 0: as long as it takes
	Drain                time.Duration // for what is not committed when a publisher ends
	Takeover             bool          // a second publisher of a name ends the first, and is not refused
	// Sealing says how the stream of a name is encrypted, nil that it is not; it must
	// always say the same. nil: none is.
	Sealing func(name string) *Sealing
	// Stages are what closed chunks pass before they are stored. The renditions that they
	// make have no parts: there must be none. A stream that is encrypted passes none.
	Stages []stage.Stage
	// Retention is how long the chunks of a name's stream are kept; nil, or returns nil:
	// as long as the window needs them. Promises is the file of what playlists of them
	// promise; empty: that does not outlive the process.
	Retention func(name string) *Retention
	Promises  string
	Log       *slog.Logger // nil: none
}

// Validate reports what is wrong with c, with the defaults for what it leaves open.
func (c Config) Validate() error {
	c.defaults()
	switch {
	case c.Target < 100*time.Millisecond || c.MaxChunk < c.Target || c.Window < c.Target:
		return fmt.Errorf("live: target %v, max chunk %v, window %v: 100ms <= target <= max chunk, target <= window", c.Target, c.MaxChunk, c.Window)
	case c.Part > 0 && (c.Part < 100*time.Millisecond || c.Part > c.Target/2):
		return fmt.Errorf("live: part %v: it must be 100ms to half of the target, %v", c.Part, c.Target)
	case c.Memory < 16<<20 || c.StreamMemory < 8<<20 || c.StreamMemory > c.Memory:
		return fmt.Errorf("live: memory %d, stream memory %d: at least 16 MiB, and 8 MiB of it", c.Memory, c.StreamMemory)
	case len(c.Stages) > 0 && c.Part > 0:
		return errors.New("live: a rendition that is made of whole chunks has no parts, and parts of the others are listed: switch low latency off")
	case c.Viewer < 1<<20 || c.Viewer > c.StreamMemory/4:
		return fmt.Errorf("live: viewer %d: it must be 1 MiB to a quarter of the stream memory, %d", c.Viewer, c.StreamMemory)
	}
	return nil
}

func (c *Config) defaults() {
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.Target, DefaultTarget)
	if c.Part == 0 {
		c.Part = DefaultPart
	}
	set(&c.MaxChunk, DefaultMaxChunk)
	set(&c.Window, DefaultWindow)
	set(&c.Grace, DefaultGrace)
	set(&c.Drain, DefaultDrain)
	if c.Streams <= 0 {
		c.Streams = DefaultStreams
	}
	share := func(n *int, of int) {
		if *n <= 0 {
			*n = (of + shareOfAddress - 1) / shareOfAddress
		}
	}
	share(&c.PerAddress, c.Streams)
	if c.Viewers <= 0 {
		c.Viewers = DefaultViewers
	}
	share(&c.ViewersPerAddress, c.Viewers)
	if c.Waiting <= 0 {
		c.Waiting = DefaultWaiting
	}
	share(&c.WaitingPerAddress, c.Waiting)
	bytes := func(n *int64, v int64) {
		if *n <= 0 {
			*n = v
		}
	}
	bytes(&c.Memory, DefaultMemory)
	bytes(&c.StreamMemory, min(DefaultStream, c.Memory))
	bytes(&c.Viewer, min(DefaultViewer, c.StreamMemory/8))
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Errors of Publish.
var (
	ErrTaken   = errors.New("live: somebody publishes under this name")
	ErrName    = errors.New("live: not a stream name")
	ErrCrowded = errors.New("live: too many publishers")
	ErrMemory  = errors.New("live: too little memory")
	// ErrTakenOver is the cause of the end of a publisher whose name another one took.
	ErrTakenOver = errors.New("live: another publisher took the name over")
)

// Hub maps names to streams. Its methods are safe for concurrent use.
type Hub struct {
	cfg    Config
	puts   *retry.Store // cfg.Store, tried again where that may help
	pool   *mem.Pool
	states index.Catalogue // cfg.Index, if it keeps states of streams; else nil

	viewers, waiting *door

	began   time.Time // monotonic
	wall    wall
	stepped atomic.Bool // the system's clock is away from wall

	demand Demand // nil: none; set before viewers come

	mu      sync.Mutex // guards what follows
	streams map[string]*Stream
	places  map[string]int // publishers, by the key of their address
	taken   int            // publishers
	ended   []*Stream      // that are over and have objects to be deleted

	keeper keeper
}

// NewHub returns a Hub without streams.
func NewHub(cfg Config) (*Hub, error) {
	if cfg.Store == nil {
		return nil, errors.New("live: no store")
	}
	cfg.defaults()
	states, _ := cfg.Index.(index.Catalogue)
	h := &Hub{
		cfg: cfg, states: states, puts: retry.New(cfg.Store, retry.Config{}), pool: mem.NewPool(cfg.Memory), began: time.Now(),
		viewers: newDoor(ErrViewers, cfg.Viewers, cfg.ViewersPerAddress), waiting: newDoor(ErrWaiting, cfg.Waiting, cfg.WaitingPerAddress),
		streams: make(map[string]*Stream), places: make(map[string]int),
	}
	h.keeper.h, h.keeper.all, h.keeper.promises.path = h, make(map[string]*kept), cfg.Promises
	if err := h.keeper.promises.open(); err != nil {
		h.pool.Close()
		return nil, err
	}
	return h, nil
}

// Close gives the memory back. Every Publish must have returned; cursors that are
// not closed yet keep what their batch pins, and get io.EOF.
func (h *Hub) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.streams {
		s.ring.clear(true)
		s.memory.forget()
	}
	h.pool.Close()
	return nil
}

// InUse returns the bytes of payload held.
func (h *Hub) InUse() int64 { return h.pool.InUse() }

// Limits returns how many publishers there may be at a time, and bytes of payload.
func (h *Hub) Limits() (streams int, memory int64) { return h.cfg.Streams, h.cfg.Memory }

// Lookup returns the stream of that name, or nil.
func (h *Hub) Lookup(name string) *Stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[name]
}

// Names returns the names of all streams, in no order.
func (h *Hub) Names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]string, 0, len(h.streams))
	for name := range h.streams {
		out = append(out, name)
	}
	return out
}

// PublishOptions say what kind of source publishes.
type PublishOptions struct {
	// Elastic: the source can wait, as a file or a finite body can. Where memory or the
	// store is full, it is read no further. Any other is real-time: it is always read,
	// and what there is no room for is dropped up to the next key frame.
	Elastic bool
	// Shown, if not nil, is called once, when viewers have the first key frame, by the
	// goroutine that reads.
	Shown func()
	// From is the client's address, HOST:PORT; empty for a source of the server's own,
	// which Config.PerAddress does not bound.
	From string
}

// Publish is PublishWith for a source that sends in real time.
func (h *Hub) Publish(ctx context.Context, name string, d av.Demuxer) error {
	return h.PublishWith(ctx, name, d, PublishOptions{})
}

// PublishWith reads d until it ends, as the stream called name, and returns when
// every chunk is committed or the drain deadline has passed. It does not close d,
// except to take the name over for another publisher. A stream that waits for its
// publisher goes on, with a discontinuity. Errors: ErrTaken, ErrName, ErrCrowded and
// ErrMemory, all before d was read; those of d, but io.EOF is nil; ErrTakenOver;
// ctx's cause; ErrKey, also before d was read.
func (h *Hub) PublishWith(ctx context.Context, name string, d av.Demuxer, o PublishOptions) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &turn{in: d, from: peer.Key(o.From), stop: cancel, done: make(chan struct{})}
	s, err := h.claim(ctx, name, t)
	if err != nil {
		return err
	}
	defer func() { h.unclaim(s, t, time.Now()) }()
	return s.publish(ctx, d, o)
}

// Now returns the time of day by the clock that gives segments their dates.
func (h *Hub) Now() time.Time { return h.now() }

// Window is how long playlists are.
func (h *Hub) Window() time.Duration { return h.cfg.Window }

// Rest is how long a stream that nobody publishes is shown, until it is over.
func (h *Hub) Rest() time.Duration { return h.cfg.Grace + h.cfg.Window }

// Sealing returns how the stream of a name is encrypted; nil: it is not.
func (h *Hub) Sealing(name string) *Sealing {
	if h.cfg.Sealing == nil {
		return nil
	}
	return h.cfg.Sealing(name)
}

// now is the time of day that playlists tell.
func (h *Hub) now() time.Time {
	sys := time.Now()
	now, ahead := h.wall.now(sys.Sub(h.began), sys)
	if far := ahead > time.Second || ahead < -time.Second; h.stepped.CompareAndSwap(!far, far) && far {
		h.cfg.Log.Warn("the system's clock was set; dates in playlists follow slowly", "ahead", ahead)
	}
	return now
}

// Run ends streams whose publishers do not return and deletes what no player can
// ask for any more, and no rule keeps, until ctx is done.
func (h *Hub) Run(ctx context.Context) error {
	due := make(chan []*Stream) // whose objects may have expired
	var group sync.WaitGroup
	group.Go(func() { // the store may take its time
		for all := range due {
			for _, s := range all {
				s.deleteExpired(ctx, time.Now())
			}
		}
	})
	group.Go(func() { h.keeper.run(ctx) })
	defer group.Wait()
	defer close(due)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var all []*Stream
	for {
		var out chan []*Stream
		if len(all) > 0 {
			out = due
		}
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			all = h.sweep(now, all)
		case out <- all:
			all = nil
		}
	}
}

// sweep ends streams, and returns all that may have something to delete, and those of last.
func (h *Hub) sweep(now time.Time, last []*Stream) []*Stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = slices.DeleteFunc(h.ended, func(s *Stream) bool { return !s.expires() })
	all := last
	for _, s := range h.ended {
		if !slices.Contains(last, s) {
			all = append(all, s)
		}
	}
	for _, s := range h.streams {
		if s.over(now) {
			h.remove(s, time.Time{})
		}
		s.ring.sweep(now)
		if !slices.Contains(last, s) {
			all = append(all, s)
		}
	}
	return all
}
