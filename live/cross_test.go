package live

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/index"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/pack"
	"github.com/cleave-video/cleave/seal"
	"github.com/cleave-video/cleave/store"
)

// TestStreamsDoNotCross: two streams with keys of their own, one by samples of cenc,
// the other of cbcs, whose publishers are cancelled at any moment and come back, on a store that
// is slow and fails. Whatever is stored lies below its stream's name and says so, has
// one key, its stream's, and decrypts by it to what was sent; no vector comes twice.
func TestStreamsDoNotCross(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds = 8
	}
	stored := 0
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { stored += crossing(t, seed) })
	}
	if stored < int(seeds)*10 {
		t.Errorf("only %d chunks were stored", stored)
	}
	t.Logf("%d chunks of %d runs", stored, seeds)
}

// crossing is one run; it returns how many chunks were stored.
func crossing(t *testing.T, seed uint64) (stored int) {
	v := newVault(t)
	ways := map[string]*Sealing{
		"live/a": {Scheme: seal.CENC, Vault: v, Supply: seal.Random{}, Chunks: 1},
		"live/b": {Scheme: seal.CBCS, Vault: v, Supply: seal.Random{}, Chunks: 1 + seed%3},
	}
	st, ix := &memStore{}, indexmem.New()
	h, end := hub(t, Config{
		Store: &shaky{memStore: st, rng: rand.New(rand.NewPCG(seed, 1))}, Index: ix, Target: time.Second, Window: time.Hour, Drain: time.Second,
		Sealing: func(name string) *Sealing { return ways[name] },
	})
	var wg sync.WaitGroup
	sizes := map[string]int{"live/a": 700, "live/b": 900}
	for name := range ways {
		rng := rand.New(rand.NewPCG(seed, uint64(len(name)+sizes[name])))
		wg.Go(func() {
			for range 3 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(6000))*time.Millisecond)
				sp := spec(20)
				sp.Video.Size = sizes[name]
				d := avtest.Pace(avtest.NewSynthetic(sp))
				stop := context.AfterFunc(ctx, func() { d.Close() })
				_ = h.Publish(ctx, name, d) // it was cancelled
				stop()
				cancel()
			}
		})
	}
	wg.Wait()
	end()
	for name, x := range ways {
		stored += checkStream(t, st, ix, name, x, sizes[name])
	}
	return stored
}

func checkStream(t *testing.T, st *memStore, ix index.Index, name string, x *Sealing, size int) int {
	t.Helper()
	o := newOpener(t, x.Vault, name)
	readChunks(t, st, ix, name, o) // what the index has, with its keys
	n := 0
	for info, err := range st.List(t.Context(), name+"/") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(info.Key, chunkSuffix) {
			continue
		}
		body, err := st.Open(t.Context(), info.Key)
		if err != nil {
			t.Fatal(err)
		}
		of, e, err := index.ReadDescription(body, info.Key)
		if err != nil || of != name {
			t.Fatalf("%s says that it is of %q: %v", info.Key, of, err)
		}
		for _, tr := range e.Tracks {
			if tr.Gap {
				continue
			}
			b := st.get(info.Key)[tr.Offset : tr.Offset+tr.Size]
			again := &opener{t: t, keys: o.keys, vectors: map[string]bool{}, ivs: map[string]string{}}
			samples, kid := again.open(t, st.get(name+"/"+tr.Init), b)
			if kid != tr.KeyID {
				t.Fatalf("%s: %s has the key %x, and says %x", info.Key, tr.Name, kid, tr.KeyID)
			}
			for i, s := range samples {
				if tr.Name == "video0" && len(s) < size { // the other stream's are of another size
					t.Fatalf("%s: sample %d has %d bytes", info.Key, i, len(s))
				}
			}
		}
		n++
	}
	return n
}

// shaky is a store that takes its time, and fails now and then.
type shaky struct {
	*memStore
	mu  sync.Mutex
	rng *rand.Rand
}

func (s *shaky) Put(ctx context.Context, key string, body io.ReaderAt, size int64) error {
	s.mu.Lock()
	wait, fails := time.Duration(s.rng.IntN(500))*time.Millisecond, s.rng.IntN(8) == 0
	s.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if fails {
		return fmt.Errorf("%w: shaky", store.ErrTransient)
	}
	return s.memStore.Put(ctx, key, body, size)
}

// TestFence: a part of another chunk, or with another key than its chunk's, or without
// one, is not taken.
func TestFence(t *testing.T) {
	key := seal.Key{ID: [16]byte{1}}
	o := &opened{c: &chunk.Chunk{ID: chunk.ID{Stream: "live/a", Epoch: 1, Start: 5}}, period: &seal.Period{Key: key}, samples: true}
	right := pack.Part{Chunk: o.c.ID, KeyID: key.ID}
	if err := o.owns(&right); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*pack.Part){
		"another stream": func(p *pack.Part) { p.Chunk.Stream = "live/b" },
		"another epoch":  func(p *pack.Part) { p.Chunk.Epoch++ },
		"another chunk":  func(p *pack.Part) { p.Chunk.Start++ },
		"another key":    func(p *pack.Part) { p.KeyID[3]++ },
		"in the clear":   func(p *pack.Part) { p.KeyID = [16]byte{} },
	} {
		p := right
		if change(&p); o.owns(&p) == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	o.samples = false // encrypted as a whole later, or not at all
	if o.owns(&right) == nil || o.owns(&pack.Part{Chunk: o.c.ID}) != nil {
		t.Error("a part that must be in the clear")
	}
}

// swapping calls swap before its nth packet.
type swapping struct {
	av.Demuxer
	n    int
	swap func()
}

func (s *swapping) ReadPacket(a av.Allocator) (av.Packet, error) {
	if s.n--; s.n == 0 {
		s.swap()
	}
	return s.Demuxer.ReadPacket(a)
}

// TestFenceStops: when what renders parts has other keys than the chunks, the publisher
// is stopped, and nothing of it is shown or stored.
func TestFenceStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := &memStore{}
		h, end := hub(t, Config{Store: st, Grace: time.Second, Sealing: all(&Sealing{Scheme: seal.CBCS, Vault: newVault(t), Supply: seal.Random{}})})
		defer end()
		other, err := seal.NewStream(seal.Config{Scheme: seal.CBCS, Keys: seal.NewGenerated()})
		if err != nil {
			t.Fatal(err)
		}
		period, err := other.Period(0)
		if err != nil {
			t.Fatal(err)
		}
		wrong := period.Key.ID
		d := &swapping{Demuxer: avtest.Pace(avtest.NewSynthetic(spec(10))), n: 300, swap: func() { h.Lookup("cam").sealer.stream = other }}
		var wg sync.WaitGroup
		wg.Go(func() {
			watch(h, "cam", func(e *Edge) {
				for i := range e.Renditions {
					r := &e.Renditions[i]
					for msn := range r.Last() + 2 {
						if s := r.Segment(1, msn); s != nil && len(s.Parts) > 0 && s.Sealed.KeyID == wrong {
							t.Errorf("segment %d is shown", s.MSN)
						}
					}
				}
			})
		})
		if err := h.Publish(t.Context(), "cam", d); err == nil || !strings.Contains(err.Error(), "with key") {
			t.Error(err)
		}
		wg.Wait()
	})
}
