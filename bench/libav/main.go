// Command libav compares cleave-av with plain libavformat in C, and with cleave's own
// demuxers, in one interleaved run, and prints tables of medians in Markdown.
//
//	go run ./bench/libav [-n 9] [-dir DIR]
//
// CPU is user and system time of whole processes, by the kernel's account.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

func main() {
	n := flag.Int("n", 9, "counted `rounds`, after one that is not")
	dir := flag.String("dir", "/dev/shm/cleave-bench-libav", "`folder` for inputs and programs, 1.5 GB")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n int, dir string) error {
	b := &bench{dir: dir, times: map[string][]sample{}}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, "rounds: ")
	for i := range n + 1 {
		for _, c := range b.commands() {
			s, err := measure(ctx, c.args)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if i > 0 {
				b.times[c.name] = append(b.times[c.name], s)
			}
		}
		fmt.Fprint(os.Stderr, i, " ")
	}
	fmt.Fprintln(os.Stderr)
	b.report(os.Stdout, n)
	return nil
}

// bench is one comparison.
type bench struct {
	dir   string
	times map[string][]sample
}

// sample is what one run of a command took.
type sample struct {
	cpu, worker, wall time.Duration // worker is part of cpu
	packets, bytes    int64
}

func (b *bench) in(name string) string { return filepath.Join(b.dir, name) }

// prepare makes the inputs and builds the programs.
func (b *bench) prepare(ctx context.Context) error {
	flags, err := exec.CommandContext(ctx, "pkg-config", "--cflags", "--libs", "libavformat", "libavcodec", "libavutil").Output()
	if err != nil {
		return fmt.Errorf("FFmpeg's development files are needed: %w", err)
	}
	for _, args := range [][]string{
		{"sh", "bench/libav/media.sh", b.dir},
		append([]string{"cc", "-O2", "-o", b.in("plain"), "bench/libav/plain/plain.c"}, strings.Fields(string(flags))...),
		{"go", "build", "-tags", "libav", "-trimpath", "-o", b.in("cleave-av"), "./cmd/cleave-av"},
		{"go", "build", "-trimpath", "-o", b.in("demux"), "./bench/libav/demux"},
	} {
		c := exec.CommandContext(ctx, args[0], args[1:]...)
		c.Stderr = os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("%v: %w", args, err)
		}
	}
	return nil
}

// command is one contestant on one input.
type command struct {
	name string
	args []string
}

// inputs of the comparison, and whether cleave's own demuxers read them.
var inputs = []struct {
	name   string
	native bool
}{
	{"small.mkv", false},
	{"small.avi", false},
	{"small.mp4", true},
	{"small.ts", true},
	{"small.flv", true},
	{"large.mkv", false},
	{"large.avi", false},
	{"large.mp4", true},
	{"large.ts", true},
	{"large.flv", true},
}

func (b *bench) commands() (l []command) {
	for _, in := range inputs {
		path := b.in(in.name)
		l = append(l, command{"plain " + in.name, []string{b.in("plain"), path}},
			command{"libav " + in.name, []string{b.in("demux"), "libav", path}})
		if in.native {
			l = append(l, command{"native " + in.name, []string{b.in("demux"), "native", path}})
		}
	}
	return append(l, command{"start", []string{b.in("cleave-av"), "version"}})
}

// measure runs a command once.
func measure(ctx context.Context, args []string) (s sample, err error) {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Stderr = os.Stderr
	start := time.Now()
	out, err := c.Output()
	if err != nil {
		return s, fmt.Errorf("%v: %w", args, err)
	}
	s.wall = time.Since(start)
	s.cpu = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	var worker int64
	if args[len(args)-1] == "version" {
		return s, nil
	}
	if n, _ := fmt.Sscan(string(out), &s.packets, &s.bytes, &worker); n < 2 {
		return s, fmt.Errorf("%v: it said %q", args, out)
	}
	s.worker = time.Duration(worker) * time.Microsecond
	return s, nil
}
