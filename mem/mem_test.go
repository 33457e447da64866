package mem

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

func home(t *testing.T, p *Pool) {
	t.Helper()
	if n := p.InUse(); n != 0 {
		t.Errorf("%d bytes of slabs did not come home", n)
	}
	p.Close()
}

func TestArenaPinsAndSlabsComeHome(t *testing.T) {
	p := NewPool(16 << 20)
	defer home(t, p)
	a := p.NewFailingArena()
	var gop, chunk Pins
	for i := range 4000 {
		b, err := a.Alloc(i%2, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for j := range b {
			b[j] = byte(i)
		}
		a.Pin(&gop, i%2, b)
		if i%500 == 499 {
			chunk.Share(&gop)
			gop.Release()
		}
		if i%2000 == 1999 {
			if b[0] != byte(i) || b[999] != byte(i) {
				t.Fatal("payload changed while pinned")
			}
			chunk.Release()
		}
	}
	if max := int64(2 << 20); p.InUse() > max {
		t.Errorf("%d bytes in use although only the last slab of each track should be", p.InUse())
	}
	a.Close()
	a.Close()
}

func TestPassedLetsGo(t *testing.T) {
	p := NewPool(1 << 20)
	defer home(t, p)
	a := p.NewFailingArena()
	defer a.Close()
	for range 1000 { // 30 MB through a pool of one
		b, err := a.Alloc(0, 30000)
		if err != nil {
			t.Fatal(err)
		}
		a.Passed(0, b)
	}
}

func TestHeapPacketsAreNoOp(t *testing.T) {
	p := NewPool(1 << 20)
	defer home(t, p)
	a := p.NewFailingArena()
	defer a.Close()
	var pins Pins
	var none *Arena
	none.Pin(&pins, 0, []byte{1})
	a.Pin(&pins, 3, []byte{1})
	a.Pin(&pins, 0, nil)
	if pins.Bytes() != 0 {
		t.Error("pinned something")
	}
}

func TestReleaseTooManyPanics(t *testing.T) {
	p := NewPool(1 << 20)
	k, err := p.TryNewBlock(10)
	if err != nil {
		t.Fatal(err)
	}
	k.Retain()
	k.Release()
	k.Release()
	if k.TryRetain() {
		t.Error("TryRetain of a dead block")
	}
	for name, f := range map[string]func(){"Release": k.Release, "Retain": k.Retain, "Budget": func() { NewBudget(1).Release(1) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	if p.InUse() != 0 {
		t.Error("slab not home")
	}
}

func TestAllocWaitsForRoomAndHonoursCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(64 << 10)
		defer home(t, p)
		first, err := p.TryNewBlock(100)
		if err != nil {
			t.Fatal(err)
		}
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		a, b := p.NewArena(ctx), p.NewArena(t.Context())
		errs := make(chan error, 2)
		go func() { _, err := a.Alloc(0, 1); a.Close(); errs <- err }()
		synctest.Wait()
		go func() { _, err := b.Alloc(0, 1); b.Close(); errs <- err }()
		synctest.Wait()
		if _, err := p.NewFailingArena().Alloc(0, 1); !errors.Is(err, ErrFull) {
			t.Errorf("failing arena: %v", err)
		}
		cancel(stop)
		if err := <-errs; !errors.Is(err, stop) {
			t.Errorf("cancelled Alloc: %v", err)
		}
		first.Release()
		if err := <-errs; err != nil {
			t.Errorf("Alloc after room: %v", err)
		}
	})
}

// Three streams fight for a pool too small for them and are cancelled at every
// point in turn; all slabs must come home.
func TestCancelAtEveryPoint(t *testing.T) {
	for stopAt := range int64(60) {
		synctest.Test(t, func(t *testing.T) {
			p := NewPool(512 << 10)
			defer home(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			var steps atomic.Int64
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					fight(ctx, p, func() {
						if steps.Add(1) == stopAt {
							cancel()
						}
					})
				})
			}
			synctest.Wait() // all have ended or wait for room
			cancel()
			wg.Wait()
		})
	}
}

func fight(ctx context.Context, p *Pool, step func()) {
	a := p.NewArena(ctx)
	defer a.Close()
	var pins Pins
	defer pins.Release()
	for i := range 30 {
		b, err := a.Alloc(i%2, 20000)
		if err != nil {
			return
		}
		a.Pin(&pins, i%2, b)
		if i%5 == 4 {
			pins.Release()
		}
		step()
	}
}

func TestBudgetOrderAndSum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := NewBudget(100)
		var held []int64
		sum := int64(0)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "release") {
				b.Release(held[0])
				sum -= held[0]
				held = held[1:]
				continue
			}
			n := rapid.Int64Range(0, 120).Draw(t, "n")
			err := b.TryAcquire(n)
			if (err == nil) != (sum+n <= 100) {
				t.Fatalf("acquire %d with %d used: %v", n, sum, err)
			}
			if err == nil {
				held, sum = append(held, n), sum+n
			}
			if b.Used() != sum {
				t.Fatalf("used %d, want %d", b.Used(), sum)
			}
		}
	})
}

func TestBudgetServesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBudget(10)
		if err := b.Acquire(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		if err := b.Acquire(t.Context(), 11); !errors.Is(err, ErrFull) {
			t.Errorf("more than the whole: %v", err)
		}
		var order []int64
		var mu sync.Mutex
		for _, n := range []int64{8, 1, 2} {
			go func() {
				_ = b.Acquire(t.Context(), n)
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		b.Release(5)
		synctest.Wait()
		if len(order) != 0 {
			t.Errorf("%v overtook the first", order)
		}
		b.Release(5)
		synctest.Wait()
		if len(order) != 2 || b.TryAcquire(1) == nil {
			t.Errorf("served %v", order)
		}
		b.Release(8)
		synctest.Wait()
	})
}

func TestHotPathDoesNotAllocate(t *testing.T) {
	p := NewPool(8 << 20)
	defer home(t, p)
	a := p.NewFailingArena()
	defer a.Close()
	var pins Pins
	run := func() {
		for i := range 100 {
			b, err := a.Alloc(i%3, 5000)
			if err != nil {
				t.Fatal(err)
			}
			a.Pin(&pins, i%3, b)
		}
		pins.Release()
	}
	for range 20 {
		run()
	}
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations per 100 packets", n)
	}
}

func BenchmarkAllocPin(b *testing.B) {
	p := NewPool(8 << 20)
	a := p.NewFailingArena()
	var pins Pins
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		d, err := a.Alloc(i&1, 1200)
		if err != nil {
			b.Fatal(err)
		}
		a.Pin(&pins, i&1, d)
		if i%64 == 0 {
			pins.Release()
		}
	}
}

// A sub-pool has its own budget beside that of the pool it takes from, and both
// are given back.
func TestSubPoolCountsTwice(t *testing.T) {
	p := NewPool(1 << 20)
	defer home(t, p)
	sub, other := p.Sub(200<<10), p.Sub(2<<20)
	a, b := sub.NewFailingArena(), other.NewFailingArena()
	over := sub.NewOverdraft()
	for i := range 3 {
		if _, err := a.Alloc(0, 60<<10); err != nil {
			t.Fatal(i, err)
		}
	}
	if _, err := a.Alloc(0, 60<<10); !errors.Is(err, ErrFull) {
		t.Errorf("over the sub-pool's budget: %v", err)
	}
	k, err := over.NewBlock(0, 100<<10)
	if err != nil {
		t.Fatal("overdraft:", err)
	}
	if sub.InUse() != 3*64<<10+256<<10 || p.InUse() != sub.InUse() {
		t.Errorf("%d in use, of all %d", sub.InUse(), p.InUse())
	}
	for err == nil {
		_, err = b.Alloc(1, 60<<10)
	}
	if !errors.Is(err, ErrFull) || p.InUse() > 1<<20 || other.InUse() == 0 {
		t.Errorf("over the pool's budget: %v with %d", err, p.InUse())
	}
	for _, a := range []*Arena{a, b, over} {
		a.Close()
	}
	k.Release()
	if sub.InUse() != 0 || other.InUse() != 0 {
		t.Errorf("%d and %d bytes stayed", sub.InUse(), other.InUse())
	}
}

func TestHolds(t *testing.T) {
	p := NewPool(1 << 20)
	defer home(t, p)
	a := p.NewFailingArena()
	defer a.Close()
	b, err := a.TryAlloc(1, 100)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Holds(1, b[5:]) || a.Holds(0, b) || a.Holds(1, make([]byte, 9)) || !a.Holds(0, nil) {
		t.Error("Holds is wrong")
	}
}

// A slow track stays with small slabs however long it runs.
func TestSlowTrackHasSmallSlabs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(64 << 20)
		defer home(t, p)
		a := p.NewFailingArena()
		defer a.Close()
		for range 47 * 300 {
			b, err := a.Alloc(0, 341)
			if err != nil {
				t.Fatal(err)
			}
			a.Passed(0, b)
			time.Sleep(time.Second / 47)
		}
		if p.InUse() != 64<<10 {
			t.Errorf("%d KiB are held for audio", p.InUse()>>10)
		}
	})
}

// TestCharge: what is kept beside slabs counts in the stream's and in the process's budget
// until it is released, and stops those who allocate.
func TestCharge(t *testing.T) {
	pool := NewPool(1 << 20)
	defer pool.Close()
	sub := pool.Sub(512 << 10)
	a := sub.NewFailingArena()
	defer a.Close()
	var p, q Pins
	for n := range int64(4000) {
		a.Charge(&p, n*128)
	}
	if n := sub.InUse(); n != 500<<10 || pool.InUse() != n {
		t.Errorf("%d and %d bytes in use", n, pool.InUse())
	}
	if _, err := a.Alloc(0, 1); !errors.Is(err, ErrFull) {
		t.Errorf("a slab although the budget is used up: %v", err)
	}
	a.Charge(&q, 100<<10) // never fails
	if n := sub.InUse(); n != 600<<10 {
		t.Errorf("%d bytes in use", n)
	}
	p.Release()
	if _, err := a.Alloc(0, 1); err != nil {
		t.Error(err)
	}
	q.Release()
	q.Release()
	(*Arena)(nil).Charge(&q, 1)
	a.Close()
	if sub.InUse() != 0 || pool.InUse() != 0 {
		t.Errorf("%d and %d bytes are left", sub.InUse(), pool.InUse())
	}
}

// BenchmarkGOP puts frames of 1080p60 into a block, and reads them as a viewer does: by
// slices of the block, by unsafe.Slice, and by copies.
func BenchmarkGOP(b *testing.B) {
	for _, size := range []int{16 << 20, 64 << 20} {
		p := NewPool(128 << 20)
		arena := p.NewFailingArena()
		held, err := arena.NewBlock(0, size)
		if err != nil {
			b.Fatal(err)
		}
		block := held.Bytes()
		for i := range block {
			block[i] = byte(i * 7)
		}
		var ends []int // 12 Mbit/s: a key frame of 150 kB, then 59 of 22 to 28 kB
		for at, i := 0, 0; ; i++ {
			n := 22_000 + i*1237%6000
			if i%60 == 0 {
				n = 150_000
			}
			if at += n; at > size {
				break
			}
			ends = append(ends, at)
		}
		sink, own := uint64(0), make([]byte, 150_000)
		for name, frame := range map[string]func(from, to int) []byte{
			"slice":  func(from, to int) []byte { return block[from:to:to] },
			"unsafe": func(from, to int) []byte { return unsafe.Slice(&block[from], to-from) },
			"copy":   func(from, to int) []byte { return own[:copy(own, block[from:to])] },
		} {
			b.Run(fmt.Sprintf("%s/%dMiB", name, size>>20), func(b *testing.B) {
				b.SetBytes(int64(ends[len(ends)-1]))
				for b.Loop() {
					at := 0
					for _, end := range ends {
						f := frame(at, end)
						for i := 0; i+8 <= len(f); i += 64 { // each cache line, as a checksum or the kernel's copy does
							sink += binary.LittleEndian.Uint64(f[i:])
						}
						at = end
					}
				}
			})
		}
		runtime.KeepAlive(sink)
		held.Release()
		arena.Close()
		p.Close()
	}
}
