// Command cmd plays through nginx's cache and prints docs/cache.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"github.com/cleave-video/cleave/test/cache"
)

func main() {
	var c cache.Config
	flag.IntVar(&c.Players, "players", 1000, "of LL-HLS")
	flag.DurationVar(&c.Join, "join", 20*time.Second, "over which they come")
	flag.DurationVar(&c.For, "for", time.Minute, "that they play")
	flag.DurationVar(&c.Part, "part", 200*time.Millisecond, "length of parts aimed at")
	flag.StringVar(&c.Nginx, "nginx", "nginx", "program")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	good, err := run(ctx, c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cache:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

func run(ctx context.Context, c cache.Config) (good bool, err error) {
	if c.Nginx, err = exec.LookPath(c.Nginx); err != nil {
		return false, err
	}
	if c.Dir, err = os.MkdirTemp("", "cache-*"); err != nil {
		return false, err
	}
	defer os.RemoveAll(c.Dir)
	if err := os.Chmod(c.Dir, 0o755); err != nil { // nginx's workers look into it
		return false, err
	}
	c.Binary = filepath.Join(c.Dir, "cleave")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", c.Binary, "./cmd/cleave").CombinedOutput(); err != nil {
		return false, fmt.Errorf("%w\n%s", err, out)
	}
	r, err := cache.Run(ctx, c)
	if err != nil {
		return false, err
	}
	machine := fmt.Sprintf("%s on %s/%s with %d cores", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	return r.Passed(), r.Print(os.Stdout, machine)
}
