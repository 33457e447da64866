// Command cmd tortures a server and prints docs/torture.md. Without an address it starts
// one of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/test/child"
	"github.com/cleave-video/cleave/test/torture"
)

func main() {
	var t torture.Target
	flag.StringVar(&t.HTTP, "http", "", "address of HTTP, HOST:PORT")
	flag.StringVar(&t.RTMP, "rtmp", "", "address of RTMP")
	flag.StringVar(&t.RTSP, "rtsp", "", "address of RTSP")
	flag.StringVar(&t.SRT, "srt", "", "address of SRT")
	flag.StringVar(&t.Admin, "admin", "", "address of the administration, for pulls, memory and metrics")
	flag.StringVar(&t.PullAdmin, "pull-admin", "", "that of a server that may pull from this machine")
	remote := flag.Bool("remote", false, "the addresses may be beyond the loopback: it is a server that may be harmed")
	rows := flag.String("rows", "", "rows to try, as 4,65; all if empty")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	failed, err := run(ctx, t, *rows, *remote)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil || failed > 0 {
		os.Exit(1)
	}
}

func run(ctx context.Context, t torture.Target, text string, remote bool) (failed int, err error) {
	var rows []int
	for s := range strings.SplitSeq(text, ",") {
		if s == "" {
			continue
		}
		n, err := strconv.Atoi(s)
		if err != nil {
			return 0, fmt.Errorf("-rows: %w", err)
		}
		rows = append(rows, n)
	}
	if err := t.Local(ctx); err != nil && (!errors.Is(err, torture.ErrRemote) || !remote) {
		return 0, fmt.Errorf("%w: -remote lets it be harmed", err)
	}
	if t == (torture.Target{}) {
		end, err := own(ctx, &t)
		if err != nil {
			return 0, err
		}
		defer func() {
			if log, e := end(); e != nil {
				err = errors.Join(err, fmt.Errorf("the server ended with %w\n%s", e, log))
			}
		}()
	}
	report, err := torture.Run(ctx, t, rows, func(r torture.Result) {
		mark := "ok  "
		if !r.OK {
			mark = "FAIL"
		}
		fmt.Fprintf(os.Stderr, "%s %3d %s: %s (%v)\n", mark, r.Row, r.Sent, r.Came, r.Took.Round(time.Millisecond))
	})
	if err != nil {
		return 0, err
	}
	machine := fmt.Sprintf("%s on %s/%s with %d cores", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	return report.Failed(), report.Print(os.Stdout, machine)
}

// own starts two servers, of which the second may pull from here; end ends them and tells
// what is wrong with how the first ended.
func own(ctx context.Context, t *torture.Target) (end func() (log string, err error), err error) {
	dir, err := os.MkdirTemp("", "torture-*")
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "cleave")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/cleave").CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, out), os.RemoveAll(dir))
	}
	first, err := child.Start(ctx, binary, filepath.Join(dir, "first"))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	second, err := child.Start(ctx, binary, filepath.Join(dir, "second"), "--allow-private")
	if err != nil {
		_, e := first.Stop()
		return nil, errors.Join(err, e, os.RemoveAll(dir))
	}
	*t = torture.Target{HTTP: first.HTTP, RTMP: first.RTMP, RTSP: first.RTSP, SRT: first.SRT, Admin: first.Admin, PullAdmin: second.Admin}
	return func() (string, error) {
		log, err := first.Stop()
		log2, err2 := second.Stop()
		return log + log2, errors.Join(err, err2, os.RemoveAll(dir))
	}, nil
}
