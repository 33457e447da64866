package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/cleave-video/cleave/internal/plain"
	"github.com/cleave-video/cleave/internal/whole"
	"github.com/cleave-video/cleave/verify"
)

type verifyCommand struct {
	Input string        `arg:"" help:"Folder, playlist (.m3u8), manifest (.mpd), transport stream, or http(s) URL of one."`
	For   time.Duration `default:"60s" help:"How long to watch a live URL."`
	JSON  bool          `name:"json" help:"Print the report as JSON."`
	HTML  string        `name:"html" placeholder:"FILE" help:"Also write the report as a page, with a timeline of a live stream."`
	Quiet bool          `short:"q" help:"No table while a live stream is watched."`
}

// Run verifies.
func (c *verifyCommand) Run(ctx context.Context) error {
	cfg := verify.Config{Input: c.Input, For: c.For}
	var table liveTable
	if !c.Quiet && term.IsTerminal(int(os.Stderr.Fd())) {
		cfg.Progress = func(s verify.Status) { table.show(os.Stderr, s) }
	}
	report, err := verify.Run(ctx, cfg)
	table.clear(os.Stderr)
	if err != nil {
		return err
	}
	if c.HTML != "" {
		if err := whole.WriteFile(c.HTML, report.WriteHTML); err != nil {
			return err
		}
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(report)
	} else {
		err = report.Print(os.Stdout)
	}
	if err == nil && report.Count(verify.Must) > 0 {
		return errReported
	}
	return err
}

// liveTable is a table on a terminal that is drawn over itself.
type liveTable struct{ lines int }

// clear takes the table away. Errors do not matter: a terminal that is gone is no
// reason to stop.
func (t *liveTable) clear(w io.Writer) {
	if t.lines > 0 {
		fmt.Fprintf(w, "\x1b[%dA\x1b[J", t.lines)
	}
	t.lines = 0
}

func (t *liveTable) show(w io.Writer, s verify.Status) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%-24s %-9s %9s %8s %6s %10s %9s %9s\n", "rendition", "kind", "segment", "loaded", "parts", "kbit/s", "since new", "latency")
	for _, r := range s.Renditions {
		latency := "-"
		if r.Latency != 0 {
			latency = fmt.Sprintf("%.1f s", r.Latency.Round(100*time.Millisecond).Seconds()) // of -20 ms no "-0.0"
		}
		fmt.Fprintf(&b, "%-24.24s %-9s %9d %8d %6d %10.0f %7.1f s %9s\n", plain.Text(r.Name), plain.Text(r.Role), r.MSN, r.Segments, r.Parts, r.Bitrate/1000, r.SinceNew.Seconds(), latency)
	}
	must, reset := "", ""
	if s.Must > 0 {
		must, reset = "\x1b[1;31m", "\x1b[0m"
	}
	fmt.Fprintf(&b, "%s of %s, %s%d MUST%s and %d SHOULD so far\n", s.Elapsed.Truncate(time.Second), s.For, must, s.Must, reset, s.Should)
	text := b.Bytes()
	var out bytes.Buffer
	if t.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\x1b[J", t.lines)
	}
	out.Write(text)
	_, _ = w.Write(out.Bytes())
	t.lines = bytes.Count(text, []byte("\n"))
}
