package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av/avtest"
)

// publishFrom publishes some seconds of media at once.
func publishFrom(t *testing.T, h *Hub, name, from string, seconds int) error {
	t.Helper()
	return h.PublishWith(t.Context(), name, avtest.NewSynthetic(spec(seconds)), PublishOptions{Elastic: true, From: from})
}

// chunks returns how many chunks the store has.
func (m *memStore) chunks() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for key := range m.all {
		if strings.HasSuffix(key, chunkSuffix) {
			n++
		}
	}
	return n
}

// Names whose publishers have left keep nobody out, from wherever they came; the
// oldest of the address that has most of them go first, and what they had stored goes
// when it would have gone.
func TestLeftNamesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{}
		h, end := hub(t, Config{Streams: 3, Store: st})
		defer end()
		if err := publishFrom(t, h, "theirs", "192.0.2.2:1", 3); err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			if err := publishFrom(t, h, fmt.Sprintf("q%d", i), fmt.Sprintf("192.0.2.1:%d", i), 3); err != nil {
				t.Fatalf("name %d: %v", i, err)
			}
			time.Sleep(time.Millisecond)
		}
		names := h.Names()
		slices.Sort(names)
		if !slices.Equal(names, []string{"q35", "q36", "q37", "q38", "q39", "theirs"}) {
			t.Errorf("kept: %v", names)
		}
		before := st.chunks()
		// It returns while what it had is stored: its numbers go on.
		if err := publishFrom(t, h, "q0", "192.0.2.1:1", 3); err != nil {
			t.Fatal(err)
		}
		if h.Lookup("q0").epoch != 2 {
			t.Errorf("epoch %d", h.Lookup("q0").epoch)
		}
		if n := st.chunks(); n <= before {
			t.Errorf("%d chunks, %d before", n, before)
		}
		time.Sleep(DefaultGrace + DefaultWindow + 5*time.Second)
		if n := st.chunks(); n != 0 || len(h.Names()) != 0 {
			t.Errorf("%d chunks and %v are left", n, h.Names())
		}
	})
}

// Publishers fill the places, each address at most its share; a source of the server's
// own has none. A place is free when its publisher has left.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{Streams: 4})
		defer end()
		var wg sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		stay := func(name, from string) error {
			d := avtest.Pace(avtest.NewSynthetic(spec(60)))
			context.AfterFunc(ctx, func() { d.Close() })
			refused := make(chan error, 1)
			wg.Go(func() { refused <- h.PublishWith(ctx, name, d, PublishOptions{From: from}) })
			time.Sleep(100 * time.Millisecond)
			select {
			case err := <-refused:
				return err
			default:
				return nil
			}
		}
		for _, c := range []struct {
			name, from string
			refused    bool
		}{
			{"a", "[2001:db8::1]:1", false},
			{"b", "[2001:db8::2]:1", false}, // of the same network
			{"c", "[2001:db8::3]:1", true},
			{"d", "", false},
			{"e", "192.0.2.1:1", false},
			{"f", "192.0.2.2:1", true}, // no place at all
		} {
			if err := stay(c.name, c.from); errors.Is(err, ErrCrowded) != c.refused || err != nil && !c.refused {
				t.Errorf("%s from %q: %v", c.name, c.from, err)
			}
		}
		cancel()
		wg.Wait()
		if err := publishFrom(t, h, "c", "[2001:db8::3]:1", 1); err != nil {
			t.Error(err)
		}
	})
}

// Where memory is full of streams that run, none that waits is given up for nothing.
func TestNothingIsGivenUpInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{})
		defer end()
		if err := publishFrom(t, h, "waits", "192.0.2.1:1", 3); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		d := avtest.Pace(avtest.NewSynthetic(spec(60)))
		wg.Go(func() { _ = h.PublishWith(t.Context(), "runs", d, PublishOptions{From: "192.0.2.2:1"}) })
		time.Sleep(20 * time.Second)
		most := h.InUse() - h.Lookup("waits").inUse()
		h.mu.Lock()
		if used := h.makeRoom(most-1, nil); used == 0 || h.streams["waits"] == nil {
			t.Errorf("%d bytes, %v", used, h.streams["waits"])
		}
		if used := h.makeRoom(h.pool.InUse()-1, nil); used != 0 || h.streams["waits"] != nil {
			t.Errorf("%d bytes, %v", used, h.streams["waits"])
		}
		h.mu.Unlock()
		d.Close()
		wg.Wait()
	})
}

// What streams without a publisher hold in memory keeps nobody out.
func TestLeftMemoryMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, end := hub(t, Config{Memory: 16 << 20, StreamMemory: 16 << 20})
		defer end()
		h.cfg.Memory = 1 << 20 // as if there were less: the limit is what is tested
		for i := range 4 {
			if err := publishFrom(t, h, fmt.Sprintf("q%d", i), "192.0.2.1:1", 30); err != nil {
				t.Errorf("name %d: %v", i, err)
			}
		}
	})
}
