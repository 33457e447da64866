// Command cmd compares every file below a folder, and the variants that the
// folder's synth.sh makes, cut by every strategy into both containers, and prints
// docs/fidelity.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
	"github.com/cleave-video/cleave/test/fidelity"
)

// limit is how long one cut with its comparison may take.
const limit = 40 * time.Minute

func main() {
	match := flag.String("match", "", "only files whose name contains this")
	jobs := flag.Int("jobs", 2, "files compared at a time")
	made := flag.String("variants", "", "folder of variants already made by synth.sh; empty makes them")
	flag.Parse()
	if err := run(os.Stdout, *match, *made, *jobs); err != nil {
		fmt.Fprintln(os.Stderr, "fidelity:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, match, synth string, jobs int) error {
	media := os.Getenv("CLEAVE_MEDIA")
	if media == "" {
		return errors.New("CLEAVE_MEDIA names no folder of media")
	}
	files, err := fidelity.Files(media)
	if err != nil {
		return err
	}
	keys, err := fidelity.ReadKeys(media)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "fidelity-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	made, err := variants(media, synth, filepath.Join(scratch, "synth"))
	if err != nil {
		return err
	}
	var all []*file
	for _, name := range append(files, made...) {
		rel, err := filepath.Rel(media, name)
		if err != nil || strings.HasPrefix(rel, "..") {
			rel = "synth/" + filepath.Base(name)
		}
		if strings.Contains(rel, match) {
			all = append(all, &file{path: name, name: rel, keys: keys[rel]})
		}
	}
	work(all, scratch, jobs)
	return print(w, all, match)
}

// variants runs the media's own synth.sh.
func variants(media, dir, fresh string) ([]string, error) {
	if dir == "" {
		script := filepath.Join(media, "synth.sh")
		if _, err := os.Stat(script); err != nil {
			return nil, nil
		}
		dir = fresh
		fmt.Fprintln(os.Stderr, "making the variants")
		if out, err := exec.Command("sh", script, dir).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", script, err, out)
		}
	}
	var l []string
	for _, ext := range []string{"mp4", "mov", "ts", "flv", "264", "265"} {
		found, err := filepath.Glob(filepath.Join(dir, "*."+ext))
		if err != nil {
			return nil, err
		}
		l = append(l, found...)
	}
	slices.Sort(l)
	return l, nil
}

// file is one row of the table for each container.
type file struct {
	path, name string
	keys       []int
	rows       []row
}

type row struct {
	container cut.Container
	cells     []string
	notes     []string
	faults    int
}

// work compares the files, some at a time, the largest first.
func work(all []*file, scratch string, jobs int) {
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b *file) int { return int(size(b.path) - size(a.path)) })
	queue := make(chan *file)
	var wg sync.WaitGroup
	for n := range jobs {
		wg.Go(func() {
			dir := filepath.Join(scratch, fmt.Sprint("job", n))
			for f := range queue {
				start := time.Now()
				f.compare(dir)
				f.print(os.Stderr)
				fmt.Fprintf(os.Stderr, "%v\n", time.Since(start).Round(time.Second/10))
			}
		})
	}
	for _, f := range order {
		queue <- f
	}
	close(queue)
	wg.Wait()
}

func size(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

func (f *file) compare(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	src, err := fidelity.NewSource(ctx, f.path)
	if err != nil {
		f.rows = []row{{cells: []string{"", "", "", ""}, notes: []string{err.Error()}, faults: 1}}
		return
	}
	src.Keys = f.keys
	for _, container := range []cut.Container{cut.CMAF, cut.TS} {
		r := row{container: container}
		for _, strategy := range chunk.Names() {
			r.add(f, src, fidelity.Case{Strategy: strategy, Container: container, Alone: strategy == "keyframe"}, ctx, dir)
		}
		f.rows = append(f.rows, r)
	}
}

func (r *row) add(f *file, src *fidelity.Source, c fidelity.Case, ctx context.Context, dir string) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	res, err := src.Check(ctx, c, dir)
	if err != nil {
		r.cells = append(r.cells, "not cut")
		if !errors.Is(err, av.ErrUnsupported) && ctx.Err() != nil {
			r.faults++
		}
		r.note(strings.ReplaceAll(err.Error(), filepath.Dir(f.path)+"/", ""))
		return
	}
	cell := fmt.Sprintf("equal, %d", res.Chunks)
	if n := len(res.Faults); n > 0 {
		cell = fmt.Sprintf("%d faults", n)
		r.faults += n
	} else if len(res.Tracks) == 0 {
		cell = "not compared"
	}
	r.cells = append(r.cells, cell)
	for _, n := range append(res.Notes, res.Faults...) {
		r.note(n)
	}
}

func (r *row) note(s string) {
	s = strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(s), "|", "/"), "\n", " ")
	if !slices.Contains(r.notes, s) {
		r.notes = append(r.notes, s)
	}
}

func (f *file) print(w io.Writer) {
	for _, r := range f.rows {
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", f.name, r.container, strings.Join(r.cells, " | "), strings.Join(r.notes, "; "))
	}
}

func print(w io.Writer, all []*file, match string) error {
	fmt.Fprint(w, head)
	if match != "" {
		defer fmt.Fprintf(w, "\nOnly files whose name contains %q.\n", match)
	}
	faults, cuts, left := 0, 0, 0
	for _, f := range all {
		f.print(w)
		for _, r := range f.rows {
			faults += r.faults
			for _, c := range r.cells {
				if strings.HasPrefix(c, "equal") {
					cuts++
				} else {
					left++
				}
			}
		}
	}
	_, err := fmt.Fprintf(w, "\n%d files, %d cuts equal, %d not cut or not compared for the reason given; %d differences without a reason.\n", len(all), cuts, left, faults)
	if err == nil && faults > 0 {
		err = fmt.Errorf("%d differences without a reason", faults)
	}
	return err
}

const head = `# Fidelity

Made by ` + "`make fidelity`" + `: every file of the containers that cleave reads, and the variants
that the media's synth.sh makes, cut by every strategy (memory with 1 MiB a chunk)
into both containers. "equal, n" means n chunks, and of them all:

- Payload: the NAL units of every picture, and the bytes of every other frame, are
  the source's, in number and order, as ffmpeg takes them out of both.
- Times: every PTS and DTS that ffprobe reads is the source's plus one offset, exactly
  (where the timebase changes, rounded once). The offset is a whole number of seconds
  after the edit list, the same for all tracks, and changes only where the source's
  own clock jumps. DTS rise and are not later than PTS.
- Pictures: ffmpeg's framemd5 of all decoded pictures is equal, once for each
  container; a strategy with the same payload and configuration is not decoded again.
  Where there are very many pixels the hash is murmur3 instead of MD5.
- Chunks: with keyframe each independent chunk is decoded alone with its header, and
  shows the source's pictures; with the other strategies its first picture is. What a
  playlist promises with EXT-X-INDEPENDENT-SEGMENTS is so.
- chunks.json: each chunk begins at its start and has its key pictures and as many
  packets as it says; one that does not begin with a key picture follows a chunk whose
  reason allows that. Key pictures are those of KEYS.tsv, which has the bitstream's.

The notes say what differs, after it was verified: packets that are missing lie before
the first key picture and are counted in the report; a new offset begins at a jump of
the source's clock; a derived time is one that the container does not have.

| file | container | keyframe | fixed | memory | adaptive_gop | notes |
| --- | --- | --- | --- | --- | --- | --- |
`
