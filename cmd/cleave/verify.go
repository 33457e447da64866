package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/cleave-video/cleave/verify"
)

type verifyCommand struct {
	Input string        `arg:"" help:"Folder, playlist (.m3u8), manifest (.mpd), or http(s) URL of one."`
	For   time.Duration `default:"60s" help:"How long to watch a live URL."`
	JSON  bool          `name:"json" help:"Print the report as JSON."`
}

// Run verifies.
func (c *verifyCommand) Run(ctx context.Context) error {
	report, err := verify.Run(ctx, verify.Config{Input: c.Input, For: c.For})
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(report)
	} else {
		err = report.Print(os.Stdout)
	}
	if err == nil && report.Count(verify.Must) > 0 {
		if !c.JSON {
			fmt.Fprintln(os.Stderr, "cleave: a MUST is broken")
		}
		return errReported
	}
	return err
}
