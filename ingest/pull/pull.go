// Package pull keeps declared sources running: it opens them, gives them to be
// published, and opens them again when they end, later each time they fail. Sources on
// demand run only while somebody watches.
package pull

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/pace"
)

// Source is what is pulled.
type Source struct {
	Name string // of the stream
	URL  string
	// OnDemand: it starts with the first viewer, and stops when the last one has gone.
	OnDemand bool
}

// Defaults of Config.
const (
	DefaultMinDelay = time.Second
	DefaultMaxDelay = 15 * time.Second
	DefaultMax      = 1024
	DefaultTimeout  = 10 * time.Second
	DefaultIdle     = 10 * time.Second
)

// Open opens a source. ctx ends it, also later.
type Open func(ctx context.Context, u *url.URL) (av.Demuxer, error)

// Config says how sources are kept running. Open and Publish are required; the zero
// value of each other field is the default named.
type Config struct {
	// Open is how to open the URLs of each scheme. Others are refused.
	Open map[string]Open
	// Check reports what is wrong with a stream's name; nil: nothing is.
	Check func(name string) error
	// Publish reads d until it ends. It calls shown once, when viewers have something to
	// see. d is closed behind it.
	Publish func(ctx context.Context, name string, d av.Demuxer, shown func()) error
	// Look tells what viewers have under a name, and Forget lets go of it when nobody
	// wants it any more. They are needed for sources on demand, and must not call a Set.
	Look   func(name string) Shown
	Forget func(ctx context.Context, name string)

	MinDelay time.Duration // before a source is opened again; 0: DefaultMinDelay
	MaxDelay time.Duration // after many failures; 0: DefaultMaxDelay
	Max      int           // sources; 0: DefaultMax
	Timeout  time.Duration // a viewer waits so long for a source on demand; 0: DefaultTimeout
	Idle     time.Duration // it goes on so long without a viewer; 0: DefaultIdle
	Log      *slog.Logger  // a line for each time that a source ends; nil: none
}

// State is what a source is at.
type State uint8

// The states, in the order of a source's life; from Waiting it goes back to
// Connecting, or to Unwatched.
const (
	Idle       State = iota // not begun
	Unwatched               // on demand, and nobody wants it
	Connecting              // being opened
	Running                 // being published
	Waiting                 // for its next attempt
	Stopped
)

func (s State) String() string {
	return [...]string{"idle", "waiting for a viewer", "connecting", "running", "waiting", "stopped"}[s]
}

// Status is how a source is.
type Status struct {
	Source  // the URL without its password
	State   State
	Since   time.Time // of the state
	Tried   int64     // attempts, the present one included
	Failed  int       // attempts in a row that have failed
	LastErr error     // why the last attempt ended; nil: none has, or the source said so
	Bytes   int64     // received by the present attempt, where that is known
}

// Shown is what viewers have under a name, whoever publishes it.
type Shown struct {
	There bool // something, also while its publisher is away
	Live  bool // somebody publishes
	// Pace is how far apart the requests of one viewer may be.
	Pace time.Duration
}

// Errors of Add.
var (
	ErrExists = errors.New("pull: there is a source of this name")
	ErrScheme = errors.New("pull: scheme not supported")
	ErrMany   = errors.New("pull: too many sources")
)

// Set is a set of sources. Its methods are safe for concurrent use.
type Set struct {
	cfg Config

	mu      sync.Mutex // guards what follows, never while a source is opened
	sources map[string]*source
	fresh   []*source // not begun
	wake    chan struct{}
}

// New returns an empty Set.
func New(c Config) *Set {
	if c.MinDelay <= 0 {
		c.MinDelay = DefaultMinDelay
	}
	if c.MaxDelay <= 0 {
		c.MaxDelay = DefaultMaxDelay
	}
	if c.Max <= 0 {
		c.Max = DefaultMax
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Idle <= 0 {
		c.Idle = DefaultIdle
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Set{cfg: c, sources: make(map[string]*source), wake: make(chan struct{}, 1)}
}

// Add declares a source; it begins at once if Run does. Errors: ErrExists,
// ErrScheme, ErrMany, and Config.Check's.
func (s *Set) Add(src Source) error {
	u, err := url.Parse(src.URL)
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	open := s.cfg.Open[u.Scheme]
	if open == nil {
		return fmt.Errorf("%w: %q, only %v", ErrScheme, u.Scheme, slices.Sorted(maps.Keys(s.cfg.Open)))
	}
	if s.cfg.Check != nil {
		if err := s.cfg.Check(src.Name); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources[src.Name] != nil {
		return fmt.Errorf("%w: %s", ErrExists, src.Name)
	}
	if len(s.sources) >= s.cfg.Max {
		return fmt.Errorf("%w: %d", ErrMany, len(s.sources))
	}
	x := &source{cfg: &s.cfg, name: src.Name, url: u, open: open, stop: make(chan struct{}), done: make(chan struct{})}
	x.status = Status{Source: Source{src.Name, u.Redacted(), src.OnDemand}, Since: time.Now()}
	if src.OnDemand {
		x.demand = newDemand()
	}
	s.sources[src.Name] = x
	s.fresh = append(s.fresh, x)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// Remove ends a source and waits for that; false if there is none of the name.
func (s *Set) Remove(name string) bool {
	s.mu.Lock()
	x := s.sources[name]
	delete(s.sources, name)
	fresh := len(s.fresh)
	s.fresh = slices.DeleteFunc(s.fresh, func(f *source) bool { return f == x })
	begun := len(s.fresh) == fresh
	s.mu.Unlock()
	if x == nil {
		return false
	}
	close(x.stop)
	if begun {
		<-x.done
	} else {
		x.set(Stopped, nil)
	}
	return true
}

// List returns how every source is, by name.
func (s *Set) List() []Status {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.sources))
	s.mu.Unlock()
	out := make([]Status, len(all))
	for i, x := range all {
		out[i] = x.snapshot()
	}
	slices.SortFunc(out, func(a, b Status) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// Run keeps the sources running until ctx is done, and returns when all have ended.
func (s *Set) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		s.mu.Lock()
		fresh := s.fresh
		s.fresh = nil
		s.mu.Unlock()
		for _, x := range fresh {
			group.Go(func() { x.run(ctx) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
	}
}

// source is one source. Its lock is its own: sources do not wait for each other.
type source struct {
	cfg  *Config
	name string
	url  *url.URL
	open Open
	stop chan struct{} // closed by Remove
	done chan struct{} // closed when run has returned

	mu     sync.Mutex // guards what follows
	status Status
	input  av.Progress // nil if none runs, or it cannot tell
	demand *demand     // nil: it always runs
}

func (x *source) snapshot() Status {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.input != nil {
		x.status.Bytes, _ = x.input.Progress()
	}
	return x.status
}

func (x *source) set(state State, input av.Progress) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.status.State, x.status.Since, x.input = state, time.Now(), input
	if state == Connecting {
		x.status.Tried++
		x.status.Bytes = 0
	}
	x.demand.change()
}

// ended notes how an attempt ended, and returns how long to wait for the next.
func (x *source) ended(err error, ran time.Duration) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.status.LastErr = err
	if err == nil || ran >= x.cfg.MaxDelay {
		x.status.Failed = 0
	}
	if err != nil {
		x.status.Failed++
	}
	wait := delay(x.cfg, x.status.Failed, rand.Float64())
	x.status.State, x.status.Since, x.input = Waiting, time.Now(), nil
	x.demand.answer(x.status.Since.Add(wait))
	return wait
}

// delay doubles with each failure, up to the most; half of it is left to chance, so
// that sources that fell together do not come back together.
func delay(c *Config, failed int, chance float64) time.Duration {
	d := c.MinDelay
	for i := 1; i < failed && d < c.MaxDelay; i++ {
		d *= 2
	}
	d = min(d, c.MaxDelay)
	return d/2 + time.Duration(chance*float64(d/2))
}

func (x *source) run(ctx context.Context) {
	defer close(x.done)
	defer x.set(Stopped, nil)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	removed := make(chan struct{})
	defer func() { <-removed }()
	go func() {
		defer close(removed)
		select {
		case <-x.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer cancel()
	for x.wanted(ctx) {
		began := time.Now()
		err := hide(x.watched(ctx), x.url)
		if ctx.Err() != nil {
			return
		}
		if errors.Is(err, errUnwanted) {
			continue
		}
		wait := x.ended(err, time.Since(began))
		x.cfg.Log.Info("source ended", "name", x.name, "url", x.url.Redacted(), "err", err, "again", wait.Round(time.Millisecond))
		if pace.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// attempt opens the source and has it published.
func (x *source) attempt(ctx context.Context) error {
	x.set(Connecting, nil)
	d, err := x.open(ctx, x.url)
	if err != nil {
		return err
	}
	defer d.Close()
	p, _ := d.(av.Progress)
	x.set(Running, p)
	return x.cfg.Publish(ctx, x.name, d, x.shown)
}
