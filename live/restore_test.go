package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/index"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/store"
	storemem "github.com/cleave-video/cleave/store/mem"
)

var errDead = errors.New("killed")

// machine has a store and an index that outlive processes.
type machine struct {
	store *storemem.Mem
	index *indexmem.Mem
	parts string // folder; empty: parts are not kept
	away  bool   // the store takes, and has nothing to say of what it has
}

func newMachine(t *testing.T) *machine {
	m := &machine{storemem.New(storemem.Config{MaxBytes: 256 << 20}), indexmem.New(), "", false}
	t.Cleanup(func() {
		if err := m.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// mortal is the store and the index as a process sees them, which do nothing for it once
// it was killed.
type mortal struct {
	*storemem.Mem
	killed atomic.Bool
	// fails, if set, has Put fail for a key; hold has it wait until the process is killed.
	fails func(key string) bool
	hold  atomic.Pointer[chan struct{}]
	away  bool
	keeps atomic.Bool // Delete is not done
}

func (m *mortal) Open(ctx context.Context, key string) (store.Object, error) {
	if m.away {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return m.Mem.Open(ctx, key)
}

func (m *mortal) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	if m.away {
		return func(yield func(store.Info, error) bool) {
			<-ctx.Done()
			yield(store.Info{}, context.Cause(ctx))
		}
	}
	return m.Mem.List(ctx, prefix)
}

func (m *mortal) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	if hold := m.hold.Load(); hold != nil {
		select {
		case <-*hold:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if m.killed.Load() || m.fails != nil && m.fails(key) {
		return errDead
	}
	return m.Mem.Put(ctx, key, body, size)
}

func (m *mortal) Delete(ctx context.Context, key string) error {
	if m.killed.Load() || m.keeps.Load() {
		return errDead
	}
	return m.Mem.Delete(ctx, key)
}

type mortalIndex struct {
	*indexmem.Mem
	m *mortal
	// full has Add fail for the moment.
	full atomic.Bool
	// stalled has SetState write nothing.
	stalled atomic.Bool
}

func (x *mortalIndex) Add(ctx context.Context, stream string, e index.Entry) error {
	switch {
	case x.m.killed.Load():
		return errDead
	case x.full.Load():
		return store.ErrFull
	}
	return x.Mem.Add(ctx, stream, e)
}

func (x *mortalIndex) SetState(ctx context.Context, stream string, s index.State) error {
	if x.m.killed.Load() {
		return errDead
	}
	if x.stalled.Load() {
		return nil
	}
	return x.Mem.SetState(ctx, stream, s)
}

func (x *mortalIndex) Drop(ctx context.Context, stream string, before time.Time) error {
	if x.m.killed.Load() {
		return errDead
	}
	return x.Mem.Drop(ctx, stream, before)
}

// process is a hub that can be killed.
type process struct {
	*Hub
	m       *mortal
	ix      *mortalIndex
	end     func()
	machine *machine
}

func (m *machine) start(t *testing.T, cfg Config) *process {
	p := &process{m: &mortal{Mem: m.store, away: m.away}, machine: m}
	p.ix = &mortalIndex{Mem: m.index, m: p.m}
	cfg.Store, cfg.Index, cfg.Journal = p.m, p.ix, m.parts
	p.Hub, p.end = hub(t, cfg)
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// publish publishes until the process is killed, or stopped.
func (p *process) publish(t *testing.T, s avtest.Spec) (stop func()) {
	d := avtest.Pace(avtest.NewSynthetic(s))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Publish(context.Background(), "live/cam", d); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	}()
	return func() { d.Close(); <-done }
}

// kill ends the process: from now on nothing is stored, and the next one finds the parts
// that are there now.
func (p *process) kill(t *testing.T, stop func()) *Edge {
	synctest.Wait()
	e := p.Lookup("live/cam").Edge()
	p.m.killed.Store(true)
	if m := p.machine; m.parts != "" {
		now := filepath.Join(t.TempDir(), "parts")
		if err := os.CopyFS(now, os.DirFS(m.parts)); err != nil {
			t.Fatal(err)
		}
		m.parts = now
	}
	if hold := p.m.hold.Load(); hold != nil {
		close(*hold)
	}
	if stop != nil {
		stop()
	}
	p.end()
	return e
}

// shown is what is compared of segments.
var shown = cmp.Options{
	cmpopts.IgnoreUnexported(Segment{}, Part{}), cmpopts.IgnoreFields(Segment{}, "Parts", "Listed", "Keys", "FirstKey", "DTS", "Shift", "Stretch"),
}

func segments(r *Rendition, from, to int64) (out []Segment) {
	for _, s := range r.Segments {
		if s.MSN >= from && s.MSN < to {
			out = append(out, s)
		}
	}
	return out
}

// TestRestore kills a process in the middle of a chunk: the next one shows the same
// segments, goes on with numbers, discontinuities and dates, keeps its promise, and lists
// a gap for what had been shown and was lost.
func TestRestore(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Window: 30 * time.Second}
		a := m.start(t, cfg)
		stop := a.publish(t, spec(60))
		time.Sleep(45500 * time.Millisecond)
		was := a.kill(t, stop)
		time.Sleep(5 * time.Second)

		b := m.start(t, cfg)
		s := b.Lookup("live/cam")
		if s == nil {
			t.Fatal("the stream is not there")
		}
		is := s.Edge()
		if is.TargetDuration != was.TargetDuration || is.PartTarget != was.PartTarget || is.Live || is.Ended || !is.Ready() {
			t.Errorf("%+v", is)
		}
		for i := range was.Renditions {
			x, y := &was.Renditions[i], &is.Renditions[i]
			if x.Name != y.Name || y.Info != x.Info || y.Segments[0].MSN < x.Segments[0].MSN {
				t.Errorf("%s from %d is now %s from %d: %+v", x.Name, x.Segments[0].MSN, y.Name, y.Segments[0].MSN, y.Info)
			}
			from, to := y.Segments[0].MSN, x.Last()+1
			if d := cmp.Diff(segments(x, from, to), segments(y, from, to), shown); d != "" || to-from < 2 {
				t.Errorf("%s, %d to %d (-want +got):\n%s", x.Name, from, to, d)
			}
			for _, g := range segments(y, to, 1<<62) {
				if !g.Gap || !g.Discontinuity || g.Date.After(time.Now()) {
					t.Errorf("not a gap: %+v", g)
				}
			}
			if n := y.Last() - x.Last(); n < 1 || n > ahead {
				t.Errorf("%d numbers are given up", n)
			}
		}
		stop = b.publish(t, spec(60))
		time.Sleep(4500 * time.Millisecond)
		goesOn(t, is, s.Edge())
		before := b.kill(t, stop)

		c := m.start(t, cfg) // what it shows of the gaps is what was shown
		x, y := &before.Renditions[0], &c.Lookup("live/cam").Edge().Renditions[0]
		if d := cmp.Diff(segments(x, y.Segments[0].MSN, x.Last()), segments(y, 0, x.Last()), shown); d != "" {
			t.Errorf("a third process (-want +got):\n%s", d)
		}
		c.end()
	})
}

// goesOn checks that what a stream shows continues what it showed when it was restored.
func goesOn(t *testing.T, was, is *Edge) {
	t.Helper()
	for i := range is.Renditions {
		x, y := &was.Renditions[i], &is.Renditions[i]
		next := segments(y, x.Last()+1, 1<<62)
		if len(next) < 2 || next[0].MSN != x.Last()+1 || !next[0].Discontinuity || next[1].Discontinuity || next[0].Gap {
			t.Errorf("%s goes on with %+v", y.Name, next)
			continue
		}
		last := x.Segments[len(x.Segments)-1]
		if next[0].Epoch != last.Epoch+1 || next[0].DTS < last.End() || next[0].Date.Before(last.Date.Add(last.Duration())) {
			t.Errorf("%s: %+v after %+v", y.Name, next[0], last)
		}
		if a, b := number(x, last.MSN), number(y, last.MSN); a != b {
			t.Errorf("%s: discontinuity sequence number %d, was %d", y.Name, b, a)
		}
	}
}

// number is the discontinuity sequence number of a segment.
func number(r *Rendition, msn int64) int64 {
	n := r.Discontinuities
	for i := range r.Segments {
		if r.Segments[i].Discontinuity && r.Segments[i].MSN <= msn {
			n++
		}
	}
	return n
}

// TestRestoreInOrder stops a process in order: nothing is lost, and there are no gaps.
func TestRestoreInOrder(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		a := m.start(t, Config{})
		stop := a.publish(t, spec(60))
		time.Sleep(10500 * time.Millisecond)
		stop()
		was := a.kill(t, nil)
		b := m.start(t, Config{})
		is := b.Lookup("live/cam").Edge()
		for i := range was.Renditions {
			if d := cmp.Diff(was.Renditions[i].Segments, is.Renditions[i].Segments, shown); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		}
		stop = b.publish(t, spec(60))
		time.Sleep(4500 * time.Millisecond)
		goesOn(t, is, b.Lookup("live/cam").Edge())
		stop()
		b.end()
	})
}

// TestRestoreTooLate starts after the grace and the window: nothing is listed again, and
// the stream begins behind its last number and its last discontinuity.
func TestRestoreTooLate(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Window: 10 * time.Second, Grace: 10 * time.Second}
		a := m.start(t, cfg)
		stop := a.publish(t, spec(60))
		time.Sleep(12500 * time.Millisecond)
		was := a.kill(t, stop)
		time.Sleep(time.Minute)
		b := m.start(t, cfg)
		if s := b.Lookup("live/cam"); s != nil {
			t.Errorf("shown again: %+v", s.Edge())
		}
		stop = b.publish(t, spec(60))
		time.Sleep(3500 * time.Millisecond)
		s := b.Lookup("live/cam")
		x, y := &was.Renditions[0], &s.Edge().Renditions[0]
		if y.Segments[0].MSN <= x.Last() || y.Segments[0].Epoch != 2 || y.Discontinuities <= number(x, x.Last()) {
			t.Errorf("it goes on with %d of epoch %d, discontinuity %d after %d and %d", y.Segments[0].MSN, y.Segments[0].Epoch, y.Discontinuities, x.Last(), number(x, x.Last()))
		}
		time.Sleep(20 * time.Second) // what the first one left goes
		for _, e := range entries(t, m.index) {
			if e.Epoch == 1 {
				t.Errorf("%s is still there", e.Object)
			}
		}
		stop()
		b.end()
	})
}

// TestRestoreWithLosses has the store refuse some chunks and the index none for a while:
// a chunk that was not stored is a gap in the index, and no entry is lost.
func TestRestoreWithLosses(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		a := m.start(t, Config{})
		a.m.fails = func(key string) bool { return key == chunkKey("live/cam", 1, 3) }
		stop := a.publish(t, spec(60))
		time.Sleep(8 * time.Second)
		a.ix.full.Store(true)
		time.Sleep(8 * time.Second)
		a.ix.full.Store(false)
		time.Sleep(3 * time.Second)
		for i, e := range entries(t, m.index) {
			if e.Seq != int64(i) || e.Gap != (i == 3) {
				t.Errorf("entry %d: number %d, gap %v", i, e.Seq, e.Gap)
			}
		}
		a.ix.full.Store(true) // what is not in the index when it is killed is adopted
		time.Sleep(6 * time.Second)
		was := a.kill(t, stop)
		b := m.start(t, Config{})
		is := b.Lookup("live/cam").Edge()
		for _, s := range was.Renditions[0].Segments {
			got := is.Renditions[0].Segment(s.Epoch, s.MSN)
			if got == nil || got.Gap != (s.MSN == 3) || got.Date.Sub(s.Date).Abs() > time.Millisecond {
				t.Errorf("%d is now %+v", s.MSN, got)
			}
		}
		b.end()
	})
}

// TestSalvage kills a process that has two chunks on their way to the store and one open:
// the next one has all of them, the open one up to its last part, and gives no number up.
func TestSalvage(t *testing.T) {
	m := newMachine(t)
	m.parts = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := m.start(t, Config{})
		stop := a.publish(t, spec(60))
		time.Sleep(6 * time.Second)
		hold := make(chan struct{})
		a.m.hold.Store(&hold)
		time.Sleep(5500 * time.Millisecond)
		was := a.kill(t, stop)
		if got := len(entries(t, m.index)); got > 4 {
			t.Fatalf("%d chunks are stored", got)
		}
		b := m.start(t, Config{})
		is := b.Lookup("live/cam").Edge()
		for i := range was.Renditions {
			x, y := &was.Renditions[i], &is.Renditions[i]
			if d := cmp.Diff(x.Segments, segments(y, 0, x.Last()+1), shown); d != "" {
				t.Errorf("%s (-want +got):\n%s", x.Name, d)
			}
			open := segments(y, x.Open.MSN, x.Open.MSN+1)
			if len(open) != 1 || open[0].Gap || open[0].Size != x.Open.Size || open[0].Dur != x.Open.Dur || y.Last() != x.Open.MSN {
				t.Errorf("%s: of %d parts, %d bytes, there is %+v", x.Name, len(x.Open.Parts), x.Open.Size, open)
			}
		}
		list := entries(t, m.index)
		if e := list[len(list)-1]; e.Reason != chunk.Crash || e.Gap || list[len(list)-2].Reason != chunk.Grid {
			t.Errorf("the last ones are %+v", list[len(list)-2:])
		}
		if left, err := os.ReadDir(m.parts); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		stop = b.publish(t, spec(60))
		time.Sleep(4500 * time.Millisecond)
		goesOn(t, is, b.Lookup("live/cam").Edge())
		stop()
		b.end()
	})
}

// TestSalvageWithoutStore starts while the store does not answer: the stream is shown
// again, with what was salvaged.
func TestSalvageWithoutStore(t *testing.T) {
	m := newMachine(t)
	m.parts = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := m.start(t, Config{})
		stop := a.publish(t, spec(60))
		time.Sleep(11500 * time.Millisecond)
		was := a.kill(t, stop)
		m.away = true
		began := time.Now()
		b := m.start(t, Config{RecoverWait: 10 * time.Second})
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %v to start", took)
		}
		s := b.Lookup("live/cam")
		if s == nil {
			t.Fatal("the stream is not there")
		}
		x, y := &was.Renditions[0], &s.Edge().Renditions[0]
		if open := segments(y, x.Open.MSN, 1<<62); len(open) != 1 || open[0].Gap || open[0].Size != x.Open.Size {
			t.Errorf("the open chunk is %+v", open)
		}
		b.end()
	})
}

// TestShutdownWithoutStore ends a process in order whose store does not answer: what was
// not stored in time the next one stores.
func TestShutdownWithoutStore(t *testing.T) {
	m := newMachine(t)
	m.parts = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := m.start(t, Config{})
		ctx, cancel := context.WithCancel(t.Context())
		d := avtest.Pace(avtest.NewSynthetic(spec(60)))
		context.AfterFunc(ctx, func() { d.Close() })
		done := make(chan error, 1)
		go func() { done <- a.Publish(ctx, "live/cam", d) }()
		time.Sleep(6 * time.Second)
		hold := make(chan struct{})
		a.m.hold.Store(&hold)
		time.Sleep(5500 * time.Millisecond)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		was := a.Lookup("live/cam").Edge()
		a.end()
		b := m.start(t, Config{})
		is := b.Lookup("live/cam").Edge()
		for i := range was.Renditions {
			if d := cmp.Diff(was.Renditions[i].Segments, is.Renditions[i].Segments, shown); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		}
		b.end()
		close(hold)
	})
}

// TestStaleState kills a process whose state was not written for long: the parts say
// which number was the last.
func TestStaleState(t *testing.T) {
	m := newMachine(t)
	m.parts = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := m.start(t, Config{})
		stop := a.publish(t, spec(60))
		time.Sleep(3 * time.Second)
		a.ix.stalled.Store(true)
		time.Sleep(40500 * time.Millisecond)
		was := a.kill(t, stop)
		b := m.start(t, Config{})
		is := b.Lookup("live/cam").Edge()
		checkAgain(t, "stale", was, is)
		stop = b.publish(t, spec(60))
		time.Sleep(4500 * time.Millisecond)
		goesOn(t, is, b.Lookup("live/cam").Edge())
		stop()
		b.end()
	})
}

// TestKilledAtEveryStep kills processes before and after each thing that is written:
// in no case a number is given twice, or a date or a discontinuity goes back.
func TestKilledAtEveryStep(t *testing.T) {
	for step := range 60 {
		m := newMachine(t)
		if step%2 == 0 {
			m.parts = t.TempDir()
		}
		synctest.Test(t, func(t *testing.T) {
			cfg := Config{Window: 8 * time.Second}
			var last *Edge
			for run := range 3 {
				p := m.start(t, cfg)
				if s := p.Lookup("live/cam"); s == nil && last != nil && last.Ready() {
					t.Fatalf("run %d: the stream is not there", run)
				} else if s != nil && last != nil {
					checkAgain(t, fmt.Sprintf("step %d, run %d", step, run), last, s.Edge())
				}
				stop := p.publish(t, spec(60))
				time.Sleep(time.Duration(700+step*97) * time.Millisecond)
				last = p.kill(t, stop)
			}
		})
	}
}

// checkAgain compares what was shown before a process was killed with what is after.
func checkAgain(t *testing.T, when string, was, is *Edge) {
	t.Helper()
	for i := range was.Renditions {
		x := &was.Renditions[i]
		y := is.Rendition(x.Name)
		if len(x.Segments) == 0 {
			continue
		}
		if y == nil || y.Segments[0].MSN < x.Segments[0].MSN || y.Discontinuities < x.Discontinuities || y.Last() < x.Last() {
			t.Errorf("%s: %s goes back: %+v", when, x.Name, y)
			continue
		}
		for k := range y.Segments {
			s := &y.Segments[k]
			old := x.Segment(s.Epoch, s.MSN)
			switch {
			case old == nil && s.MSN <= x.Last():
				t.Errorf("%s: %d was of another epoch than %d", when, s.MSN, s.Epoch)
			case k > 0 && !s.Date.After(y.Segments[k-1].Date):
				t.Errorf("%s: %d at %v, the one before at %v", when, s.MSN, s.Date, y.Segments[k-1].Date)
			case old != nil && !s.Gap && s.MSN <= x.Last() && number(x, s.MSN) != number(y, s.MSN):
				t.Errorf("%s: %d has discontinuity number %d, had %d", when, s.MSN, number(y, s.MSN), number(x, s.MSN))
			}
		}
	}
}
