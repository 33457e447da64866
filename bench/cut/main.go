// Command cut compares cleave cut with cp, FFmpeg and Shaka Packager on the same
// inputs in one interleaved run, and prints a table of medians in Markdown.
//
//	go run ./bench/cut [-n 9] [-dir DIR] [-long DIR]
//
// CPU is user and system time of the whole process, by the kernel's account. The
// inputs are made once in DIR, a folder in memory by default, where the outputs go,
// too. A peer that is not installed is left out, and said to be.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// packager is the release of Shaka Packager that is compared with.
const packager = "shaka-packager@3.4.2"

func main() {
	n := flag.Int("n", 9, "counted `rounds`, after one that is not")
	dir := flag.String("dir", "/dev/shm/cleave-bench", "`folder` for inputs and outputs, 3 GB")
	long := flag.String("long", "", "`folder` of 10 GB in which memory is compared with a file ten times as long")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *n, *dir, *long); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, n int, dir, long string) error {
	b := bench{dir: dir, times: map[string][]sample{}}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, "rounds: ")
	for i := range n + 1 {
		for _, c := range b.commands() {
			s, err := measure(ctx, c.args, c.out)
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
	if long == "" {
		return nil
	}
	return b.memory(ctx, long)
}

// bench is one comparison.
type bench struct {
	dir      string
	packager string // the program, "" if it could not be had
	times    map[string][]sample
}

// sample is what one run of a command took.
type sample struct {
	user, system, wall time.Duration
	peak               int64 // bytes resident
}

func (s sample) cpu() time.Duration { return s.user + s.system }

// prepare makes the inputs and gets the programs.
func (b *bench) prepare(ctx context.Context) error {
	for _, args := range [][]string{
		{"sh", "bench/cut/media.sh", b.dir},
		{"go", "build", "-trimpath", "-o", b.cleave(), "./cmd/cleave"},
	} {
		c := exec.CommandContext(ctx, args[0], args[1:]...)
		c.Stderr = os.Stderr
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if err := c.Run(); err != nil {
			return fmt.Errorf("%v: %w", args, err)
		}
	}
	c := exec.CommandContext(ctx, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", filepath.Join(b.dir, "npm"), packager)
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "%s is left out: npm: %v\n", packager, err)
		return nil
	}
	b.packager = filepath.Join(b.dir, "npm/node_modules/shaka-packager/bin/packager-linux-x64")
	return nil
}

func (b *bench) cleave() string        { return filepath.Join(b.dir, "cleave") }
func (b *bench) in(name string) string { return filepath.Join(b.dir, name) }

// command is one contestant; out is removed before each run.
type command struct {
	name, out string
	args      []string
}

func (b *bench) commands() []command {
	cut := b.in("cut.out")
	l := []command{
		b.cut("cleave mp4", "input.mp4", "cmaf", cut),
		{"cp mp4", b.in("cp.out"), []string{"cp", "-r", cut, b.in("cp.out")}}, // of what cleave wrote just now
		b.ffmpeg("ffmpeg mp4", "input.mp4", "-hls_segment_type", "fmp4"),
		b.cut("cleave flv", "input.flv", "cmaf", cut),
		b.ffmpeg("ffmpeg flv", "input.flv", "-hls_segment_type", "fmp4"),
		b.cut("cleave ts", "input.ts", "ts", cut),
		b.ffmpeg("ffmpeg ts", "input.ts"),
	}
	if b.packager == "" {
		return l
	}
	out := b.in("packager.out")
	stream := func(kind string) string {
		return fmt.Sprintf("in=%s,stream=%s,init_segment=%s/%s/init.mp4,segment_template=%[3]s/%[2]s/$Number%%05d$.m4s",
			b.in("input.mp4"), kind, out, kind)
	}
	return append(l, command{"packager mp4", out, []string{
		b.packager, "--quiet", stream("video"), stream("audio"),
		"--segment_duration", "2", "--hls_master_playlist_output", out + "/index.m3u8", "--mpd_output", out + "/manifest.mpd",
	}})
}

func (b *bench) cut(name, input, container, out string) command {
	return command{name, out, []string{b.cleave(), "cut", b.in(input), "--quiet", "--target", "2s", "--container", container, "--output", out}}
}

func (b *bench) ffmpeg(name, input string, more ...string) command {
	out := b.in("ffmpeg.out")
	args := []string{"ffmpeg", "-v", "error", "-nostdin", "-i", b.in(input), "-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod"}
	return command{name, out, append(append(args, more...), out+"/index.m3u8")}
}

// measure runs a command once.
func measure(ctx context.Context, args []string, out string) (sample, error) {
	if err := os.RemoveAll(out); err != nil {
		return sample{}, err
	}
	if filepath.Base(out) == "ffmpeg.out" { // which does not make it
		if err := os.Mkdir(out, 0o755); err != nil {
			return sample{}, err
		}
	}
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	start := time.Now()
	if text, err := c.CombinedOutput(); err != nil {
		return sample{}, fmt.Errorf("%v: %w: %s", args, err, text)
	}
	use := c.ProcessState.SysUsage().(*syscall.Rusage)
	return sample{c.ProcessState.UserTime(), c.ProcessState.SystemTime(), time.Since(start), use.Maxrss << 10}, nil
}
