//go:build libav

package shim

import (
	"bytes"
	"flag"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-video/cleave/format/libav/wire"
)

var contention = flag.Bool("contention", false, "measure what 200 opens at once wait for, under three kinds of lock")

// waits is what one open took and waited.
type waits struct {
	wall, cpu, locked time.Duration // locked: all goroutines' wait for mutexes
	switches          float64       // voluntary ones of threads, among them those of C's locks
}

// TestContention opens 200 inputs at once behind a lock of the whole process, behind a
// sync.Once such as network initialization would need, and behind nothing, in turn,
// and prints medians of each open.
func TestContention(t *testing.T) {
	if !*contention {
		t.Skip("it measures; -contention runs it")
	}
	data := sample(t, "av.mkv")
	open := func() {
		d, err := Open(bytes.NewReader(data), int64(len(data)), wire.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		d.Close()
	}
	var mu sync.Mutex
	var once sync.Once
	kinds := []struct {
		name string
		open func()
	}{
		{"none", open},
		{"sync.Once", func() { once.Do(func() {}); open() }},
		{"one mutex", func() { mu.Lock(); defer mu.Unlock(); open() }},
	}
	const rounds = 15
	got := make([][]waits, len(kinds))
	for i := range rounds + 1 {
		for k, kind := range kinds {
			w := together(kind.open)
			if i > 0 {
				got[k] = append(got[k], w)
			}
		}
	}
	t.Logf("%d opens at once, %d processors, medians of %d rounds, of one open:", opens, runtime.GOMAXPROCS(0), rounds)
	t.Logf("%-10s %10s %10s %14s %10s", "lock", "wall", "CPU", "wait for locks", "switches")
	for k, kind := range kinds {
		l := got[k]
		of := func(f func(waits) float64) float64 {
			v := make([]float64, len(l))
			for i := range l {
				v[i] = f(l[i])
			}
			slices.Sort(v)
			return v[len(v)/2]
		}
		t.Logf("%-10s %7.2f ms %7.2f ms %11.2f ms %10.2f", kind.name, of(func(w waits) float64 { return w.wall.Seconds() * 1e3 }),
			of(func(w waits) float64 { return w.cpu.Seconds() * 1e3 }), of(func(w waits) float64 { return w.locked.Seconds() * 1e3 }),
			of(func(w waits) float64 { return w.switches }))
	}
}

const opens = 200

// together runs open 200 times at once.
func together(open func()) (w waits) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range opens {
		wg.Go(func() {
			<-start
			open()
		})
	}
	locked := []metrics.Sample{{Name: "/sync/mutex/wait/total:seconds"}}
	metrics.Read(locked)
	before := locked[0].Value.Float64()
	var a, b syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &a) // it has no other error than a wrong argument
	began := time.Now()
	close(start)
	wg.Wait()
	w.wall = time.Since(began) / opens
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &b)
	metrics.Read(locked)
	w.cpu = time.Duration(b.Utime.Nano()+b.Stime.Nano()-a.Utime.Nano()-a.Stime.Nano()) / opens
	w.locked = time.Duration((locked[0].Value.Float64() - before) / opens * float64(time.Second))
	w.switches = float64(b.Nvcsw-a.Nvcsw) / opens
	return w
}
