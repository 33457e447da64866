// Command cmd compares every file below a folder, by every strategy, in both
// containers, and prints docs/fidelity.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/test/fidelity"
)

var strategies = []string{"keyframe", "fixed", "memory", "adaptive_gop"}

func main() {
	limit := flag.Int64("limit", 0, "leave out files of more bytes; 0 leaves out none")
	flag.Parse()
	media := os.Getenv("CLEAVE_MEDIA")
	if media == "" {
		fmt.Fprintln(os.Stderr, "fidelity: CLEAVE_MEDIA names no folder of media")
		os.Exit(2)
	}
	var files []string
	for _, kind := range []string{"mp4", "fmp4", "ts", "flv", "raw", "audio"} {
		found, err := filepath.Glob(filepath.Join(media, kind, "*"))
		if err != nil {
			panic(err)
		}
		slices.Sort(found)
		files = append(files, found...)
	}
	fmt.Print(head)
	bad, left := 0, 0
	for _, f := range files {
		if st, err := os.Stat(f); err != nil || *limit > 0 && st.Size() > *limit {
			left++
			continue
		}
		for _, container := range []cut.Container{cut.CMAF, cut.TS} {
			cells, notes, faults := row(f, container)
			bad += faults
			name, _ := filepath.Rel(media, f)
			fmt.Printf("| %s | %s | %s | %s |\n", name, container, strings.Join(cells, " | "), notes)
			fmt.Fprintln(os.Stderr, name, container, cells)
		}
	}
	fmt.Printf("\n%d differences without a reason; %d files left out by -limit %d bytes.\n", bad, left, *limit)
}

const head = `# Fidelity

Made by ` + "`make fidelity`" + `: each file is cut by each strategy into each container; ffprobe's
packets of the output (number, PTS and DTS with one offset) are compared with those
of the source, and ffmpeg's framemd5 of all decoded pictures of the first video track.
"equal" means both are; a number is how many differences were found.

| file | container | keyframe | fixed | memory | adaptive_gop | notes |
| --- | --- | --- | --- | --- | --- | --- |
`

func row(file string, container cut.Container) (cells []string, notes string, faults int) {
	var all []string
	add := func(s string) {
		s = strings.ReplaceAll(s, "|", "/")
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, s := range strategies {
		dir, err := os.MkdirTemp("", "fidelity-*")
		if err != nil {
			panic(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		r, err := fidelity.Check(ctx, fidelity.Case{File: file, Strategy: s, Container: container}, dir)
		cancel()
		os.RemoveAll(dir)
		switch {
		case err != nil:
			cells = append(cells, "not cut")
			text := err.Error()
			text = strings.ReplaceAll(text, filepath.Dir(file)+"/", "")
			add(text)
			continue
		case len(r.Faults) > 0:
			cells = append(cells, fmt.Sprint(len(r.Faults)))
			faults += len(r.Faults)
		case len(r.Tracks) > 0:
			cells = append(cells, "equal")
		default:
			cells = append(cells, "not compared")
		}
		for _, n := range append(r.Notes, r.Faults...) {
			add(n)
		}
	}
	return cells, strings.Join(all, "; "), faults
}
