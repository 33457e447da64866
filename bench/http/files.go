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
	measured map[string][]float64 // requests a second, by scheme and server
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
	for i := range b.rounds {
		for _, f := range all {
			if err := b.round(ctx, f, peer, i%2 == 1); err != nil {
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
	base := "/small/video0/"
	uri := regexp.MustCompile(`#EXT-X-PART:[^\n]*URI="([^"]+)"`)
	if f.stored {
		base, uri = "/large/video0/", regexp.MustCompile(`(?m)^([0-9]+-[0-9]+\.m4s)$`)
	}
	list, err := f.from.get(ctx, base+"index.m3u8")
	if err != nil {
		return err
	}
	var best []byte
	for _, m := range uri.FindAllSubmatch(list, -1) {
		body, err := f.from.get(ctx, base+string(m[1]))
		if err != nil {
			continue // the last one, of a chunk that was being committed
		}
		if best == nil || off(len(body), f.size) < off(len(best), f.size) {
			best, f.path = body, base+string(m[1])
		}
	}
	if off(len(best), f.size) > f.size/4 {
		return fmt.Errorf("%w: %d, want %d", errNone, len(best), f.size)
	}
	f.size, f.measured = len(best), map[string][]float64{}
	return os.WriteFile(filepath.Join(dir, f.name), best, 0o644)
}

func off(a, b int) int { return max(a-b, b-a) }

// round measures both servers, plain and by TLS; the second first if swapped.
func (b *bench) round(ctx context.Context, f *file, peer *process, swapped bool) error {
	for _, scheme := range []string{"http", "https"} {
		type side struct{ server, url string }
		sides := []side{{"nginx", scheme + "://" + peer.at(scheme) + "/" + f.name}, {"cleave", scheme + "://" + f.from.at(scheme) + f.path}}
		if swapped {
			sides[0], sides[1] = sides[1], sides[0]
		}
		for _, s := range sides {
			rate, err := b.wrk(ctx, s.url)
			if err != nil {
				return err
			}
			f.measured[scheme+" "+s.server] = append(f.measured[scheme+" "+s.server], rate)
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

var wrkRate = regexp.MustCompile(`Requests/sec: +([0-9.]+)`)

// wrk returns requests a second.
func (b *bench) wrk(ctx context.Context, url string) (float64, error) {
	seconds := strconv.Itoa(max(1, int(b.window/time.Second)))
	out, err := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(b.clients), "-d"+seconds+"s", url).CombinedOutput()
	m := wrkRate.FindSubmatch(out)
	if err != nil || m == nil {
		return 0, fmt.Errorf("wrk: %w: %s", err, out)
	}
	if bytes.Contains(out, []byte("Non-2xx")) || bytes.Contains(out, []byte("Socket errors")) {
		return 0, fmt.Errorf("wrk: %s: %s", url, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

func report(w io.Writer, all []*file) {
	fmt.Fprint(w, "## The same bytes beside nginx\n\nRequests a second by wrk, one thread. The chunk is read from the store, the part from memory; nginx has both as files.\n\n"+
		"| | bytes | | nginx | cleave | share: least | median | most | aim |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, f := range all {
		for i, scheme := range []string{"http", "https"} {
			peer, own := f.measured[scheme+" nginx"], f.measured[scheme+" cleave"]
			shares := make([]float64, len(own))
			for i := range own {
				shares[i] = own[i] / peer[i]
			}
			least, most := shares[0], shares[0]
			for _, s := range shares {
				least, most = min(least, s), max(most, s)
			}
			fmt.Fprintf(w, "| %s | %d | %s | %.0f | %.0f | %.2f | %.2f | %.2f | %.2f |\n", f.name, f.size, scheme, median(peer), median(own), least, median(shares), most, f.goals[i])
		}
	}
	fmt.Fprintln(w)
}
