package live

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
	indexmem "github.com/cleave-video/cleave/index/mem"
	storemem "github.com/cleave-video/cleave/store/mem"
)

// kept is the machine's index and store: the entries, and the keys of chunks without one.
func (m *machine) kept(t *testing.T) (list []index.Entry, stray []string) {
	t.Helper()
	synctest.Wait()
	has := make(map[string]bool)
	for e, err := range m.index.Range(t.Context(), "live/cam", time.Time{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
		has[e.Object] = true
	}
	for info, err := range m.store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(info.Key, chunkSuffix) && !has[info.Key] {
			stray = append(stray, info.Key)
		}
		delete(has, info.Key)
	}
	delete(has, "") // of gaps
	for key := range has {
		t.Errorf("the index has %s, the store has not", key)
	}
	return list, stray
}

func always(r Retention) func(string) *Retention { return func(string) *Retention { return &r } }

// spread is how late retention may be: it looks every so often, first for what is listed
// no more, then for what goes; chunks of two seconds are kept for as long again.
const spread = 2*keepEvery + 5*time.Second

// TestRetentionByAge: chunks stay for as long as the rule says, and no longer, while the
// stream is live, when it is over, and for the next process.
func TestRetentionByAge(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Window: 10 * time.Second, Grace: 5 * time.Second, Retention: always(Retention{Age: time.Minute})}
		a := m.start(t, cfg)
		stop := a.publish(t, spec(200))
		for range 18 {
			time.Sleep(10 * time.Second)
			list, stray := m.kept(t)
			if len(stray) > 0 {
				t.Errorf("not in the index: %v", stray)
			}
			if age := time.Since(list[0].Wall); age > time.Minute+spread || len(list) < 25 && list[0].Seq > 0 {
				t.Errorf("the oldest of %d is from %v ago", len(list), age)
			}
		}
		stop()
		time.Sleep(20 * time.Second)
		if list, _ := m.kept(t); a.Lookup("live/cam") != nil || time.Since(list[0].Wall) < 50*time.Second || len(list) < 15 {
			t.Errorf("when it is over there are %d", len(list))
		}
		a.end()
		b := m.start(t, cfg)
		time.Sleep(20 * time.Second)
		if list, _ := m.kept(t); len(list) < 5 {
			t.Errorf("the next process has %d", len(list))
		}
		time.Sleep(20*time.Second + spread)
		if list, stray := m.kept(t); len(list)+len(stray) > 0 {
			t.Errorf("%d, and %v, outlive the rule", len(list), stray)
		}
		b.end()
	})
}

// TestRetentionByBytes: the newest chunks stay, as many as the rule has room for, but never
// fewer than the window needs.
func TestRetentionByBytes(t *testing.T) {
	for name, most := range map[string]int64{"half a minute": 30 * 52000, "less than the window": 1} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			synctest.Test(t, func(t *testing.T) {
				a := m.start(t, Config{Window: 10 * time.Second, Retention: always(Retention{Bytes: most})})
				stop := a.publish(t, spec(120))
				time.Sleep(100 * time.Second)
				list, stray := m.kept(t)
				sum := int64(0)
				for i := range list {
					sum += list[i].Size
				}
				first := a.Lookup("live/cam").Edge().Renditions[0].first()
				if len(stray) > 0 || sum > most+16*52000 && list[0].Seq < first-8 || list[0].Seq > first || len(list) > 32 {
					t.Errorf("%d bytes in %d chunks from %d on, the stream has those from %d on; %v", sum, len(list), list[0].Seq, first, stray)
				}
				stop()
				a.end()
			})
		})
	}
}

// TestRetentionKeepsPromises: what a playlist listed is listed no more when its time is
// over, and goes when the playlist could have been played once more. The next process
// knows.
func TestRetentionKeepsPromises(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Window: 10 * time.Second, Grace: time.Second, Retention: always(Retention{Age: time.Minute}), Promises: filepath.Join(t.TempDir(), "a", "promises.json")}
		a := m.start(t, cfg)
		stop := a.publish(t, spec(60))
		time.Sleep(40 * time.Second)
		all, _ := m.kept(t)
		from, to := all[0].Wall, all[14].End() // half a minute
		a.Promise(t.Context(), "live/cam", from, to)
		time.Sleep(25*time.Second + keepEvery)
		stop()
		if h := a.Horizon("live/cam"); !h.After(all[2].Wall) || h.After(all[14].Wall) {
			t.Errorf("listed is what there is from %v after the beginning on", h.Sub(from))
		}
		if list, _ := m.kept(t); list[0].Seq != all[0].Seq {
			t.Errorf("%d chunks that a playlist listed have gone", list[0].Seq-all[0].Seq)
		}
		a.end()
		b := m.start(t, cfg)
		time.Sleep(keepEvery)
		if h := b.Horizon("live/cam"); !h.After(all[2].Wall) {
			t.Errorf("the next process lists what there is from %v after the beginning on", h.Sub(from))
		}
		time.Sleep(to.Sub(from) - keepEvery)
		if list, _ := m.kept(t); list[0].Seq != all[0].Seq {
			t.Errorf("%d chunks that a playlist listed have gone with the process", list[0].Seq-all[0].Seq)
		}
		time.Sleep(12 * time.Minute)
		if list, stray := m.kept(t); len(list)+len(stray) > 0 {
			t.Errorf("%d, and %v, outlive the rule", len(list), stray)
		}
		if len(b.keeper.promises.all) > 0 {
			t.Errorf("it still promises %v", b.keeper.promises.all)
		}
		b.end()
	})
}

// TestRetentionCrash: a process that ends between index and store leaves objects without
// entries, which the next one deletes; there is no entry without an object at any time.
func TestRetentionCrash(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Window: 10 * time.Second, Retention: always(Retention{Age: 30 * time.Second})}
		a := m.start(t, cfg)
		a.m.keeps.Store(true) // it deletes nothing
		stop := a.publish(t, spec(100))
		time.Sleep(80 * time.Second)
		list, stray := m.kept(t)
		if len(stray) < 10 || list[0].Seq == 0 {
			t.Errorf("%d objects without an entry, the first entry is %d", len(stray), list[0].Seq)
		}
		a.kill(t, stop)
		b := m.start(t, cfg)
		if _, stray := m.kept(t); len(stray) > 0 {
			t.Errorf("not deleted: %v", stray)
		}
		b.end()
	})
}

// TestRetentionOfOverlaps: where dates follow a clock back, a short chunk may have ended
// before the one in front of it has, and two may have one time in the index. What leaves
// the index leaves the store, and nothing else does.
func TestRetentionOfOverlaps(t *testing.T) {
	begin := time.Now()
	for name, walls := range map[string][]float64{
		"one in another": {0, 1.8, 10, 12, 14}, "two in another": {0, 1.8, 1.7, 1.9, 12}, "set back": {100, 50, 52, 54, 56}, "overlaps": {0, 1.9, 3.8, 5.7, 7.6}, "none": {0, 2, 4, 6, 8},
	} {
		for left := range len(walls) + 1 {
			synctest.Test(t, func(t *testing.T) {
				ix, st := indexmem.New(), storemem.New(storemem.Config{})
				for i, wall := range walls {
					e := index.Entry{
						Epoch: 1, Seq: int64(i), Timebase: av.Timebase{Num: 1, Den: 1000}, Start: int64(i) * 2000, Duration: 2000, Size: 100,
						Wall: begin.Add(time.Duration(wall * float64(time.Second))), Object: chunkKey("live/cam", 1, int64(i)), Independent: true,
					}
					if i == 1 || i == 2 {
						e.Duration = 40
					}
					if err := errors.Join(ix.Add(t.Context(), "live/cam", e), st.Put(t.Context(), e.Object, strings.NewReader("chunk"), 5)); err != nil {
						t.Fatal(err)
					}
				}
				h, err := NewHub(Config{Store: st, Index: ix, Retention: always(Retention{Bytes: max(1, int64(left)*100)})})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
				defer stop()
				if err := errors.Join(h.Run(ctx), h.Close()); err != nil {
					t.Error(err)
				}
				var listed, stored []string
				for e, err := range ix.Range(t.Context(), "live/cam", time.Time{}, time.Time{}) {
					if err != nil {
						t.Fatal(err)
					}
					listed = append(listed, e.Object)
				}
				for info, err := range st.List(t.Context(), "") {
					if err != nil {
						t.Fatal(err)
					}
					stored = append(stored, info.Key)
				}
				if slices.Sort(stored); !slices.Equal(listed, stored) || len(listed) < left || len(listed) > max(left, 1) && name != "set back" && name != "two in another" {
					t.Errorf("%s, %d stay: the index has %v, the store %v", name, left, listed, stored)
				}
			})
		}
	}
}

// countingIndex counts how often it is read.
type countingIndex struct {
	*indexmem.Mem
	n atomic.Int64
}

func (c *countingIndex) Pass(ctx context.Context, name string, from, to time.Time, f func(e *index.Entry) bool) error {
	c.n.Add(1)
	return c.Mem.Pass(ctx, name, from, to, f)
}

// TestRetentionOfNothing: names of which nothing is kept any more cost next to nothing.
func TestRetentionOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ix := &countingIndex{Mem: indexmem.New()}
		list := indextest.Entries(3, 20)
		if err := errors.Join(ix.AddAll(t.Context(), "live/cam", list), ix.Drop(t.Context(), "live/cam", list[19].End())); err != nil {
			t.Fatal(err)
		}
		h, err := NewHub(Config{Store: storemem.New(storemem.Config{}), Index: ix, Retention: always(Retention{Age: time.Minute})})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Minute)
		defer stop()
		if err := errors.Join(h.Run(ctx), h.Close()); err != nil {
			t.Error(err)
		}
		if n := ix.n.Load(); n == 0 || n > 3*10+3 {
			t.Errorf("it was read %d times in ten minutes", n)
		}
	})
}

// TestHorizonWithoutRule: then nothing is listed but the window, which stays long enough.
func TestHorizonWithoutRule(t *testing.T) {
	m := newMachine(t)
	synctest.Test(t, func(t *testing.T) {
		a := m.start(t, Config{Window: 10 * time.Second, Grace: time.Second})
		if h := a.Horizon("live/cam"); h.Before(time.Now().Add(time.Hour)) {
			t.Error("of no stream:", h)
		}
		stop := a.publish(t, spec(40))
		time.Sleep(30 * time.Second)
		if h := a.Horizon("live/cam"); time.Since(h) < 9*time.Second || time.Since(h) > 15*time.Second {
			t.Error("the window begins", time.Since(h), "ago")
		}
		stop()
		a.end()
	})
}

// TestPromises: those that are made anew in a moment are covered; there is a bound of
// those that are told apart, and none is ever less.
func TestPromises(t *testing.T) {
	p := &promises{path: filepath.Join(t.TempDir(), "promises.json")}
	if err := p.open(); err != nil {
		t.Fatal(err)
	}
	begin := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	at := func(m int) time.Time { return begin.Add(time.Duration(m) * time.Minute) }
	for i := range 100 {
		if err := p.add("cam", at(10*i), at(10*i+i%7+1)); err != nil {
			t.Fatal(err)
		}
	}
	q := &promises{path: p.path}
	if err := q.open(); err != nil || len(q.all["cam"]) > maxPromises {
		t.Fatal(len(q.all["cam"]), err)
	}
	for i := range 100 {
		if got := q.length("cam", at(10*i), at(10*i+1)); got < time.Duration(i%7+1)*time.Minute {
			t.Errorf("range %d: %v", i, got)
		}
	}
	n := len(q.all["cam"])
	if err := q.add("cam", at(991), at(992)); err != nil || len(q.all["cam"]) != n {
		t.Error("what is covered was noted again", err)
	}
	if err := q.forget("cam", at(5000)); err != nil || q.length("cam", at(0), at(5000)) != 0 || len(q.all) != 0 {
		t.Error("not forgotten:", q.all, err)
	}
	if err := os.WriteFile(p.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := q.open(); !errors.Is(err, errDamaged) || q.length("cam", at(0), at(1)) != 0 {
		t.Error("a damaged file:", err)
	}
	if q.length("other", at(0), at(1)) != 0 {
		t.Error("another stream has a promise")
	}
}
