// Command cmd runs every way in against every way out with real programs, and prints
// docs/interop.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cleave-video/cleave/test/interop"
)

func main() {
	c := interop.Config{Log: os.Stderr}
	flag.StringVar(&c.Match, "match", "", `only rows whose "INGEST: CODEC" contains this, or one of these between |`)
	flag.StringVar(&c.Players, "players", "", `only columns whose "PROTOCOL PLAYER" contains this`)
	flag.BoolVar(&c.Twins, "twins", false, "twins of other rows with every codec, too")
	flag.IntVar(&c.Rows, "rows", 3, "rows run at a time")
	flag.IntVar(&c.Tabs, "tabs", 4, "tabs of the browser at a time")
	flag.DurationVar(&c.Limit, "limit", 40*time.Minute, "no row begins after this")
	flag.BoolVar(&c.NoPages, "no-browser", false, "leave the browser's players out")
	add := flag.String("add", "", "file of results: what it has of other rows is kept, and this run's are added")
	missing := flag.Bool("missing", false, "with -add: what was run is not run again")
	flag.Parse()
	if *missing {
		old, err := interop.Read(*add)
		if err != nil {
			fmt.Fprintln(os.Stderr, "interop:", err)
			os.Exit(1)
		}
		c.Have = old.Rows
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	r, err := interop.Run(ctx, c)
	stop() // what follows does not take long
	if err == nil && *add != "" {
		err = r.Add(*add)
	}
	if err == nil {
		err = r.Page(context.Background(), os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}
