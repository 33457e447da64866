// Command http compares how cleave serve and nginx answer with the same bytes over HTTP
// and HTTPS, in interleaved rounds, how many system calls and how much CPU TLS takes with
// and without coalescing, and what the strategies of answers without an end cost. It
// prints tables in Markdown.
//
//	go run ./bench/http [-n 5] [-window 5s] [-parts files,tls,strategies] [-dir DIR]
//
// It needs ffmpeg, and for files nginx and wrk.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cleave-video/cleave/internal/machine"
	"github.com/cleave-video/cleave/internal/testnet"
)

// config is what the flags say.
type config struct {
	rounds  int
	window  time.Duration
	clients int
	viewers int
	parts   []string
	dir     string
	conns   []int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// start is this program, or the clients that it starts as a second process.
func start(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "drain" {
		return drain(args[1:])
	}
	if len(args) == 6 && (args[0] == "bare" || args[0] == "loop") {
		return limit(args)
	}
	c := config{conns: []int{500, 2000}}
	f := flag.NewFlagSet("http", flag.ExitOnError)
	f.IntVar(&c.rounds, "n", 5, "`rounds`")
	f.DurationVar(&c.window, "window", 5*time.Second, "`time` of one measurement")
	f.IntVar(&c.clients, "clients", 16, "connections of wrk")
	f.IntVar(&c.viewers, "viewers", 200, "connections of the strategies")
	f.StringVar(&c.dir, "dir", "/dev/shm/cleave-bench-http", "`folder` for streams, servers' files and programs")
	parts := f.String("parts", "files,tls,strategies", "what is measured")
	_ = f.Parse(args)
	c.parts = strings.Split(*parts, ",")
	b := &bench{config: c}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	fmt.Printf(intro, c.rounds, c.window, machine.Name(), machine.Load())
	for _, p := range []struct {
		name string
		run  func(ctx context.Context, w io.Writer) error
	}{{"files", b.files}, {"tls", b.coalescing}, {"strategies", b.strategies}} {
		if !slices.Contains(c.parts, p.name) {
			continue
		}
		if err := p.run(ctx, os.Stdout); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	fmt.Printf("\nThe load behind it was %s.\n", machine.Load())
	return nil
}

const intro = `# Answers over HTTP

%d interleaved rounds, %v each, medians; clients and servers share the machine. %s; the load before was %s. Far above
1 the machine was busy otherwise: look at ratios alone then. Repeat it with ` + "`go run ./bench/http > bench/http/RESULT.md`" + `.

`

// bench is one comparison.
type bench struct {
	config
	cleave, self, cert, key string
}

// prepare makes the streams, the program and a certificate.
func (b *bench) prepare(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	b.cleave = b.dir + "/cleave"
	for _, args := range [][]string{
		{"sh", "bench/http/media.sh", b.dir},
		{"go", "build", "-trimpath", "-o", b.cleave, "./cmd/cleave"},
	} {
		c := exec.CommandContext(ctx, args[0], args[1:]...)
		c.Stderr = os.Stderr
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := c.Run(); err != nil {
			return fmt.Errorf("%v: %w", args, err)
		}
	}
	b.cert, b.key, err = testnet.Certificate(b.dir)
	return err
}

func median(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// quantile returns the value that the share q of a sorted list does not exceed.
func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	return list[min(int(q*float64(len(list))), len(list)-1)]
}

var errNone = errors.New("there is none of about the size wanted")
