package crash

import (
	"bytes"
	"fmt"
	"io"
	"time"
)

// Print writes docs/reliability.md: what came of servers that kept chunks in a folder, and
// of such with a spool before it.
func Print(w io.Writer, plain, spooled *Report, start *Recovery, machine string) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Reliability

What is left when a server is killed by SIGKILL, shown by `+"`make crash`"+`, which writes this page.
[stores.md](stores.md#after-a-crash) has what stores and the index promise, and
[serve.md](serve.md#after-a-restart) what a restart shows.

The rig publishes by RTMP to a real server, with chunks of 200 ms and more, at three times the speed
of time; reads every playlist and every segment; kills the server at random points; starts it again on
the same folder; and compares what it shows and keeps with all that it ever showed and kept.

| | data folder | spool before it |
| --- | --: | --: |
`)
	for _, row := range []struct {
		what string
		n    func(r *Report) int
	}{
		{"kills", func(r *Report) int { return r.Kills }},
		{"of these while the server was starting", func(r *Report) int { return r.Starting }},
		{"committed chunks", func(r *Report) int { return r.Committed }},
		{"playlists compared", func(r *Report) int { return r.Playlists }},
		{"segments fetched and compared", func(r *Report) int { return r.Fetched }},
		{"objects read and compared", func(r *Report) int { return r.Read }},
		{"segments that were listed from memory, not committed yet, and lost", func(r *Report) int { return r.Uncommitted }},
		{"parts seen of segments that were open at a kill", func(r *Report) int { return r.Parts }},
		{"of these lost", func(r *Report) int { return r.PartsLost }},
	} {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", row.what, row.n(plain), row.n(spooled))
	}
	fmt.Fprintf(&b, "\n| after every kill | broken | broken |\n| --- | --: | --: |\n")
	for _, rule := range rules {
		fmt.Fprintf(&b, "| %s | %d | %d |\n", rule, plain.Broke[rule], spooled.Broke[rule])
	}
	fmt.Fprintf(&b, `
A server with %d chunks, all of which it compares with its index, listens %v after it was started, for
which it used %v of a core's time; one without any, %v. (Medians of %d starts; the aim is 300 ms for
100,000.)

%s, %v.
`, start.Entries, start.Full.Round(time.Millisecond), start.CPU.Round(time.Millisecond), start.Empty.Round(time.Millisecond), starts, machine, (plain.Took + spooled.Took).Round(time.Second))
	_, err := w.Write(b.Bytes())
	return err
}
