package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cleave-video/cleave/internal/machine"
)

// contest is a pair whose ratio of CPU time is of interest.
type contest struct {
	ours, peer, what string
	most             float64 // what is aimed at
}

var contests = []contest{
	{"cleave mp4", "cp mp4", "MP4 to CMAF, HLS and DASH / `cp -r` of the output", 1.4},
	{"cleave mp4", "ffmpeg mp4", "MP4 to CMAF, HLS and DASH / FFmpeg's fMP4 HLS", 1.0 / 2},
	{"cleave mp4", "packager mp4", "MP4 to CMAF, HLS and DASH / Shaka Packager", 1.0 / 4},
	{"cleave flv", "ffmpeg flv", "FLV to CMAF, HLS and DASH / FFmpeg's fMP4 HLS", 2.0 / 3},
	{"cleave ts", "ffmpeg ts", "TS to TS HLS / FFmpeg's TS HLS", 2.0 / 3},
}

func (b *bench) report(w io.Writer, n int) {
	fmt.Fprintf(w, "# Cutting a file of 600 s, 1080p, 468 MB, into 2 s\n\nMedians of %d interleaved rounds, inputs and outputs in memory. Repeat it with `go run ./bench/cut`.\n", n)
	fmt.Fprintf(w, "%s, %s.\n\n", machine.Name(), strings.Join(b.versions(), ", "))
	fmt.Fprint(w, "| command | user s | system s | CPU s | wall s | peak MiB |\n|---|---|---|---|---|---|\n")
	for _, c := range b.commands() {
		l := b.times[c.name]
		fmt.Fprintf(w, "| %s | %.3f | %.3f | %.3f | %.3f | %.1f |\n", c.name,
			median(l, func(s sample) float64 { return s.user.Seconds() }),
			median(l, func(s sample) float64 { return s.system.Seconds() }),
			median(l, func(s sample) float64 { return s.cpu().Seconds() }),
			median(l, func(s sample) float64 { return s.wall.Seconds() }),
			median(l, func(s sample) float64 { return float64(s.peak) / (1 << 20) }))
	}
	fmt.Fprint(w, "\n| CPU time of cleave / of the peer, round by round | least | median | most | aim |\n|---|---|---|---|---|\n")
	for _, c := range contests {
		ours, peer := b.times[c.ours], b.times[c.peer]
		if len(peer) == 0 {
			continue
		}
		ratios := make([]float64, len(ours))
		for i := range ours {
			ratios[i] = float64(ours[i].cpu()) / float64(peer[i].cpu())
		}
		slices.Sort(ratios)
		fmt.Fprintf(w, "| %s | %.2f | %.2f | %.2f | %.2f |\n", c.what, ratios[0], ratios[len(ratios)/2], ratios[len(ratios)-1], c.most)
	}
}

func median(l []sample, f func(sample) float64) float64 {
	v := make([]float64, len(l))
	for i, s := range l {
		v[i] = f(s)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// memory compares the peak of the usual input with that of one ten times as long.
func (b *bench) memory(ctx context.Context, dir string) error {
	c := exec.CommandContext(ctx, "sh", "bench/cut/media.sh", b.dir, dir)
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		return err
	}
	fmt.Print("\n| input | peak MiB | sample tables MiB |\n|---|---|---|\n")
	for _, name := range []string{b.in("input.mp4"), filepath.Join(dir, "long.mp4")} {
		out := filepath.Join(dir, "cut.out")
		var l []sample
		for range 5 {
			s, err := measure(ctx, []string{b.cleave(), "cut", name, "--quiet", "--output", out}, out)
			if err != nil {
				return err
			}
			l = append(l, s)
		}
		if err := os.RemoveAll(out); err != nil {
			return err
		}
		moov, err := moovSize(name)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.1f | %.1f |\n", filepath.Base(name),
			median(l, func(s sample) float64 { return float64(s.peak) / (1 << 20) }), float64(moov)/(1<<20))
	}
	return nil
}

// moovSize returns the size of the box that a file made with faststart has second.
func moovSize(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var head [4096]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return 0, err
	}
	at := int(head[3]) + int(head[2])<<8
	if at+8 > len(head) || string(head[at+4:at+8]) != "moov" {
		return 0, fmt.Errorf("%s: moov is not the second box", name)
	}
	return int64(head[at])<<24 | int64(head[at+1])<<16 | int64(head[at+2])<<8 | int64(head[at+3]), nil
}

func (b *bench) versions() []string {
	out := []string{}
	for _, args := range [][]string{{"ffmpeg", "-version"}, {"cp", "--version"}, {"go", "version"}} {
		if text, err := exec.Command(args[0], args[1:]...).Output(); err == nil {
			line, _, _ := strings.Cut(string(text), "\n")
			line, _, _ = strings.Cut(line, " Copyright")
			out = append(out, line)
		}
	}
	if b.packager != "" {
		out = append(out, packager)
	}
	return out
}
