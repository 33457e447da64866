// Command cmd soaks a server and writes docs/soak.md and its graph into a folder.
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
	"time"

	"github.com/cleave-video/cleave/test/soak"
)

func main() {
	var c soak.Config
	flag.DurationVar(&c.For, "for", 20*time.Minute, "how long there is load")
	flag.IntVar(&c.Publishers, "publishers", 8, "at a time")
	flag.IntVar(&c.Viewers, "viewers", 28, "at a time")
	flag.Uint64Var(&c.Seed, "seed", 1, "of what clients do")
	to := flag.String("o", "bin", "folder for soak.md and soak.svg")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	good, err := run(ctx, c, *to)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil || !good {
		os.Exit(1)
	}
}

func run(ctx context.Context, c soak.Config, to string) (good bool, err error) {
	if c.Dir, err = os.MkdirTemp("", "soak-*"); err != nil {
		return false, err
	}
	defer os.RemoveAll(c.Dir)
	c.Binary = filepath.Join(c.Dir, "cleave")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", c.Binary, "./cmd/cleave").CombinedOutput(); err != nil {
		return false, fmt.Errorf("%w\n%s", err, out)
	}
	c.Progress = func(at time.Duration, s soak.Sample) { fmt.Fprintf(os.Stderr, "\r%v %s ", at.Round(time.Second), s) }
	r, err := soak.Run(ctx, c)
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return false, err
	}
	for _, v := range r.Verdicts {
		fmt.Fprintf(os.Stderr, "%v\t%s: %s\n", v.OK, v.What, v.Seen)
	}
	if r.Log != "" {
		fmt.Fprintln(os.Stderr, r.Log)
	}
	machine := fmt.Sprintf("%s on %s/%s with %d cores", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	var page, graph bytes.Buffer
	if err := r.Print(&page, machine); err != nil {
		return false, err
	}
	if err := r.SVG(&graph); err != nil {
		return false, err
	}
	if err := os.WriteFile(filepath.Join(to, "soak.md"), page.Bytes(), 0o644); err != nil {
		return false, err
	}
	return r.Passed(), os.WriteFile(filepath.Join(to, "soak.svg"), graph.Bytes(), 0o644)
}
