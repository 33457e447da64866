// Package indextest holds what every index.Index must do, and a generator of
// streams to fill one with.
package indextest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/index"
)

// Open opens an index: the one that was open before on the same call of Run, if it
// is persistent, or an empty one for a new t. Reopen closes the last and opens it
// again; nil where there is nothing to persist.
type Open func(t *testing.T) (ix index.Index, reopen func() index.Index)

// Run checks the index that open returns.
func Run(t *testing.T, open Open) {
	for name, f := range map[string]func(*testing.T, Open){
		"Empty": empty, "Order": order, "Validate": validate, "All": all, "Model": model, "ClockSetBack": setBack,
		"SeekKeys": seekKeys, "DropAll": dropAll, "Concurrent": concurrent, "Cancelled": cancelled, "NothingShared": nothingShared, "Streams": streams,
		"States": states, "Replace": replace, "Walk": walk, "Pass": pass, "Find": find,
	} {
		t.Run(name, func(t *testing.T) { f(t, open) })
	}
}

const stream = "live/cam1"

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func collect(t *testing.T, ix index.Index, from, to time.Time) []index.Entry {
	t.Helper()
	var list []index.Entry
	for e, err := range ix.Range(t.Context(), stream, from, to) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

func add(t *testing.T, ix index.Index, list ...index.Entry) {
	t.Helper()
	for i := range list {
		if err := ix.Add(t.Context(), stream, list[i]); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
}

// addAll adds many at once where it can.
func addAll(t *testing.T, ix index.Index, list []index.Entry) {
	t.Helper()
	b, ok := ix.(index.Batcher)
	if !ok {
		add(t, ix, list...)
		return
	}
	if err := b.AddAll(t.Context(), stream, list); err != nil {
		t.Fatal(err)
	}
}

func empty(t *testing.T, open Open) {
	ix, _ := open(t)
	if _, _, err := ix.Seek(t.Context(), stream, time.Now()); !errors.Is(err, index.ErrNotFound) {
		t.Errorf("Seek: %v", err)
	}
	if _, err := ix.Last(t.Context(), stream); !errors.Is(err, index.ErrNotFound) {
		t.Errorf("Last: %v", err)
	}
	if got := collect(t, ix, time.Time{}, time.Time{}); len(got) > 0 {
		t.Errorf("%d entries", len(got))
	}
	if err := ix.Drop(t.Context(), stream, time.Now()); err != nil {
		t.Errorf("Drop: %v", err)
	}
	for _, name := range []string{"", "../x", "a b", "a//b"} {
		if err := ix.Add(t.Context(), name, Entries(1, 1)[0]); !errors.Is(err, index.ErrEntry) {
			t.Errorf("stream %q: %v", name, err)
		}
	}
}

func order(t *testing.T, open Open) {
	ix, reopen := open(t)
	list := Entries(1, 3)
	add(t, ix, list[0], list[2])
	for range 2 {
		for _, i := range []int{0, 1, 2} {
			if err := ix.Add(t.Context(), stream, list[i]); !errors.Is(err, index.ErrOrder) {
				t.Errorf("entry %d again: %v", i, err)
			}
		}
		back := list[2]
		back.Seq, back.Epoch = back.Seq+5, back.Epoch-1
		if err := ix.Add(t.Context(), stream, back); !errors.Is(err, index.ErrOrder) {
			t.Errorf("epoch before: %v", err)
		}
		if reopen == nil {
			break
		}
		ix = reopen()
	}
	equal(t, "entries", collect(t, ix, time.Time{}, time.Time{}), []index.Entry{list[0], list[2]})
}

func validate(t *testing.T, open Open) {
	ix, _ := open(t)
	for what, change := range map[string]func(*index.Entry){
		"timebase": func(e *index.Entry) { e.Timebase.Den = 0 },
		"seq":      func(e *index.Entry) { e.Seq = -1 },
		"wall":     func(e *index.Entry) { e.Wall = time.Time{} },
		"duration": func(e *index.Entry) { e.Duration = -1 },
		"size":     func(e *index.Entry) { e.Size = -1 },
		"track":    func(e *index.Entry) { e.Tracks[0].Timescale = 0 },
		"keys":     func(e *index.Entry) { e.Keys = []index.Key{{Time: 2}, {Time: 1}} },
		"object":   func(e *index.Entry) { e.Object = fmt.Sprintf("%0600d", 1) },
	} {
		e := Entries(1, 1)[0]
		change(&e)
		if err := ix.Add(t.Context(), stream, e); !errors.Is(err, index.ErrEntry) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// all adds some blocks of entries and reads them back.
func all(t *testing.T, open Open) {
	ix, reopen := open(t)
	list := Entries(7, 3*index.PerBlock+17)
	addAll(t, ix, list[:700])
	add(t, ix, list[700:]...)
	for {
		equal(t, "entries", collect(t, ix, time.Time{}, time.Time{}), list)
		last, err := ix.Last(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "last", last, list[len(list)-1])
		if reopen == nil {
			return
		}
		ix, reopen = reopen(), nil
	}
}

// setBack sets the clock back by an hour in a new epoch.
func setBack(t *testing.T, open Open) {
	ix, _ := open(t)
	list := Entries(3, 40)
	for i := range list[20:] {
		e := &list[20+i]
		e.Wall = e.Wall.Add(-time.Hour)
		e.Epoch++
	}
	add(t, ix, list...)
	before := list[19].Wall.Add(time.Millisecond)
	e, _, err := ix.Seek(t.Context(), stream, before)
	if err != nil {
		t.Fatal(err)
	}
	if e.Seq < list[20].Seq {
		t.Errorf("seq %d: entries of a clock set back share the time of the last one before", e.Seq)
	}
	if e, _, err = ix.Seek(t.Context(), stream, list[5].Wall); err != nil || e.Seq != list[5].Seq {
		t.Errorf("seq %d, %v", e.Seq, err)
	}
	equal(t, "entries", collect(t, ix, time.Time{}, time.Time{}), list)
}

func seekKeys(t *testing.T, open Open) {
	ix, _ := open(t)
	list := Entries(5, 4)
	for i := range list {
		list[i].Keys, list[i].Independent = nil, false
	}
	tb := list[1].Timebase
	list[1].Keys = []index.Key{{Time: list[1].Start + 100, Offset: 10, Size: 20}, {Time: list[1].Start + 5000, Offset: 50, Size: 30}}
	list[3].Independent, list[3].Gap = true, false
	add(t, ix, list...)
	at := func(i int, ticks int64) time.Time { return list[i].Wall.Add(tb.Duration(ticks)) }
	if _, _, err := ix.Seek(t.Context(), stream, at(1, 0)); !errors.Is(err, index.ErrNotFound) {
		t.Errorf("before the first key: %v", err)
	}
	for _, c := range []struct {
		at  time.Time
		seq int64
		key index.Key
	}{
		{at(1, 101), list[1].Seq, list[1].Keys[0]},
		{at(1, 5001), list[1].Seq, list[1].Keys[1]},
		{at(2, 7), list[1].Seq, list[1].Keys[1]}, // the last key is an entry back
		{at(3, 7), list[3].Seq, index.Key{Time: list[3].Start, Offset: list[3].Tracks[0].Offset}},
		{at(3, 1<<40), list[3].Seq, index.Key{Time: list[3].Start, Offset: list[3].Tracks[0].Offset}},
	} {
		e, k, err := ix.Seek(t.Context(), stream, c.at)
		if err != nil || e.Seq != c.seq || k != c.key {
			t.Errorf("Seek(%v): seq %d, %+v, %v; want %d, %+v", c.at, e.Seq, k, err, c.seq, c.key)
		}
	}
}

func dropAll(t *testing.T, open Open) {
	ix, reopen := open(t)
	list := Entries(9, 2*index.PerBlock)
	addAll(t, ix, list)
	if err := ix.Drop(t.Context(), stream, list[len(list)-1].End().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for {
		if got := collect(t, ix, time.Time{}, time.Time{}); len(got) > 0 {
			t.Errorf("%d entries left", len(got))
		}
		last, err := ix.Last(t.Context(), stream)
		if err != nil || last.Seq != list[len(list)-1].Seq {
			t.Errorf("numbers go on from seq %d, %v", last.Seq, err)
		}
		if err := ix.Add(t.Context(), stream, list[3]); !errors.Is(err, index.ErrOrder) {
			t.Errorf("an entry that was dropped: %v", err)
		}
		if reopen == nil {
			return
		}
		ix, reopen = reopen(), nil
	}
}

func concurrent(t *testing.T, open Open) {
	ix, _ := open(t)
	var wg sync.WaitGroup
	for s := range 3 {
		name := fmt.Sprintf("s/%d", s)
		list := Entries(uint64(s), 60)
		wg.Go(func() {
			for i := range list {
				if err := ix.Add(t.Context(), name, list[i]); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			n := int64(-1)
			for range 60 {
				for e, err := range ix.Range(t.Context(), name, time.Time{}, time.Time{}) {
					if err != nil {
						t.Error(err)
						return
					}
					n = e.Seq
				}
				if last, err := ix.Last(t.Context(), name); err == nil && last.Seq < n {
					t.Errorf("seq %d was seen, the last is %d", n, last.Seq)
				}
			}
		})
	}
	// Adders of one stream: who is not in order is told so.
	list := Entries(11, 100)
	var mu sync.Mutex
	var added []int64
	for i := range list {
		wg.Go(func() {
			err := ix.Add(t.Context(), stream, list[i])
			switch {
			case err == nil:
				mu.Lock()
				added = append(added, list[i].Seq)
				mu.Unlock()
			case !errors.Is(err, index.ErrOrder):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(added)
	var got []int64
	for _, e := range collect(t, ix, time.Time{}, time.Time{}) {
		got = append(got, e.Seq)
	}
	equal(t, "what was added", got, added)
}

func cancelled(t *testing.T, open Open) {
	ix, _ := open(t)
	list := Entries(1, 2)
	add(t, ix, list[0])
	cause := errors.New("no longer wanted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := ix.Add(ctx, stream, list[1]); !errors.Is(err, cause) {
		t.Errorf("Add: %v", err)
	}
	if _, _, err := ix.Seek(ctx, stream, list[0].Wall); !errors.Is(err, cause) {
		t.Errorf("Seek: %v", err)
	}
	n := 0
	for _, err := range ix.Range(ctx, stream, time.Time{}, time.Time{}) {
		if n++; !errors.Is(err, cause) {
			t.Errorf("Range: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("Range yielded %d times", n)
	}
}

func nothingShared(t *testing.T, open Open) {
	ix, _ := open(t)
	list := Entries(2, 3)
	add(t, ix, list...)
	got := collect(t, ix, time.Time{}, time.Time{})
	for i := range got {
		got[i].Tracks[0].Size = 1
		got[i].Keys = append(got[i].Keys[:0], index.Key{})
	}
	equal(t, "entries", collect(t, ix, time.Time{}, time.Time{}), list)
}

func streams(t *testing.T, open Open) {
	ix, reopen := open(t)
	want := []string{"a", "a/b", "live/cam1", "live/cam2", "live~x"}
	for _, n := range want {
		if err := ix.Add(t.Context(), n, Entries(1, 1)[0]); err != nil {
			t.Fatal(err)
		}
	}
	if reopen != nil {
		ix = reopen()
	}
	s, ok := ix.(index.Streamer)
	if !ok {
		t.Skip("no index.Streamer")
	}
	var got []string
	for n, err := range s.Streams(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	slices.Sort(got)
	equal(t, "streams", got, want)
}

// model compares an index with a list through drawn operations.
func model(t *testing.T, open Open) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			ix, reopen := open(t)
			m := &Model{}
			rng := rand.New(rand.NewPCG(seed, 1))
			source := Entries(seed, 1500)
			next := 0
			for range 120 {
				switch op := rng.IntN(10); {
				case op < 4:
					k := min(1+rng.IntN(40), len(source)-next)
					addAll(t, ix, source[next:next+k])
					m.Add(source[next : next+k]...)
					next += k
				case op < 5 && reopen != nil:
					ix = reopen()
				case op < 6 && next > 0 && rng.IntN(4) == 0:
					at := m.someTime(rng)
					if err := ix.Drop(t.Context(), stream, at); err != nil {
						t.Fatal(err)
					}
					m.Drop(at)
				default:
					m.Compare(t, ix, rng)
				}
			}
			equal(t, "entries", collect(t, ix, time.Time{}, time.Time{}), m.Range(time.Time{}, time.Time{}))
		})
	}
}
