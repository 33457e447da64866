// Command cmd kills servers and prints docs/reliability.md.
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

	"github.com/cleave-video/cleave/test/crash"
)

func main() {
	kills := flag.Int("kills", 500, "how many times")
	seed := flag.Uint64("seed", 1, "of the random points")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	broken, err := run(ctx, *kills, *seed)
	if err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
	}
	if err != nil || broken > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, kills int, seed uint64) (broken int, err error) {
	dir, err := os.MkdirTemp("", "crash-*")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "cleave")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/cleave").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	plain := crash.Config{Binary: binary, Data: filepath.Join(dir, "data"), Kills: kills, Seed: seed}
	spooled := crash.Config{Binary: binary, Data: filepath.Join(dir, "spooled"), Kills: (kills + 4) / 5, Seed: seed + 1}
	spooled.Args = crash.Spool(spooled.Data)
	var reports []*crash.Report
	for _, c := range []crash.Config{plain, spooled} {
		c.Progress = func(n int) { fmt.Fprintf(os.Stderr, "\r%d of %d", n, c.Kills) }
		r, err := crash.Run(ctx, c)
		fmt.Fprintln(os.Stderr)
		if err != nil {
			return 0, err
		}
		for _, f := range r.Findings {
			fmt.Fprintln(os.Stderr, f)
		}
		broken += r.Broken
		reports = append(reports, r)
	}
	start, err := crash.Recover(ctx, binary, filepath.Join(dir, "recovery"), 100_000)
	if err != nil {
		return 0, err
	}
	machine := fmt.Sprintf("Seed %d, %s on %s/%s with %d cores", seed, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	return broken, crash.Print(os.Stdout, reports[0], reports[1], start, machine)
}
