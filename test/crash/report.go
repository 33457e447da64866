package crash

import (
	"fmt"
	"io"
	"time"
)

// Print writes the report as docs/reliability.md has it.
func (r *Report) Print(w io.Writer, start *Recovery, machine string) error {
	broken := make(map[string]int)
	for _, f := range r.Findings {
		broken[f.Rule]++
	}
	_, err := fmt.Fprintf(w, `# Reliability

What is left when a server is killed by SIGKILL, shown by `+"`make crash`"+`, which writes this page.
[stores.md](stores.md#after-a-crash) has what stores and the index promise, and
[serve.md](serve.md#after-a-crash) what a restart shows.

The rig publishes by RTMP to a real server, with chunks of 200 ms and more, at three times the speed
of time; reads every playlist and every segment; kills the server at random points; starts it again on
the same folder; and compares what it shows and keeps with all that it ever showed and kept.

| | |
| --- | --: |
| kills | %d |
| of these while the server was starting | %d |
| committed chunks | %d |
| playlists compared | %d |
| segments fetched and compared | %d |
| objects read and compared | %d |
| segments that were listed from memory, not committed yet, and lost | %d |
| parts seen of segments that were open at a kill | %d |
| of these lost | %d |

| after every kill | broken |
| --- | --: |
`, r.Kills, r.Starting, r.Committed, r.Playlists, r.Fetched, r.Read, r.Uncommitted, r.Parts, r.PartsLost)
	for _, rule := range rules {
		if err == nil {
			_, err = fmt.Fprintf(w, "| %s | %d |\n", rule, broken[rule])
		}
	}
	if err == nil {
		_, err = fmt.Fprintf(w, `
A server with %d chunks, all of which it compares with its index, listens %v after it was started, for
which it used %v of a core's time; one without any, %v. (Medians of %d starts; the aim is 300 ms for
100,000.)

%s, %v.
`, start.Entries, start.Full.Round(time.Millisecond), start.CPU.Round(time.Millisecond), start.Empty.Round(time.Millisecond), starts, machine, r.Took.Round(time.Second))
	}
	return err
}
