package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"
)

// file is what is asked for.
type file struct {
	name     string // in the table, and in the folder of nginx
	path     string // at cleave
	size     int
	goals    [2]float64 // shares of nginx's requests: plain, TLS
	stored   bool
	from     *process
	measured map[string][]float64 // requests a second, and µs of CPU a request, by scheme and server
}

// files compares requests a second.
func (b *bench) files(ctx context.Context, w io.Writer) error {
	dir := filepath.Join(b.dir, "files")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, "files"), 0o755)); err != nil {
		return err
	}
	memory, err := b.serve(ctx, "cleave", filepath.Join(dir, "small"), "--window", "10m")
	if err != nil {
		return err
	}
	defer memory.stop()
	ctx, cancel := context.WithCancel(ctx)
	var publisher sync.WaitGroup
	defer publisher.Wait()
	defer cancel()
	publisher.Go(func() { _ = b.paced(ctx, memory, "small") }) // parts stay in memory while it goes on
	if err := memory.listed(ctx, "/small/video0/index.m3u8"); err != nil {
		return err
	}
	disk, err := b.restarted(ctx, filepath.Join(dir, "large"))
	if err != nil {
		return err
	}
	defer disk.stop()
	all := []*file{
		{name: "chunk.m4s", size: 625_000, goals: [2]float64{0.85, 0.95}, stored: true, from: disk},
		{name: "part.m4s", size: 4_000, goals: [2]float64{0.45, 0.55}, from: memory},
	}
	for _, f := range all {
		if err := f.find(ctx, filepath.Join(dir, "files")); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	peer, err := b.nginx(ctx, dir)
	if err != nil {
		return err
	}
	defer peer.stop()
	limits, err := b.limits(ctx, filepath.Join(dir, "files", "part.m4s"))
	if err != nil {
		return err
	}
	for _, p := range limits {
		defer p.stop()
	}
	for i := range b.rounds {
		for _, f := range all {
			sides := []*process{peer, f.from}
			if !f.stored {
				sides = append(sides, limits...)
			}
			if i%2 == 1 {
				slices.Reverse(sides)
			}
			if err := b.round(ctx, f, sides); err != nil {
				return err
			}
		}
	}
	report(w, all)
	return nil
}

// restarted starts a server on what another has stored, so that its segments are not in
// memory.
func (b *bench) restarted(ctx context.Context, data string) (*process, error) {
	p, err := b.serve(ctx, "cleave", data)
	if err != nil {
		return nil, err
	}
	err = p.publish(ctx, b.dir+"/large.ts", "large")
	p.stop()
	if err != nil {
		return nil, err
	}
	return b.serve(ctx, "cleave", data)
}

// find looks for what is nearest to the size wanted, and gives nginx a copy.
func (f *file) find(ctx context.Context, dir string) error {
	best, err := f.nearest(ctx)
	if err != nil {
		return err
	}
	f.size, f.measured = len(best), map[string][]float64{}
	return os.WriteFile(filepath.Join(dir, f.name), best, 0o644)
}

// nearest sets the path to what is nearest to the size wanted, and returns it.
func (f *file) nearest(ctx context.Context) ([]byte, error) {
	base := "/small/video0/"
	uri := regexp.MustCompile(`#EXT-X-PART:[^\n]*URI="([^"]+)"`)
	if f.stored {
		base, uri = "/large/video0/", regexp.MustCompile(`(?m)^([0-9]+-[0-9]+\.m4s)$`)
	}
	list, err := f.from.get(ctx, base+"index.m3u8")
	if err != nil {
		return nil, err
	}
	var best []byte
	for _, m := range uri.FindAllSubmatch(list, -1) {
		body, err := f.from.get(ctx, base+string(m[1]))
		if err != nil {
			continue // it has left the window
		}
		if best == nil || off(len(body), f.size) < off(len(best), f.size) {
			best, f.path = body, base+string(m[1])
		}
	}
	if off(len(best), f.size) > f.size/4 {
		return nil, fmt.Errorf("%w: %d, want %d", errNone, len(best), f.size)
	}
	return best, nil
}

func off(a, b int) int { return max(a-b, b-a) }

// round measures servers, plain and by TLS.
func (b *bench) round(ctx context.Context, f *file, sides []*process) error {
	for _, scheme := range []string{"http", "https"} {
		for _, p := range sides {
			path := "/" + f.name
			if p == f.from {
				if !f.stored { // one that is still in memory
					if _, err := f.nearest(ctx); err != nil {
						return err
					}
				}
				path = f.path
			}
			before, err1 := p.cpu()
			rate, n, err2 := b.wrk(ctx, scheme+"://"+p.at(scheme)+path)
			after, err3 := p.cpu()
			if err := errors.Join(err1, err2, err3); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			f.measured[scheme+" "+p.name] = append(f.measured[scheme+" "+p.name], rate)
			f.measured[scheme+" "+p.name+" cpu"] = append(f.measured[scheme+" "+p.name+" cpu"], (after-before)/n*1e6)
		}
	}
	return nil
}

func (p *process) at(scheme string) string {
	if scheme == "https" {
		return p.https
	}
	return p.http
}

// inMemory is how many seconds a part is in memory for sure.
const inMemory = 3

// wrk returns requests a second, and how many were answered.
func (b *bench) wrk(ctx context.Context, url string) (rate, n float64, err error) {
	seconds := strconv.Itoa(min(max(1, int(b.window/time.Second)), inMemory))
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(b.clients), "-d"+seconds+"s", url).CombinedOutput()
	m := regexp.MustCompile(`(?s)([0-9]+) requests in .*Requests/sec: +([0-9.]+)`).FindSubmatch(out)
	if err != nil || m == nil {
		return 0, 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if bytes.Contains(out, []byte("Non-2xx")) || bytes.Contains(out, []byte("Socket errors")) {
		return 0, 0, fmt.Errorf("wrk: %s: %s", url, out)
	}
	n, err1 := strconv.ParseFloat(string(m[1]), 64)
	rate, err2 := strconv.ParseFloat(string(m[2]), 64)
	return rate, n, errors.Join(err1, err2)
}

func report(w io.Writer, all []*file) {
	fmt.Fprintf(w, "## The same bytes beside nginx\n\nRequests a second by wrk, one thread. The chunk is read from the store, the part from memory; nginx has both as files. "+
		"The %s and the %s answer every request with the part and do nothing else: what is possible with net/http, and without.\n\n"+
		"| | bytes | | | requests/s | share of nginx's: least | median | most | aim | CPU µs a request |\n|---|---|---|---|---|---|---|---|---|---|\n", bareName, loopName)
	for _, f := range all {
		for i, scheme := range []string{"http", "https"} {
			for _, name := range []string{"nginx", "cleave", bareName, loopName} {
				own := f.measured[scheme+" "+name]
				if own == nil {
					continue
				}
				aim := ""
				if name == "cleave" {
					aim = fmt.Sprintf("%.2f", f.goals[i])
				}
				shares := make([]float64, len(own))
				for i := range own {
					shares[i] = own[i] / f.measured[scheme+" nginx"][i]
				}
				fmt.Fprintf(w, "| %s | %d | %s | %s | %.0f | %.2f | %.2f | %.2f | %s | %.1f |\n", f.name, f.size, scheme, name, median(own), slices.Min(shares), median(shares), slices.Max(shares), aim, median(f.measured[scheme+" "+name+" cpu"]))
			}
		}
	}
	fmt.Fprintln(w)
}
