package torture

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/internal/plain"
)

// Print writes docs/torture.md.
func (r *Report) Print(w io.Writer, machine string) error {
	p := &plain.Printer{W: w}
	p.Printf(`# Torture

What a server is sent that it should survive, from outside, as anybody could send it, and what came of it.
%[1]smake torture%[1]s starts a server, sends all of it, and writes this page. Any other server is tried by

    go run ./test/torture/cmd -http HOST:8080 -rtmp HOST:1935 -rtsp HOST:8554 -srt HOST:8890 -admin HOST:9080

where what has no address is left out, %[1]s-rows 4,65%[1]s tries some rows, and %[1]s-remote%[1]s is needed for an address
beyond the loopback: ask whoever owns it first. [hostile.md](hostile.md) has the numbers of the rows, and the
tests of what cannot be tried from outside.

| row | what was sent | what came | verdict |
| --: | --- | --- | --- |
`, "`")
	list := slices.Clone(r.Results)
	slices.SortStableFunc(list, func(a, b Result) int { return a.Row - b.Row })
	for _, x := range list {
		p.Printf("| %d | %s | %s | %s |\n", x.Row, cell(x.Sent), cell(x.Came), verdict(x.OK))
	}
	p.Printf("\n| law | what was seen | verdict |\n| --- | --- | --- |\n")
	if r.Canary != (Canary{}) {
		p.Printf("| a healthy stream beside all that goes on | %d frames at its viewer, %d missing, at most %v without one; %s | %s |\n",
			r.Canary.Frames, r.Canary.Missing, r.Canary.Longest.Round(time.Millisecond), orNone(r.Canary.Fault), verdict(r.Canary.Fault == ""))
	}
	for _, m := range r.Memory {
		p.Printf("| memory of %s | resident %d MiB after the first trial, %d MiB at most, %d MiB at the end; %d and %d goroutines; %s | %s |\n",
			m.What, m.Before>>20, m.Peak>>20, m.After>>20, m.Goroutines[0], m.Goroutines[1], orNone(m.Fault), verdict(m.Fault == ""))
	}
	p.Printf("\nLeft out:\n\n")
	for _, l := range r.Left {
		p.Printf("- %s\n", l)
	}
	p.Printf("\n%d of %d trials as wanted, in %v. %s.\n", r.passed(), len(r.Results), r.Took.Round(time.Second), machine)
	return p.Err
}

func (r *Report) passed() (n int) {
	for i := range r.Results {
		if r.Results[i].OK {
			n++
		}
	}
	return n
}

// cell is text for a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ").Replace(s)
}

func orNone(s string) string {
	if s == "" {
		return "nothing wrong"
	}
	return cell(s)
}

func verdict(ok bool) string {
	if ok {
		return "as wanted"
	}
	return "**not**"
}
