package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/cleave-video/cleave/probe"
)

type probeCommand struct {
	Input      string `arg:"" help:"File, '-' for standard input, or http(s) URL."`
	inputFlags `embed:""`
	JSON       bool `name:"json" help:"Print the report as JSON."`
	All        bool `help:"List every GOP, not only the first."`
}

// Run probes.
func (c *probeCommand) Run(ctx context.Context) error {
	report, err := probe.Run(ctx, c.Input, c.options())
	if err != nil {
		return err
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
