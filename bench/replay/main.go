// Command replay measures how long the first byte of a replay takes: playlists and files of
// random ranges of a day of chunks, which lie on a disk, over HTTP on the loopback. It
// prints a table in Markdown.
//
//	go run ./bench/replay [-n 100] [-dir DIR]
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cleave-video/cleave/deliver/replay"
	"github.com/cleave-video/cleave/deliver/replay/replaytest"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/live"
	storedisk "github.com/cleave-video/cleave/store/disk"
)

func main() {
	n := flag.Int("n", 100, "ranges")
	dir := flag.String("dir", "", "`folder` to work in; one in the system's for temporary files by default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n int, dir string) error {
	work, err := os.MkdirTemp(dir, "cleave-bench-replay-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	base, stop, err := serve(ctx, work)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Printf("# The first byte of a replay\n\n%s. Repeat it with `go run ./bench/replay`.\n\n", machine())
	fmt.Printf("A day of %d chunks of two seconds on disk and in the index on disk; %d random ranges, over HTTP on the\nloopback. Cold is the first time that they are asked for, warm the second; what is written is in the page\ncache in both. Playlists are asked for with gzip.\n\n", replaytest.Chunks, n)
	fmt.Print("| first byte, ms | p50 | p99 | most |\n|---|---|---|---|\n")
	const day = replaytest.Chunks * replaytest.PerChunk
	for _, kind := range []struct {
		name, path, more string
		longest          int
	}{
		{"multivariant playlist, up to a day", "/index.m3u8", "", day},
		{"media playlist, up to a day", "/video0/index.m3u8", "", day},
		{"media playlist, up to an hour", "/video0/index.m3u8", "", day / 24},
		{"file, up to a day", ".mp4", "", day},
		{"file, up to an hour", ".mp4", "", day / 24},
		{"file cut to the frame, up to ten minutes", ".mp4", "&exact=1", day / 144},
		{"list of what is kept", "/recordings.json", "", day},
	} {
		r := rand.New(rand.NewPCG(1, uint64(kind.longest)))
		var urls []string
		for range n {
			from := r.IntN(day - 1)
			to := min(day, from+1+r.IntN(kind.longest))
			urls = append(urls, fmt.Sprintf("%s/%s%s?from=%d&to=%d%s", base, replaytest.Name, kind.path, replaytest.Wall(from).Unix(), replaytest.Wall(to).Unix()+1, kind.more))
		}
		for _, pass := range []string{"cold", "warm"} {
			var times []time.Duration
			for _, url := range urls {
				d, err := first(ctx, url)
				if err != nil {
					return err
				}
				times = append(times, d)
			}
			slices.Sort(times)
			at := func(q float64) string {
				return fmt.Sprintf("%.2f", float64(times[min(len(times)-1, int(q*float64(len(times))))])/1e6)
			}
			fmt.Printf("| %s, %s | %s | %s | %s |\n", kind.name, pass, at(0.5), at(0.99), at(1))
		}
	}
	return nil
}

// first asks for a URL and returns when the first byte of the body came.
func first(ctx context.Context, url string) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	began := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var b [1]byte
	_, err = io.ReadFull(res.Body, b[:])
	took := time.Since(began)
	if err == nil && res.StatusCode != http.StatusOK {
		rest, _ := io.ReadAll(res.Body)
		err = fmt.Errorf("%s: %s: %s%s", url, res.Status, b[:], rest)
	}
	return took, err
}

// serve fills a folder with the day and serves it.
func serve(ctx context.Context, dir string) (base string, stop func(), err error) {
	day, err := replaytest.NewDay()
	if err != nil {
		return "", nil, err
	}
	st, err := storedisk.Open(filepath.Join(dir, "data"), storedisk.WithoutSync())
	if err != nil {
		return "", nil, err
	}
	ix, err := indexdisk.Open(filepath.Join(dir, "index"), indexdisk.WithoutSync())
	if err != nil {
		return "", nil, err
	}
	if err := day.Fill(ctx, ix, st); err != nil {
		return "", nil, err
	}
	hub, err := live.NewHub(live.Config{Store: st, Index: ix, Retention: func(string) *live.Retention { return &live.Retention{} }})
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := &http.Server{Handler: replay.New(replay.Config{Hub: hub, Index: ix, Store: st})}
	go func() { _ = s.Serve(l) }() // until it is closed
	return "http://" + l.Addr().String(), func() { _ = s.Close(); _ = hub.Close(); _ = ix.Close() }, nil
}

// machine says where this was measured.
func machine() string {
	cpu := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "model name"); ok {
				cpu = strings.TrimSpace(strings.TrimLeft(name, "\t :"))
				break
			}
		}
	}
	load := ""
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load = ", load " + strings.Fields(string(b))[0] + " before"
	}
	return fmt.Sprintf("%s, %d × %s, %s%s", time.Now().Format(time.DateOnly), runtime.NumCPU(), cpu, runtime.Version(), load)
}
