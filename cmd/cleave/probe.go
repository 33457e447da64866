package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/probe"
)

type probeCommand struct {
	Input         string `arg:"" help:"File, '-' for standard input, or http(s) URL."`
	cutParameters `embed:""`
	inputFlags    `embed:""`
	JSON          bool   `name:"json" help:"Print the report as JSON."`
	All           bool   `help:"List every GOP, not only the first."`
	SVG           string `name:"svg" placeholder:"FILE" help:"Draw frames, GOPs and the chunks of each strategy; '-' is standard output, without the report."`
	Timing        bool   `help:"Measure what each step of the reading takes."`
}

// Run probes.
func (c *probeCommand) Run(ctx context.Context) error {
	if err := c.validate(); err != nil {
		return err
	}
	leanHeap()
	report, err := probe.Run(ctx, c.Input, probe.Config{Options: c.reading(), Cut: c.options(), Picture: c.SVG != "", Timing: c.Timing})
	switch {
	case errors.Is(err, chunk.ErrPolicy):
		return &usageError{err}
	case err != nil:
		return err
	}
	if c.SVG == "-" {
		return report.SVG(os.Stdout)
	}
	if c.SVG != "" {
		if err := probe.WriteFile(c.SVG, report); err != nil {
			return err
		}
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(report)
	} else {
		err = report.Print(os.Stdout, c.All)
	}
	if err == nil && report.Broken != "" {
		fmt.Fprintf(os.Stderr, "cleave: %s: %s\n", c.Input, report.Broken)
		return errReported
	}
	return err
}
