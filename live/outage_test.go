package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/index"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/store"
	"github.com/cleave-video/cleave/store/disk"
	storemem "github.com/cleave-video/cleave/store/mem"
	"github.com/cleave-video/cleave/store/spool"
)

// ails says what is wrong with a store.
type ails int32

const (
	nothing     ails = iota
	unavailable      // answers at once that it cannot
	silent           // does not answer until it is given up
	slow             // answers after 7 s
	lateSuccess      // stores, and answers that it did not
	twice            // stores twice
)

// patient is a store that can be ill.
type patient struct {
	*storemem.Mem
	is atomic.Int32
}

var errIll = fmt.Errorf("%w: 503", store.ErrTransient)

// limit is how long a client waits for an answer.
const limit = 20 * time.Second

func (p *patient) wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ail does what is wrong before a call.
func (p *patient) ail(ctx context.Context) error {
	switch ails(p.is.Load()) {
	case unavailable:
		return errIll
	case silent:
		return errors.Join(p.wait(ctx, limit), errIll)
	case slow:
		return p.wait(ctx, 7*time.Second)
	}
	return nil
}

func (p *patient) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	if err := p.ail(ctx); err != nil {
		return err
	}
	is := ails(p.is.Load())
	err := p.Mem.Put(ctx, key, body, size)
	if is == twice && err == nil {
		err = p.Mem.Put(ctx, key, body, size)
	}
	if is == lateSuccess && err == nil {
		return errIll
	}
	return err
}

func (p *patient) Open(ctx context.Context, key string) (store.Object, error) {
	if err := p.ail(ctx); err != nil {
		return nil, err
	}
	return p.Mem.Open(ctx, key)
}

func (p *patient) Delete(ctx context.Context, key string) error {
	if err := p.ail(ctx); err != nil {
		return err
	}
	return p.Mem.Delete(ctx, key)
}

// TestOutage has the store away for 60 s, in each way, while a stream runs: the edge goes
// on to the tick, no segment of it is missing, every chunk is indexed at once, and all are
// in the store afterwards.
func TestOutage(t *testing.T) {
	for name, is := range map[string]ails{"503": unavailable, "silent": silent, "slow": slow, "late": lateSuccess, "twice": twice} {
		t.Run(name, func(t *testing.T) {
			far := &patient{Mem: storemem.New(storemem.Config{MaxBytes: 512 << 20})}
			near, err := disk.Open(filepath.Join(t.TempDir(), "spool"), disk.WithoutSync())
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { outage(t, near, far, is) })
			if err := far.Close(); err != nil {
				t.Error(err)
			}
			if n := far.Used(); n != 0 {
				t.Errorf("%d bytes of the store did not come home", n)
			}
		})
	}
}

func outage(t *testing.T, near store.Store, far *patient, is ails) {
	sp, err := spool.New(t.Context(), near, far, spool.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = sp.Run(ctx) })
	ix := indexmem.New()
	h, end := hub(t, Config{Store: sp, Index: ix, Journal: t.TempDir(), Window: 20 * time.Second, Grace: time.Minute})
	c := &checkEdges{t: t}
	var late lateness
	group.Go(func() { watch(h, "live/cam", func(e *Edge) { c.see(e); late.see(e) }) })
	d := avtest.Pace(avtest.NewSynthetic(spec(100)))
	done := make(chan error, 1)
	go func() { done <- h.Publish(t.Context(), "live/cam", d) }()
	time.Sleep(20500 * time.Millisecond)
	far.is.Store(int32(is))
	time.Sleep(time.Minute)
	st := lookup(h, "live/cam").Stats()
	if st.Unstored != 0 || st.Dropped != 0 || st.Stored < st.Chunks-1 {
		t.Errorf("at the end of it: %+v", st)
	}
	far.is.Store(int32(nothing))
	if err := <-done; err != nil {
		t.Error(err)
	}
	drain, stop := context.WithTimeout(ctx, 2*time.Minute)
	if err := sp.Drain(drain); err != nil {
		t.Errorf("%v: %+v", err, sp.Stats())
	}
	stop()
	r, err := index.Reconcile(t.Context(), far, ix, func(key string) bool { return filepath.Ext(key) != chunkSuffix })
	// What expired while the store was away is deleted when it has been back for a while.
	if err != nil || r.Adopted+r.Dropped+r.Repaired+r.Lost > 0 || r.Entries < 10 {
		t.Errorf("index and store differ: %+v, %v", r, err)
	}
	for _, e := range entries(t, ix) {
		if e.Gap {
			t.Errorf("%d is a gap", e.Seq)
		}
	}
	time.Sleep(2 * time.Minute) // the stream is over, and what it had goes
	for info, err := range far.List(t.Context(), "live/") {
		if filepath.Ext(info.Key) == chunkSuffix || err != nil {
			t.Errorf("%s is left: %v", info.Key, err)
		}
	}
	end()
	cancel()
	group.Wait()
	if late.most > 0 {
		t.Errorf("a part came %v late", late.most)
	}
}

// lateness measures how far behind their time parts are shown.
type lateness struct {
	begun bool
	zero  time.Time // of media time 0
	seen  int64
	most  time.Duration
}

func (l *lateness) see(e *Edge) {
	r := e.Rendition("video0")
	if r == nil || r.Open == nil || len(r.Open.Parts) == 0 {
		return
	}
	last := r.Open.Parts[len(r.Open.Parts)-1]
	end := last.DTS + last.Dur
	if end <= l.seen {
		return
	}
	l.seen = end
	at := time.Now().Add(-av.Timebase{Num: 1, Den: r.Open.Timescale}.Duration(end))
	if !l.begun {
		l.begun, l.zero = true, at
	}
	l.most = max(l.most, at.Sub(l.zero))
}

// stalls is a disk that stands still for 5 s at a time.
type stalls struct {
	store.Store
	*indexmem.Mem
	began time.Time
}

// stand waits while the disk stands still: in the second half of every ten seconds.
func (s *stalls) stand() {
	if phase := time.Since(s.began) % (10 * time.Second); phase >= 5*time.Second {
		time.Sleep(10*time.Second - phase)
	}
}

func (s *stalls) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	s.stand()
	return s.Store.Put(ctx, key, body, size)
}

func (s *stalls) List(ctx context.Context, prefix string) iter.Seq2[store.Info, error] {
	return s.Store.List(ctx, prefix)
}

// stallingIndex is its index.
type stallingIndex struct{ *stalls }

func (x stallingIndex) Add(ctx context.Context, stream string, e index.Entry) error {
	x.stand()
	return x.Mem.Add(ctx, stream, e)
}

func (x stallingIndex) SetState(ctx context.Context, stream string, s index.State) error {
	x.stand()
	return x.Mem.SetState(ctx, stream, s)
}

// TestDiskStalls has the disk stand still every ten seconds for five, for store and index
// alike: no part comes a tick late, and every chunk is committed.
func TestDiskStalls(t *testing.T) {
	far := storemem.New(storemem.Config{MaxBytes: 512 << 20})
	defer far.Close()
	synctest.Test(t, func(t *testing.T) {
		s := &stalls{Store: far, Mem: indexmem.New(), began: time.Now()}
		h, end := hub(t, Config{Store: s, Index: stallingIndex{s}})
		var group sync.WaitGroup
		var late lateness
		group.Go(func() { watch(h, "live/cam", late.see) })
		if err := h.Publish(t.Context(), "live/cam", avtest.Pace(avtest.NewSynthetic(spec(60)))); err != nil {
			t.Error(err)
		}
		list := entries(t, s.Mem)
		for i, e := range list {
			if e.Gap || e.Seq != int64(i) {
				t.Errorf("entry %d: number %d, gap %v", i, e.Seq, e.Gap)
			}
		}
		if st := lookup(h, "live/cam").Stats(); st.Unstored != 0 || len(list) != int(st.Chunks) {
			t.Errorf("%d entries, %+v", len(list), st)
		}
		time.Sleep(40 * time.Second)
		group.Wait()
		if late.most > 0 {
			t.Errorf("a part came %v late", late.most)
		}
		end()
	})
}
