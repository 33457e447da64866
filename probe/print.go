package probe

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// maxListed is how many GOPs Print lists unless it is to list all.
const maxListed = 20

// Print writes the report for people; all lists every GOP.
func (r *Report) Print(w io.Writer, all bool) error {
	fmt.Fprintf(w, "%s, %s\n\n", r.Format, short(r.Duration))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "track\tcodec\tdetails\ttimebase\tpackets\tkey frames\tbit rate")
	for i := range r.Tracks {
		x := &r.Tracks[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%d\t%s\n", x.Kind, strings.TrimSpace(x.Codec+" "+x.CodecString), x.details(), x.Timebase, x.Packets, x.Keyframes, x.rate())
	}
	if err := t.Flush(); err != nil {
		return err
	}
	r.printGOPs(w, all)
	for _, s := range r.Warnings {
		fmt.Fprintln(w, "note:", s)
	}
	if r.Broken != "" {
		fmt.Fprintln(w, "broken off:", r.Broken)
	}
	return nil
}

func (x *Track) details() string {
	var out []string
	if x.Width > 0 {
		out = append(out, fmt.Sprintf("%dx%d", x.Width, x.Height))
	}
	if x.FrameRate.Den > 0 {
		out = append(out, fmt.Sprintf("%.6g frames/s %s", float64(x.FrameRate.Num)/float64(x.FrameRate.Den), x.FrameRate.Mode))
	}
	if x.SampleRate > 0 {
		out = append(out, fmt.Sprintf("%d Hz, %d ch", x.SampleRate, x.Channels))
	}
	if x.Language != "" && x.Language != "und" {
		out = append(out, x.Language)
	}
	return strings.Join(out, ", ")
}

func (x *Track) rate() string {
	if x.Seconds <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f kbit/s", float64(x.Bytes)*8/x.Seconds/1000)
}

func (r *Report) printGOPs(w io.Writer, all bool) {
	if len(r.GOPs) == 0 {
		return
	}
	least, most, sum := r.GOPs[0].Length, r.GOPs[0].Length, 0.0
	for _, g := range r.GOPs {
		least, most, sum = min(least, g.Length), max(most, g.Length), sum+g.Length
	}
	fmt.Fprintf(w, "\n%d GOPs: shortest %s, longest %s, mean %s\n\n", len(r.GOPs), short(least), short(most), short(sum/float64(len(r.GOPs))))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "time\tpts\tlength\tframes\tbytes\tclass\ttypes")
	for i, g := range r.GOPs {
		if i == maxListed && !all {
			break
		}
		class := g.Class
		if g.Leading > 0 {
			class += fmt.Sprintf(", %d leading", g.Leading)
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%d\t%d\t%s\t%s\n", short(g.Seconds), g.PTS, short(g.Length), g.Frames, g.Bytes, class, types(&g))
	}
	_ = t.Flush() // the next line's error would be the same
	if n := len(r.GOPs) - maxListed; n > 0 && !all {
		fmt.Fprintf(w, "and %d more; --all lists them\n", n)
	}
}

// types shortens the list of frame types.
func types(g *GOP) string {
	const room = 24
	if len(g.Types) <= room {
		return g.Types
	}
	return g.Types[:room] + "…"
}
