package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/internal/size"
	"github.com/cleave-video/cleave/seal"
)

// policyFlags are the flags that choose where to cut.
type policyFlags struct {
	Strategy      string `default:"keyframe" enum:"keyframe,fixed,memory,adaptive_gop" help:"Where to cut: ${enum}."`
	cutParameters `embed:""`
}

// cutParameters are what the strategies take, each what it needs.
type cutParameters struct {
	Target   time.Duration `default:"2s" help:"Chunk length that keyframe and fixed aim at."`
	MaxBytes size.Bytes    `default:"16MiB" help:"Payload bytes of a chunk, for memory."`
	MinGOP   int           `name:"min-gop" default:"12" help:"Least frames of a chunk, for adaptive_gop."`
	MaxGOP   int           `name:"max-gop" default:"48" help:"Most frames of a chunk of several GOPs, for adaptive_gop."`
}

func (f *cutParameters) options() chunk.Options {
	return chunk.Options{Target: f.Target, MaxBytes: int64(f.MaxBytes), MinGOP: f.MinGOP, MaxGOP: f.MaxGOP}
}

// validate refuses what the library takes for a default.
func (f *cutParameters) validate() error {
	for _, p := range []struct {
		flag string
		zero bool
	}{{"--target", f.Target <= 0}, {"--max-bytes", f.MaxBytes <= 0}, {"--min-gop", f.MinGOP <= 0}, {"--max-gop", f.MaxGOP <= 0}} {
		if p.zero {
			return &usageError{fmt.Errorf("%s must be more than 0", p.flag)}
		}
	}
	return nil
}

func (f *policyFlags) policy() (chunk.Policy, error) {
	if err := f.validate(); err != nil {
		return nil, err
	}
	p, err := chunk.Parse(f.Strategy, f.options())
	if err != nil {
		return nil, &usageError{err}
	}
	return p, nil
}

// aim is the length that the strategy aims at, 0 if it has none.
func (f *policyFlags) aim() time.Duration {
	if f.Strategy == "keyframe" || f.Strategy == "fixed" {
		return f.Target
	}
	return 0
}

// keyFlags are the flags of encryption.
type keyFlags struct {
	Encrypt     string `default:"none" enum:"none,aes-128,cbcs,cenc" help:"Encrypt the chunks: ${enum}."`
	KeyFile     string `name:"key-file" placeholder:"FILE" help:"Keys to use, one a line: ID:KEY or ID:KEY:IV in hexadecimal. Without it keys are made."`
	KeyRotation int    `name:"key-rotation" placeholder:"N" help:"Use the next key after N chunks."`
	KeyURL      string `name:"key-url" placeholder:"URI" help:"URI of a key in playlists, {kid} for its ID. Without it keys are written into the output."`
	KeyFormat   string `name:"key-format" default:"identity" enum:"identity,clearkey" help:"Who decrypts samples of HLS: identity is the player, clearkey a browser's module, as hls.js needs it."`
	LicenseURL  string `name:"license-url" placeholder:"URI" help:"Where ClearKey players of the manifest ask for keys."`
}

func (f *keyFlags) encryption(container cut.Container) (cut.Encryption, error) {
	e := cut.Encryption{Scheme: seal.Scheme(f.Encrypt), Rotation: f.KeyRotation, KeyURL: f.KeyURL, LicenseURL: f.LicenseURL, KeyFormat: cut.KeyFormat(f.KeyFormat)}
	if f.KeyFile != "" {
		keys, err := seal.ReadFile(f.KeyFile)
		if err != nil {
			return e, err
		}
		e.Keys = keys
	}
	if err := e.Validate(container); err != nil {
		return e, &usageError{err}
	}
	return e, nil
}

type cutCommand struct {
	Input       string `arg:"" help:"File, '-' for standard input, or http(s) URL."`
	Output      string `short:"o" required:"" placeholder:"DIR" help:"Folder to make. It appears when all of it is written."`
	policyFlags `embed:""`
	Container   string `default:"cmaf" enum:"cmaf,ts" help:"Container of the chunks: ${enum}."`
	keyFlags    `embed:""`
	inputFlags  `embed:""`
	Force       bool `help:"Replace the folder if it is an earlier cut."`
	JSON        bool `name:"json" help:"Print the closing table as JSON."`
	Quiet       bool `short:"q" help:"No progress."`
}

// heapPercent replaces Go's 100, unless GOGC is set: the heap holds no payload, but
// sample tables and lists that grow with the input, and half as much again in
// garbage would be most of what a long cut takes.
const heapPercent = 25

func leanHeap() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapPercent)
	}
}

// Run cuts.
func (c *cutCommand) Run(ctx context.Context) error {
	leanHeap()
	policy, err := c.policy()
	if err != nil {
		return err
	}
	if c.Output == "" {
		return &usageError{errors.New("--output names no folder")}
	}
	encryption, err := c.encryption(cut.Container(c.Container))
	if err != nil {
		return err
	}
	bar := newBar(c.Quiet)
	report, err := cut.Run(ctx, cut.Config{
		Input: c.Input, Dir: c.Output, Policy: policy, Target: c.aim(), Container: cut.Container(c.Container),
		Encrypt: encryption, Force: c.Force, Options: c.reading(), Progress: bar.set,
	})
	bar.done()
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(report)
	} else {
		err = report.Print(os.Stdout)
	}
	if err == nil && report.Broken != nil {
		fmt.Fprintf(os.Stderr, "cleave: %v\n", report.Broken)
		return errReported
	}
	return err
}

// bar shows progress on a terminal; the nil bar shows nothing.
type bar struct {
	b     *progressbar.ProgressBar
	start time.Time
}

func newBar(quiet bool) *bar {
	if quiet || !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	return &bar{}
}

func (b *bar) set(done, total int64) {
	if b == nil {
		return
	}
	if b.b == nil {
		b.start = time.Now()
		options := []progressbar.Option{
			progressbar.OptionSetWriter(os.Stderr), progressbar.OptionShowBytes(true), progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetPredictTime(false), progressbar.OptionThrottle(100 * time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetDescription("cutting"),
		}
		if total <= 0 {
			total = -1
			options = append(options, progressbar.OptionShowCount())
		}
		b.b = progressbar.NewOptions64(total, options...)
	}
	if gone := time.Since(b.start); done > 0 && total > 0 && gone > time.Second {
		left := time.Duration(float64(gone) * float64(total-done) / float64(done))
		b.b.Describe(fmt.Sprintf("cutting, %v left", left.Round(time.Second)))
	}
	_ = b.b.Set64(done) // a terminal that is gone is no reason to stop
}

func (b *bar) done() {
	if b != nil && b.b != nil {
		_ = b.b.Finish()
		fmt.Fprint(os.Stderr, "\r\x1b[K") // what the terminal wrote of an interrupt, too
	}
}
