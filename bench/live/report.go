package main

import (
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"github.com/cleave-video/cleave/internal/machine"
)

const intro = `# One stream to many

What a server spends to show one stream to viewers on loopback, by RTMP and by HTTP-FLV. %d interleaved rounds, windows of %v, medians. Repeat it on a
machine that does nothing else with ` + "`go run ./bench/live > bench/live/RESULT.md`" + `; the load when this was written was %s. Far above
1 (the viewers and the publisher) the machine was busy otherwise: then look at ratios alone, at latencies not at all, and run it again.
%s, %s.%s

Every viewer gets all pictures; "least" is the share of the published pictures that the one that got fewest had in the window. cleave also cuts, stores and
lists the stream as HLS meanwhile, the others only relay: "idle" is the CPU with nobody watching. SRS merges what it sends over 350 ms unless told otherwise,
cleave over at most 60 ms, and less the fewer watch.
Memory is what the resident set has grown by for each viewer behind the first, for whom the stream is rendered and its last seconds are kept; the kernel's
socket buffers are not in it.

`

func (b *bench) report(w io.Writer) {
	absent := ""
	if len(b.absent) > 0 {
		absent = " Absent: " + strings.Join(b.absent, ", ") + "."
	}
	fmt.Fprintf(w, intro, b.rounds, b.window, machine.Load(), machine.Name(), strings.Join(b.versions(), ", "), absent)
	for _, m := range b.media {
		b.table(w, m)
	}
	fmt.Fprint(w, "## CPU per Mbit delivered: cleave / peer's RTMP, round by round\n\n| stream | viewers | cleave's | peer | least | median | most | aim |\n|---|---|---|---|---|---|---|---|\n")
	for _, m := range b.media {
		for _, n := range b.viewers {
			b.ratios(w, m, n)
		}
	}
	if len(b.firsts) == 0 {
		return
	}
	fmt.Fprint(w, "\n## First key frame\n\nFrom the connect until the last byte of the first key frame is at the viewer, who joins a stream of GOPs of 2 s at any time.\n\n| server | protocol | joins | p50 ms | p99 ms | most ms |\n|---|---|---|---|---|---|\n")
	for _, s := range b.servers {
		for _, p := range s.protocols {
			ms := slices.Sorted(slices.Values(b.firsts[s.name+" "+p]))
			if n := len(ms); n > 0 {
				fmt.Fprintf(w, "| %s | %s | %d | %.1f | %.1f | %.1f |\n", s.name, p, n, ms[n/2], ms[n*99/100], ms[n-1])
			}
		}
	}
}

// table shows the cells of one stream.
func (b *bench) table(w io.Writer, media string) {
	fmt.Fprintf(w, "## %.2f Mbit/s\n\n| server | protocol | viewers | CPU %% of a core | idle %% | Mbit/s | CPU %% per 100 Mbit/s | least | kB a viewer | p50 ms | p99 ms |\n|---|---|---|---|---|---|---|---|---|---|---|\n", b.rates[media])
	for _, n := range b.viewers {
		for _, c := range b.cells {
			if c.media != media || c.viewers != n {
				continue
			}
			l := b.results[c]
			of := func(f func(r result) float64) float64 { return median(l, f) }
			fmt.Fprintf(w, "| %s | %s | %d | %.1f | %.1f | %.0f | %.2f | %.2f | %.1f | %.1f | %.1f |\n", c.server, c.protocol, n,
				100*of(func(r result) float64 { return r.cpu }), 100*of(func(r result) float64 { return r.idle }),
				of(func(r result) float64 { return r.rate }), 1e4*of(result.cost), of(func(r result) float64 { return r.share }),
				of(func(r result) float64 { return r.perViewer })/1000,
				of(func(r result) float64 { return r.p50 }), of(func(r result) float64 { return r.p99 }))
		}
	}
	fmt.Fprintln(w)
}

// cost is seconds of CPU per Mbit.
func (r result) cost() float64 { return r.cpu / r.rate }

// ratios compares cleave with each peer.
func (b *bench) ratios(w io.Writer, media string, n int) {
	aims := map[string]string{"nginx-rtmp": "1.00", "MediaMTX": "0.17"}
	for _, protocol := range b.servers[0].protocols {
		ours := b.results[cell{media, b.servers[0].name, protocol, n}]
		for _, s := range b.servers[1:] {
			peer := b.results[cell{media, s.name, "rtmp", n}]
			v := make([]float64, 0, len(ours))
			for i := range min(len(ours), len(peer)) {
				v = append(v, ours[i].cost()/peer[i].cost())
			}
			slices.Sort(v)
			if len(v) > 0 {
				fmt.Fprintf(w, "| %.2f Mbit/s | %d | %s | %s | %.2f | %.2f | %.2f | %s |\n", b.rates[media], n, protocol, s.name, v[0], v[len(v)/2], v[len(v)-1], aims[s.name])
			}
		}
	}
}

func median(l []result, f func(r result) float64) float64 {
	v := make([]float64, len(l))
	for i, r := range l {
		v[i] = f(r)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func (b *bench) versions() []string {
	out := []string{}
	for _, s := range b.servers {
		text, err := exec.Command(s.program, s.version...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
		if err != nil {
			line = "of unknown version"
		}
		out = append(out, s.name+" "+line)
	}
	return out
}
