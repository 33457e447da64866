package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"

	"github.com/cleave-video/cleave/index"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/server"
	storedisk "github.com/cleave-video/cleave/store/disk"
)

type indexCommand struct {
	Rebuild indexRebuildCommand `cmd:"" help:"Build the index anew from the chunks in the data folder."`
}

type indexRebuildCommand struct {
	Data  string `default:"data" env:"CLEAVE_DATA" placeholder:"DIR" help:"Folder of the chunks."`
	Index string `placeholder:"DIR" help:"Folder of the index (default: +index in the folder of the chunks)."`
	JSON  bool   `name:"json" help:"Print what was found as JSON."`
}

// rebuilt is what --json prints.
type rebuilt struct {
	Objects int      `json:"objects"`
	Chunks  int      `json:"chunks"`
	Others  int      `json:"others"`
	Damaged int      `json:"damaged"`
	Errors  []string `json:"errors"`
	Seconds float64  `json:"seconds"`
}

// Run builds the index beside the old one, which it replaces when it is whole.
func (c *indexRebuildCommand) Run(ctx context.Context) error {
	if _, err := os.Stat(c.Data); err != nil {
		return &usageError{err}
	}
	began := time.Now()
	st, err := storedisk.Open(c.Data)
	if err != nil {
		return err
	}
	dir := c.Index
	if dir == "" {
		dir = filepath.Join(c.Data, server.IndexDir)
	}
	// Open as long as it is being replaced, so that no server begins to use it.
	old, err := indexdisk.Open(dir)
	if err != nil {
		return err
	}
	defer old.Close()
	fresh := dir + "+fresh"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	defer os.RemoveAll(fresh)
	ix, err := indexdisk.Open(fresh)
	if err != nil {
		return err
	}
	found, err := index.Rebuild(ctx, st, ix, index.RebuildConfig{Progress: c.progress()})
	if err == nil {
		err = keepStates(ctx, old, ix)
	}
	if err = errors.Join(err, ix.Close()); err != nil {
		return err
	}
	if err := replaceDir(fresh, dir); err != nil {
		return err
	}
	return c.report(found, time.Since(began))
}

// keepStates copies what stands in no chunk: the states of streams that can be read.
func keepStates(ctx context.Context, from, to *indexdisk.Disk) error {
	for name, err := range from.Streams(ctx) {
		if err != nil {
			return err
		}
		state, err := from.State(ctx, name)
		var damage *index.CorruptError
		if errors.Is(err, index.ErrNotFound) || errors.As(err, &damage) {
			continue
		}
		if err == nil {
			err = to.SetState(ctx, name, state)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// progress shows how far it is, on a terminal.
func (c *indexRebuildCommand) progress() func(int, int) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	return func(n, of int) {
		fmt.Fprintf(os.Stderr, "\r%d of %d objects", n, of)
		if n == of {
			fmt.Fprintln(os.Stderr)
		}
	}
}

// replaceDir puts a folder in the place of another one.
func replaceDir(fresh, dir string) error {
	old := dir + "+old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	defer parent.Close()
	if err := parent.Sync(); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

func (c *indexRebuildCommand) report(r *index.Rebuilt, took time.Duration) error {
	if c.JSON {
		out := rebuilt{Objects: r.Objects, Chunks: r.Entries, Others: r.Others, Damaged: r.Lost, Errors: []string{}, Seconds: took.Seconds()}
		for _, err := range r.Damaged {
			out.Errors = append(out.Errors, err.Error())
		}
		if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
			return err
		}
	} else {
		fmt.Printf("%d chunks of %d objects; %d others, %d damaged\n", r.Entries, r.Objects, r.Others, r.Lost)
		for _, err := range r.Damaged {
			fmt.Fprintf(os.Stderr, "cleave: %v\n", err)
		}
	}
	if r.Lost > 0 {
		return errReported
	}
	return nil
}
