package probe

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cleave-video/cleave/internal/plain"
)

// maxListed is how many GOPs Print lists unless it is to list all.
const maxListed = 20

// Print writes the report for people, 80 columns wide; all lists every GOP.
func (r *Report) Print(w io.Writer, all bool) error {
	p := &printer{w: w}
	p.line("%s: %s, %s\n", r.name, r.Format, short(r.Duration))
	for i := range r.Tracks {
		p.track(i, &r.Tracks[i])
	}
	p.gops(r.GOPs, all)
	p.strategies(r.Strategies)
	p.timing(r.Timing)
	if len(r.Warnings) > 0 || r.Broken != "" {
		p.line("")
	}
	for _, s := range r.Warnings {
		p.line("note: %s", clean(s))
	}
	if r.Broken != "" {
		p.line("broken off: %s", clean(r.Broken))
	}
	return p.err
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// table writes rows of cells that end with tabs and are aligned to the right; what
// follows the last tab is not.
func (p *printer) table(rows []string) {
	if p.err != nil {
		return
	}
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, r := range rows {
		fmt.Fprintln(t, r)
	}
	p.err = t.Flush()
}

func (p *printer) track(i int, x *Track) {
	head := []string{fmt.Sprintf("track %-2d %s", i, x.Kind), x.Codec}
	if x.CodecString != "" {
		head = append(head, clean(x.CodecString))
	}
	p.line("%s", strings.Join(append(head, x.shape()...), "  "))
	p.line("         %s", strings.Join(x.counts(), ", "))
	if x.Kind == "video" {
		p.line("         %s", x.frames())
	}
}

// shape is what a track's configuration says.
func (x *Track) shape() []string {
	var out []string
	if x.Width > 0 {
		out = append(out, fmt.Sprintf("%dx%d", x.Width, x.Height))
	}
	if x.SampleRate > 0 {
		out = append(out, fmt.Sprintf("%d Hz", x.SampleRate), plain.Count(x.Channels, "channel"))
	}
	if x.Language != "" && x.Language != "und" {
		out = append(out, clean(x.Language))
	}
	return out
}

// counts is what its packets say.
func (x *Track) counts() []string {
	out := []string{short(x.Seconds), plain.Count(x.Packets, "packet"), plain.Bytes(x.Bytes)}
	if r := x.rate(); r != "" {
		out = append(out, r)
	}
	return append(out, "timebase "+x.Timebase)
}

// frames is the verdict on a video track's rate, and its frames by type.
func (x *Track) frames() string {
	out := []string{x.FrameRate.String(), plain.Count(x.Keyframes, "key frame")}
	if types := counted(x.FrameTypes, []string{"I", "P", "B", "?"}); types != "" {
		out = append(out, types)
	}
	if x.Disposable > 0 {
		out = append(out, fmt.Sprintf("%d disposable", x.Disposable))
	}
	return strings.Join(out, "; ")
}

// String says the rate and whether it is constant.
func (f FrameRate) String() string {
	if f.Den == 0 {
		return "frame rate unknown"
	}
	text := fmt.Sprintf("%.6g frames/s", float64(f.Num)/float64(f.Den))
	if f.Mode == "cfr" {
		return text + " constant"
	}
	return text + " on average, variable"
}

func (x *Track) rate() string {
	if x.Seconds <= 0 {
		return ""
	}
	return bitrate(float64(x.Bytes) * 8 / x.Seconds)
}

func (p *printer) gops(gops []GOP, all bool) {
	if len(gops) == 0 {
		return
	}
	least, most, sum := gops[0].Length, gops[0].Length, 0.0
	classes := map[string]int{}
	for _, g := range gops {
		least, most, sum = min(least, g.Length), max(most, g.Length), sum+g.Length
		classes[g.Class]++
	}
	p.line("\n%s: %s; shortest %s, longest %s, mean %s\n", plain.Count(len(gops), "GOP"), counted(classes, []string{closedGOP, openGOP, gradualGOP}),
		short(least), short(most), short(sum/float64(len(gops))))
	rows := []string{"key frame at\tpts\tlength\tframes\tbytes\t  class     types"}
	for i, g := range gops {
		if i == maxListed && !all {
			break
		}
		class := g.Class
		if g.Leading > 0 {
			class += fmt.Sprintf(" +%d", g.Leading)
		}
		rows = append(rows, strings.TrimRight(fmt.Sprintf("%s\t%d\t%s\t%d\t%s\t  %-9s %s", short(g.Seconds), g.PTS, short(g.Length), g.Frames, plain.Bytes(g.Bytes), class, pattern(&g)), " "))
	}
	p.table(rows)
	if n := len(gops) - maxListed; n > 0 && !all {
		p.line("and %d more; --all lists them", n)
	}
}

func (p *printer) strategies(list []Strategy) {
	if len(list) == 0 {
		return
	}
	p.line("\n%-31s %6s %11s %9s %9s", "cut --strategy would make", "chunks", "independent", "shortest", "longest")
	for i := range list {
		s := &list[i]
		p.line("%-13s %-17s %6d %11d %9s %9s", s.Name, s.Parameter, s.Chunks, s.Independent, short(s.Shortest), short(s.Longest))
	}
}

func (p *printer) timing(t *Timing) {
	if t == nil {
		return
	}
	p.line("\ntiming: %d packets, %s in %s", t.Packets, plain.Bytes(t.Bytes), duration(t.Seconds))
	p.line("%-8s %9s %10s %10s %6s %9s %9s %9s", "step", "count", "bytes", "total", "share", "p50", "p99", "longest")
	for _, s := range t.Steps {
		share := 0.0
		if t.Seconds > 0 {
			share = 100 * s.Seconds / t.Seconds
		}
		ns := func(n int64) string { return duration(time.Duration(n).Seconds()) }
		p.line("%-8s %9d %10s %10s %5.1f%% %9s %9s %9s", s.Name, s.Count, plain.Bytes(s.Bytes), duration(s.Seconds), share, ns(s.P50), ns(s.P99), ns(s.Max))
	}
}
