package soak

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/internal/plain"
)

// kinds returns the names of the kinds of clients.
func (r *Report) kinds() []string { return slices.Sorted(maps.Keys(r.Acts)) }

// Print writes docs/soak.md.
func (r *Report) Print(w io.Writer, machine string) error {
	p := &plain.Printer{W: w}
	p.Printf(`# Soak

Publishers and viewers of every protocol come, go, stall and lie, at a server that is a process of its own, with
little memory (96 MiB of payload, 24 MiB a stream, 2 MiB a viewer, a window of 10 s). %[1]smake soak%[1]s does it for 20 minutes, and writes this page and
its graph; %[1]smake soak SOAK="-for 60m"%[1]s for an hour.

Each of %[2]d places for publishers and %[3]d for viewers is taken by one client after the other, of random kinds,
for 3 to 30 s each. Of the publishers six names' worth take the names over from each other; some stall, some send
noise, some jump in time, some publish under a new name three times a second. Of the viewers some do not read, and
some leave within half a second. The server's metrics are read every %[4]v. A quarter of the time is for warming up;
after that nothing may grow: the slope is the median of those between all pairs of samples, and may make a tenth of
the median of it, and a little. When all have gone, nothing may be left.

![Memory, goroutines and descriptors over the time](soak.svg)

| judged | seen | |
| --- | --- | --- |
`, "`", r.Publishers, r.Viewers, r.Every)
	for _, v := range r.Verdicts {
		p.Printf("| %s | %s | %s |\n", v.What, strings.ReplaceAll(v.Seen, "|", `\|`), map[bool]string{true: "good", false: "**bad**"}[v.OK])
	}
	p.Printf("\n| client | came | ended by a refusal | read | the last of these |\n| --- | --: | --: | --: | --- |\n")
	for _, k := range r.kinds() {
		a := r.Acts[k]
		read := ""
		if a.reads {
			read = fmt.Sprintf("%.0f MB", float64(a.Bytes.Load())/1e6)
		}
		why := ""
		if text := a.Last.Load(); text != nil {
			why = strings.NewReplacer("|", `\|`, "\n", " ").Replace(*text)
		}
		p.Printf("| %s | %d | %d | %s | %.100s |\n", k, a.Begun.Load(), a.Refused.Load(), read, why)
	}
	p.Printf("\nWho asks for a stream that is just not there, or publishes under a name that is taken over, ends by a refusal.\n")
	for _, l := range r.LeftOut {
		p.Printf("\nLeft out: %s.\n", l)
	}
	used := 0.0
	if n := len(r.Samples); n > 0 {
		used = (r.Samples[n-1].Values[cpu] - r.Before.Values[cpu]) / r.Samples[n-1].At.Seconds()
	}
	p.Printf("\n%v, seed %d, %d samples; the server used %.0f %% of a core. %s.\n", r.For, r.Seed, len(r.Samples), 100*used, machine)
	return p.Err
}

// Panels of the graph, from above.
const (
	width, high   = 860, 110
	margin, right = 60, 20
)

// SVG draws the series one below the other over one time.
func (r *Report) SVG(w io.Writer) error {
	p := &plain.Printer{W: w}
	drawn := []int{resident, heap, slabs, goroutines, files, viewers, waiting, names}
	end := r.After.At
	if n := len(r.Samples); n > 0 {
		end = max(end, r.Samples[n-1].At)
	}
	height := len(drawn)*high + 40
	p.Printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="#fff"/>
`, width, height, width, height)
	x := func(at time.Duration) float64 {
		return margin + float64(width-margin-right)*at.Seconds()/max(end.Seconds(), 1)
	}
	bottom := float64(len(drawn) * high)
	if n := len(r.Samples); n >= warm {
		from := x(r.Samples[n/warm].At)
		p.Printf("<rect x=\"%.1f\" y=\"8\" width=\"%.1f\" height=\"%.1f\" fill=\"#eef4fb\"/>\n", from, x(r.Samples[n-1].At)-from, bottom-8)
	}
	step := time.Minute
	for end/step > 12 {
		step *= 2
	}
	for at := time.Duration(0); at <= end; at += step {
		p.Printf("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"8\" y2=\"%.1f\" stroke=\"#ddd\"/><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"#555\">%d min</text>\n", x(at), x(at), bottom, x(at), bottom+16, int(at.Minutes()))
	}
	for row, i := range drawn {
		r.panel(p, i, float64(row*high), x)
	}
	p.Printf("<text x=\"%d\" y=\"%.1f\" fill=\"#555\">shaded: judged; at the end all clients have gone</text>\n</svg>\n", margin, bottom+34)
	return p.Err
}

// panel draws one series with its name, its greatest value and its line.
func (r *Report) panel(p *plain.Printer, i int, top float64, x func(time.Duration) float64) {
	list := append(slices.Clone(r.Samples), r.After)
	most := 1.0
	for n := range list {
		most = max(most, list[n].Values[i])
	}
	base := top + high - 12
	y := func(v float64) float64 { return base - (high-36)*v/most }
	p.Printf("<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#999\"/>\n", margin, width-right, base, base)
	p.Printf("<text x=\"%d\" y=\"%.1f\" font-weight=\"bold\" fill=\"#222\">%s</text>\n", margin, top+18, series[i].title)
	p.Printf("<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill=\"#555\">%.0f %s</text><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\" fill=\"#555\">0</text>\n", margin-6, y(most)+4, most, series[i].unit, margin-6, base+4)
	p.Printf("<polyline fill=\"none\" stroke=\"#1f6fb4\" stroke-width=\"1.3\" points=\"")
	for n := range list {
		p.Printf("%.1f,%.1f ", x(list[n].At), y(list[n].Values[i]))
	}
	p.Printf("\"/>\n")
}
