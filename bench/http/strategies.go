package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// strategies compares those of feeds, changed while the same viewers watch.
func (b *bench) strategies(ctx context.Context, w io.Writer) error {
	dir := filepath.Join(b.dir, "strategies")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	p, err := b.serve(ctx, "cleave", dir)
	if err != nil {
		return err
	}
	defer p.stop()
	ctx, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	group.Go(func() {
		_ = b.paced(ctx, p, "large") // until it is stopped
	})
	if err := p.listed(ctx, "/large/video0/index.m3u8"); err != nil {
		return err
	}
	v := &watchers{}
	for range b.viewers {
		group.Go(func() { v.add(v.watch(ctx, p.http)) })
	}
	names := []string{"direct", "buffered", "adaptive"}
	rows := map[string][]float64{}
	for range b.rounds {
		for _, name := range names {
			if err := b.strategy(ctx, p, v, name, rows); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(w, "## The strategies of a feed\n\n%d viewers of MPEG-TS, 2.5 Mbit/s, who read everything at once; the latency is from when the oldest byte of a chunk was given to be sent until the chunk is read.\n\n"+
		"| strategy | writes/s a viewer | bytes held a viewer | p50 ms | p99 ms |\n|---|---|---|---|---|\n", b.viewers)
	for _, name := range names {
		of := func(what string) float64 { return median(rows[name+what]) }
		fmt.Fprintf(w, "| %s | %.1f | %.0f | %.2f | %.2f |\n", name, of("writes"), of("held"), of("p50"), of("p99"))
	}
	fmt.Fprintln(w)
	return v.err()
}

// strategy measures one.
func (b *bench) strategy(ctx context.Context, p *process, v *watchers, name string, rows map[string][]float64) error {
	if err := p.post(ctx, "/v1/responses", `{"kind":"feed","strategy":"`+name+`"}`); err != nil {
		return err
	}
	pause(ctx, 2*time.Second) // for what was on its way, and for adaptive ones to look
	v.take()
	count := func() (float64, error) { return p.count(ctx, "cleave_http_response_writes_total", `kind="feed"`) }
	before, err := count()
	if err != nil {
		return err
	}
	const looks = 10
	held := 0.0
	for range looks {
		pause(ctx, b.window/looks)
		n, err := p.count(ctx, "cleave_http_response_held_bytes", `kind="feed"`)
		if err != nil {
			return err
		}
		held += n / looks
	}
	after, err := count()
	if err != nil {
		return err
	}
	late := v.take()
	slices.Sort(late)
	n := float64(b.viewers)
	rows[name+"writes"] = append(rows[name+"writes"], (after-before)/b.window.Seconds()/n)
	rows[name+"held"] = append(rows[name+"held"], held/n)
	rows[name+"p50"] = append(rows[name+"p50"], quantile(late, 0.5))
	rows[name+"p99"] = append(rows[name+"p99"], quantile(late, 0.99))
	return v.err()
}

// watchers are the viewers.
type watchers struct {
	mu     sync.Mutex // guards what follows
	late   []float64  // of chunks, in ms
	failed error
}

func (v *watchers) add(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failed = errors.Join(v.failed, err)
}

func (v *watchers) err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.failed
}

// take returns how late chunks were since the last call.
func (v *watchers) take() []float64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	late := v.late
	v.late = nil
	return late
}

// watch reads chunks until ctx ends.
func (v *watchers) watch(ctx context.Context, address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := io.WriteString(conn, "GET /large.ts?chunks=timed HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	for body := false; ; {
		line, err := r.ReadString('\n')
		switch line = strings.TrimRight(line, "\r\n"); {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !body && strings.HasPrefix(line, "HTTP/1.1 ") && !strings.Contains(line, " 200 "):
			return errors.New(line)
		case !body:
			body = line == ""
			continue
		}
		if err := v.chunk(r, line); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// chunk reads what follows the line of a chunk.
func (v *watchers) chunk(r *bufio.Reader, line string) error {
	size, given, found := strings.Cut(line, ";given=")
	n, err1 := strconv.ParseInt(size, 16, 64)
	us, err2 := strconv.ParseInt(given, 10, 64)
	if err := errors.Join(err1, err2); err != nil || !found || n == 0 {
		return fmt.Errorf("a chunk %q: %w", line, err)
	}
	if _, err := io.CopyN(io.Discard, r, n+2); err != nil {
		return err
	}
	late := float64(time.Since(time.UnixMicro(us)).Microseconds()) / 1000
	v.mu.Lock()
	defer v.mu.Unlock()
	v.late = append(v.late, late)
	return nil
}
