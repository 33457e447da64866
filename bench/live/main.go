// Command live compares what it costs cleave serve, nginx-rtmp and, where they are
// given, MediaMTX and SRS to show one stream to many, in one interleaved run, and
// prints tables of medians in Markdown.
//
//	go run ./bench/live [-n 5] [-window 10s] [-viewers 200,1000] [-dir DIR]
//
// CLEAVE_BENCH_MEDIAMTX and CLEAVE_BENCH_SRS name the peers' programs; one that is
// not there is left out, and said to be.
//
// The stream is published by this process, the viewers are in another: neither is
// counted. CPU is user and system time of the server, by the kernel's account, while
// the viewers get what is counted as delivered. Each picture carries the time at
// which it was published.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	rounds, joins int
	window        time.Duration
	viewers       []int
	dir, also     string
	only          string
	media         []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// start is this program, or the viewers that it starts as a second process.
func start(ctx context.Context, args []string) error {
	if len(args) == 3 && args[0] == "load" {
		return load(args[1], args[2])
	}
	if len(args) == 4 && args[0] == "join" {
		return join(args[1], args[2], args[3])
	}
	var c config
	f := flag.NewFlagSet("live", flag.ExitOnError)
	f.IntVar(&c.rounds, "n", 5, "`rounds`")
	f.IntVar(&c.joins, "joins", 40, "viewers that join one by one, for each `round` and server")
	f.DurationVar(&c.window, "window", 10*time.Second, "`time` over which is measured")
	f.StringVar(&c.dir, "dir", "/dev/shm/cleave-bench-live", "`folder` for streams, servers' files and programs")
	f.StringVar(&c.also, "also", "", "another cleave `program` to compare with")
	f.StringVar(&c.only, "only", "", "`names` of servers, with commas between; all that are there by default")
	media := f.String("media", "small,large", "`streams`, of media.sh")
	viewers := f.String("viewers", "200,1000", "`numbers` of viewers, growing")
	_ = f.Parse(args)
	for s := range strings.SplitSeq(*viewers, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || len(c.viewers) > 0 && n <= c.viewers[len(c.viewers)-1] || n < 2 {
			return fmt.Errorf("-viewers %s", *viewers)
		}
		c.viewers = append(c.viewers, n)
	}
	c.media = strings.Split(*media, ",")
	return run(ctx, c)
}

func run(ctx context.Context, c config) error {
	b := bench{config: c}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for i := range c.rounds {
		for _, m := range b.media {
			for _, s := range b.servers {
				for _, protocol := range s.protocols {
					if err := b.measure(ctx, s, m, protocol); err != nil {
						return fmt.Errorf("%s: %s: %w", s.name, protocol, err)
					}
				}
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", i+1, c.rounds)
	}
	b.report(os.Stdout)
	return nil
}

// bench is one comparison.
type bench struct {
	config
	servers []*server
	absent  []string
	self    string // this program
	cells   []cell
	results map[cell][]result
	rates   map[string]float64   // Mbit/s of each medium, its payload alone
	firsts  map[string][]float64 // ms until the first key frame, by server and protocol
}

// cell is what a table has a row for.
type cell struct {
	media, server, protocol string
	viewers                 int
}

// result is one measurement of a cell.
type result struct {
	cpu       float64 // seconds a second
	idle      float64 // the same with nobody watching
	rate      float64 // Mbit/s delivered
	share     float64 // frames of the viewer that got fewest, of those published
	perViewer float64 // bytes resident
	p50, p99  float64 // ms from the publisher to the viewer
}

// prepare makes the streams and finds the programs.
func (b *bench) prepare(ctx context.Context) (err error) {
	b.results, b.firsts, b.rates = map[cell][]result{}, map[string][]float64{}, map[string]float64{}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	cleave := b.dir + "/cleave"
	for _, args := range [][]string{
		{"sh", "bench/live/media.sh", b.dir},
		{"go", "build", "-trimpath", "-o", cleave, "./cmd/cleave"},
	} {
		c := exec.CommandContext(ctx, args[0], args[1:]...)
		c.Stderr = os.Stderr
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := c.Run(); err != nil {
			return fmt.Errorf("%v: %w", args, err)
		}
	}
	b.find(cleave)
	return nil
}

// measure starts a server, publishes, and measures it with each number of viewers.
func (b *bench) measure(ctx context.Context, s *server, media, protocol string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p, err := b.start(ctx, s)
	if err != nil {
		return err
	}
	defer p.stop()
	pub, err := publish(ctx, "rtmp://"+p.rtmp+"/live/cam", b.dir+"/"+media+".flv")
	if err != nil {
		return err
	}
	defer pub.stop()
	b.rates[media] = pub.rate
	pause(ctx, 3*time.Second) // memory and the first segments settle
	idle, err := b.idle(ctx, p)
	if err != nil {
		return err
	}
	if err := b.climb(ctx, p, pub, media, protocol, idle); err != nil {
		return err
	}
	if media == b.media[len(b.media)-1] && b.joins > 0 {
		ms, err := b.join(ctx, protocol, p)
		if err != nil {
			return err
		}
		key := s.name + " " + protocol
		b.firsts[key] = append(b.firsts[key], ms...)
	}
	if err := pub.failed(); err != nil {
		return fmt.Errorf("publisher: %w", err)
	}
	return nil
}

// idle measures a server that nobody watches.
func (b *bench) idle(ctx context.Context, p *process) (cpu float64, err error) {
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	pause(ctx, b.window/2)
	after, err := p.cpu()
	return (after - before).Seconds() / time.Since(start).Seconds(), err
}

// climb measures more and more viewers of one protocol.
func (b *bench) climb(ctx context.Context, p *process, pub *publisher, media, protocol string, idle float64) error {
	v, err := b.view(ctx, protocol, p)
	if err != nil {
		return err
	}
	defer v.stop()
	if err := v.grow(1); err != nil {
		return err
	}
	pause(ctx, 6*time.Second) // what is rendered for the first viewer is kept for that long
	base, err := p.rss()
	if err != nil {
		return err
	}
	for _, n := range b.viewers {
		if err := v.grow(n); err != nil {
			return err
		}
		pause(ctx, 3*time.Second)
		r, err := b.window1(ctx, p, pub, v)
		if err != nil {
			return err
		}
		r.idle = idle
		rss, err := p.rss()
		if err != nil {
			return err
		}
		r.perViewer = (rss - base) / float64(n-1)
		c := cell{media, p.name, protocol, n}
		if len(b.results[c]) == 0 {
			b.cells = append(b.cells, c)
		}
		b.results[c] = append(b.results[c], r)
		fmt.Fprintf(os.Stderr, "%-6s %-14s %-4s %5d: %5.1f %% of a core, %6.1f Mbit/s, %5.2f %% per 100 Mbit/s, least %.2f, %5.1f kB, p50 %.1f p99 %.1f ms\n", media, p.name, protocol, n,
			100*r.cpu, r.rate, 1e4*r.cpu/r.rate, r.share, r.perViewer/1000, r.p50, r.p99)
	}
	return nil
}

// window1 measures what is there for one window.
func (b *bench) window1(ctx context.Context, p *process, pub *publisher, v *viewers) (r result, err error) {
	if _, err = v.mark(); err != nil {
		return r, err
	}
	before, err := p.cpu()
	if err != nil {
		return r, err
	}
	start, frames := time.Now(), pub.frames.Load()
	pause(ctx, b.window)
	s, err := v.mark()
	if err != nil {
		return r, err
	}
	after, err := p.cpu()
	if err != nil {
		return r, err
	}
	wall := time.Since(start).Seconds()
	if s.Alive < s.Viewers {
		return r, fmt.Errorf("%d of %d viewers have lost their connection: %s", s.Viewers-s.Alive, s.Viewers, s.Error)
	}
	r.cpu = (after - before).Seconds() / wall
	r.rate = float64(s.Bytes) * 8 / 1e6 / wall
	r.share = float64(s.Least) / float64(pub.frames.Load()-frames)
	r.p50, r.p99 = s.P50, s.P99
	return r, ctx.Err()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
