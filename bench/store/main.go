// Command store measures what it takes to commit a chunk, to the store and to the
// index, beside FFmpeg's HLS muxer doing the same work, and how long a large index
// takes to open and to search. It prints tables in Markdown.
//
//	go run ./bench/store [-n 300] [-chunks 10000000] [-dir DIR]
//
// DIR is on the disk that counts; the large index takes 60 bytes a chunk there.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cleave-video/cleave/index"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/index/indextest"
	storedisk "github.com/cleave-video/cleave/store/disk"
)

func main() {
	n := flag.Int("n", 300, "commits of each kind")
	chunks := flag.Int("chunks", 10_000_000, "chunks in the large index")
	dir := flag.String("dir", "", "`folder` to work in; one in the system's for temporary files by default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n, *chunks, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n, chunks int, dir string) error {
	work, err := os.MkdirTemp(dir, "cleave-bench-store-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	fmt.Printf("# Committing chunks, and finding them\n\n%s. Repeat it with `go run ./bench/store`.\n\n", machine(work))
	if err := commits(ctx, work, n); err != nil {
		return err
	}
	if err := muxer(ctx, work); err != nil {
		return err
	}
	return large(ctx, filepath.Join(work, "large"), chunks)
}

// machine says where this was measured.
func machine(dir string) string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	kind := "unknown file system"
	if out, err := exec.Command("stat", "-f", "-c", "%T", dir).Output(); err == nil {
		kind = strings.TrimSpace(string(out))
	}
	load := ""
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load " + strings.Fields(string(b))[0] + " before"
		var busy float64
		if _, err := fmt.Sscan(string(b), &busy); err == nil && busy > float64(runtime.NumCPU())/2 {
			load += ": others were at work on the machine, and times are provisional"
		}
	}
	return fmt.Sprintf("%s, %d × %s, %s, %s%s", time.Now().Format(time.DateOnly), runtime.NumCPU(), cpu, kind, runtime.Version(), load)
}

// quantile of durations, which it sorts.
func quantile(l []time.Duration, q float64) time.Duration {
	slices.Sort(l)
	return l[min(len(l)-1, int(q*float64(len(l))))]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.3f", float64(d)/1e6) }

// commits measures Put and Add, with and without sync, in turn.
func commits(ctx context.Context, dir string, n int) error {
	fmt.Print("| commit, ms | p50 | p99 | most |\n|---|---|---|---|\n")
	for _, size := range []int{256 << 10, 1 << 20, 4 << 20} {
		body := make([]byte, size)
		for _, sync := range []bool{true, false} {
			var opts []storedisk.Option
			if !sync {
				opts = append(opts, storedisk.WithoutSync())
			}
			st, err := storedisk.Open(filepath.Join(dir, fmt.Sprint("store", size, sync)), opts...)
			if err != nil {
				return err
			}
			times, err := repeat(n, func(i int) error {
				return st.Put(ctx, fmt.Sprintf("live/cam1/1/%010d.chunk", i), bytes.NewReader(body), int64(size))
			})
			if err != nil {
				return err
			}
			row(fmt.Sprintf("store, %d KiB, %s", size>>10, synced(sync)), times)
		}
	}
	for _, sync := range []bool{true, false} {
		var opts []indexdisk.Option
		if !sync {
			opts = append(opts, indexdisk.WithoutSync())
		}
		ix, err := indexdisk.Open(filepath.Join(dir, fmt.Sprint("index", sync)), opts...)
		if err != nil {
			return err
		}
		g := indextest.NewGenerator(1)
		times, err := repeat(10*n, func(int) error { return ix.Add(ctx, "live/cam1", g.Next()) })
		if err != nil {
			return err
		}
		if err := ix.Close(); err != nil {
			return err
		}
		row("index, "+synced(sync), times)
	}
	fmt.Println()
	return nil
}

func synced(on bool) string {
	if on {
		return "synced"
	}
	return "not synced"
}

func repeat(n int, f func(i int) error) ([]time.Duration, error) {
	times := make([]time.Duration, n)
	for i := range times {
		began := time.Now()
		if err := f(i); err != nil {
			return nil, err
		}
		times[i] = time.Since(began)
	}
	return times, nil
}

func row(name string, times []time.Duration) {
	fmt.Printf("| %s | %s | %s | %s |\n", name, ms(quantile(times, 0.5)), ms(quantile(times, 0.99)), ms(quantile(times, 1)))
}

// large makes an index of many chunks and searches it.
func large(ctx context.Context, dir string, chunks int) error {
	ix, err := indexdisk.Open(dir, indexdisk.WithoutSync())
	if err != nil {
		return err
	}
	g := indextest.NewGenerator(1)
	g.Steady = true
	var first, last time.Time
	keys := 0
	began := time.Now()
	list := make([]index.Entry, 0, 4096)
	for done := 0; done < chunks; done += len(list) {
		list = list[:0]
		for range min(cap(list), chunks-done) {
			list = append(list, g.Next())
			keys += len(list[len(list)-1].Keys)
		}
		if err := ix.AddAll(ctx, "live/cam1", list); err != nil {
			return err
		}
		if first.IsZero() {
			first = list[0].Wall
		}
		last = list[len(list)-1].Wall
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	wrote := time.Since(began)
	if err := ix.Close(); err != nil {
		return err
	}
	size, err := folderSize(dir)
	if err != nil {
		return err
	}
	fmt.Printf("| an index of %d chunks, %d days | |\n|---|---|\n", chunks, int(last.Sub(first).Hours()/24))
	fmt.Printf("| bytes a chunk on disk | %.1f |\n", float64(size)/float64(chunks))
	// A generated key table takes 6 bytes a key frame and 1 for their number.
	fmt.Printf("| of these not key table or digest | %.1f |\n", float64(size)/float64(chunks)-32-1-6*float64(keys)/float64(chunks))
	fmt.Printf("| µs to generate and add a chunk, 4,096 at a time, not synced | %.2f |\n", float64(wrote.Microseconds())/float64(chunks))
	return search(ctx, dir, first, last)
}

func folderSize(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err == nil {
			n += st.Size()
		}
		return err
	})
	return n, err
}

// search opens the index a number of times and seeks in it.
func search(ctx context.Context, dir string, first, last time.Time) error {
	var opens, firsts, seeks []time.Duration
	var heap uint64
	span := last.Sub(first)
	for i := range 9 {
		before := heapNow()
		began := time.Now()
		ix, err := indexdisk.Open(dir)
		if err != nil {
			return err
		}
		if _, err := ix.Last(ctx, "live/cam1"); err != nil {
			return err
		}
		opens = append(opens, time.Since(began))
		began = time.Now()
		if _, _, err := ix.Seek(ctx, "live/cam1", first.Add(span/3)); err != nil {
			return err
		}
		firsts = append(firsts, time.Since(began))
		times, err := repeat(500, func(k int) error {
			at := first.Add(time.Duration(uint64(i*500+k)*0x9e3779b97f4a7c15>>1) % span)
			_, _, err := ix.Seek(ctx, "live/cam1", at)
			return err
		})
		if err != nil {
			return err
		}
		seeks = append(seeks, times...)
		if now := heapNow(); now > before {
			heap = max(heap, now-before)
		}
		if err := ix.Close(); err != nil {
			return err
		}
	}
	fmt.Printf("| ms to open it and read its last entry, median and most of 9 | %s, %s |\n", ms(quantile(opens, 0.5)), ms(quantile(opens, 1)))
	fmt.Printf("| ms to the first seek after that, median and most of 9 | %s, %s |\n", ms(quantile(firsts, 0.5)), ms(quantile(firsts, 1)))
	fmt.Printf("| ms a seek to a drawn time, p50 and p99 of %d | %s, %s |\n", len(seeks), ms(quantile(seeks, 0.5)), ms(quantile(seeks, 0.99)))
	fmt.Printf("| MiB of heap after 500 seeks | %.1f |\n", float64(heap)/(1<<20))
	return nil
}

func heapNow() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
