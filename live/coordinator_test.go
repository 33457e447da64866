package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/store"
)

// orders keeps the order of commits.
type orders struct {
	index.Index
	mu   sync.Mutex
	seqs []int64
	gaps []int64
}

func (o *orders) Add(_ context.Context, _ string, e index.Entry) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if e.Gap {
		o.gaps = append(o.gaps, e.Seq)
	} else {
		o.seqs = append(o.seqs, e.Seq)
	}
	return nil
}

// jobs are n chunks in the queue of a coordinator, as commit makes them.
func jobs(t *testing.T, c *coordinator, n int) []*job {
	t.Helper()
	l := make([]*job, n)
	for i := range l {
		body := newBytes([]byte("chunk"))
		l[i] = &job{
			c: c, object: &object{key: fmt.Sprintf("cam/%d", i)}, body: body, charged: body.size, entry: &index.Entry{Seq: int64(i)},
			before: c.last, done: make(chan struct{}),
		}
		if err := c.enter(body.size, time.Second); err != nil {
			t.Fatal(err)
		}
		c.last = l[i].done
	}
	return l
}

// await is c.wait, but for a minute at most.
func await(t *testing.T, c *coordinator) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); c.wait(false) }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%d chunks wait for each other", len(c.queue))
	}
}

// Goroutines start in any order. Later chunks that are stored first wait for the first
// without its place in the store, and all are committed in the order of the cuts.
func TestCommitOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &orders{}
		h, end := hub(t, Config{Index: o})
		defer end()
		c := newCoordinator(t.Context(), newStream(h, "cam"), h.pool)
		l := jobs(t, c, 2*maxCommits+1)
		for _, j := range slices.Backward(l) {
			c.group.Go(j.run)
			synctest.Wait()
		}
		await(t, c)
		if !slices.IsSorted(o.seqs) || len(o.seqs) != len(l) {
			t.Errorf("committed %v of %d chunks", o.seqs, len(l))
		}
		for _, j := range l {
			if j.object.state.Load() != stored {
				t.Errorf("%s is not stored", j.object.key)
			}
		}
		if n := c.bytes.Used(); n != 0 || len(c.queue) != 0 || len(c.slots) != 0 {
			t.Errorf("%d bytes, %d places and %d slots are still taken", n, len(c.queue), len(c.slots))
		}
	})
}

// failing does not store one key.
type failing struct {
	store.Store
	key string
}

var errFull = errors.New("full")

func (f *failing) Put(ctx context.Context, key string, r io.ReaderAt, size int64) error {
	if key == f.key {
		return errFull
	}
	return f.Store.Put(ctx, key, r, size)
}

// A chunk that could not be stored does not hold up those behind it, is not committed,
// and has a gap in its place.
func TestCommitBehindFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &orders{}
		h, end := hub(t, Config{Index: o, Store: &failing{&memStore{}, "cam/1"}})
		defer end()
		s := newStream(h, "cam")
		c := newCoordinator(t.Context(), s, h.pool)
		for _, j := range jobs(t, c, 4) {
			c.group.Go(j.run)
		}
		await(t, c)
		if want := []int64{0, 2, 3}; !slices.Equal(o.seqs, want) || !slices.Equal(o.gaps, []int64{1}) {
			t.Errorf("committed %v and gaps %v, want %v and 1", o.seqs, o.gaps, want)
		}
		if n := s.stats.unstored.Load(); n != 1 {
			t.Errorf("%d chunks count as not stored", n)
		}
	})
}
