package cache

import (
	"io"
	"time"

	"github.com/cleave-video/cleave/internal/plain"
)

// Ratio is the share of requests that did not come to the server.
func (r *Report) Ratio() float64 { return 1 - float64(r.Came)/float64(max(r.Asked, 1)) }

// Passed reports whether the cache did what it is for.
func (r *Report) Passed() bool {
	return r.Ratio() >= 0.98 && r.Again == 0 && r.Stale == 0 && r.Redirects == 0 && r.Failed == 0
}

// Print writes docs/cache.md.
func (r *Report) Print(w io.Writer, machine string) error {
	p := &plain.Printer{W: w}
	p.Printf(`# Behind a cache

Any cache of HTTP makes many players of few: media have names that never get other contents, the answer to a
request for a playlist that waits (%[1]s_HLS_msn%[1]s) is the same for everybody and may be kept for six target
durations, any other playlist may not be kept, there are no redirects, cookies or sessions. A cache that joins
equal requests asks the server once for each part, and once for each playlist.

With nginx (Debian's has all it needs):

%[1]s%[1]s%[1]snginx
`, "`")
	p.Printf("%s", Conf)
	p.Printf(`%[1]s%[1]s%[1]s

nginx's lock lets others look again every 500 ms, so that parts of %[2]v come up to as much later than they do
without it; caches that wake them (Varnish, most CDNs) do not. The segment that is open, which low-latency DASH asks
for, is passed on to the first only as it grows. Behind the cache all players have one address: see
[Admission](serve.md#admission).

## What was measured

%[1]smake cache%[1]s has %[3]d players of LL-HLS come within %[4]v and play for %[5]v through nginx, and counts
what comes to the server, name by name. Each asks for the next playlist and for the part that was hinted at, at the
same time; every second one for delta updates, which are other names. It writes this page.

| | |
| --- | --: |
`, "`", r.Part, r.Players, r.Join, r.For)
	p.Printf("| requests of players | %d |\n", r.Asked)
	p.Printf("| of these came to the server | %d |\n", r.Came)
	p.Printf("| hits | %.2f %% |\n", 100*r.Ratio())
	p.Printf("| requests that may be answered by a cache: players, server | %d, %d |\n", r.AskedCacheable, r.CameCacheable)
	p.Printf("| names of parts and initialization sections that came to the server | %d |\n", r.Parts)
	p.Printf("| of playlists that wait | %d |\n", r.Playlists)
	p.Printf("| names that came more than once | %d |\n", r.Again)
	p.Printf("| playlists without the part that was waited for | %d |\n", r.Stale)
	p.Printf("| redirects | %d |\n", r.Redirects)
	p.Printf("| requests that failed | %d |\n", r.Failed)
	p.Printf("| a part's playlist is at the player after the part's end: median, 99 %% | %v, %v |\n", r.Late[0].Round(time.Millisecond), r.Late[1].Round(time.Millisecond))
	p.Printf("| CPU of the server, of nginx | %.1f %%, %.0f %% of a core |\n", 100*r.CPU[0].Seconds()/r.Took.Seconds(), 100*r.CPU[1].Seconds()/r.Took.Seconds())
	if r.FailedWhy != "" {
		p.Printf("\nThe last that failed: %s.\n", r.FailedWhy)
	}
	for i, n := range r.AgainNames {
		if i == 0 {
			p.Printf("\nMore than once:\n\n")
		}
		if i == 10 {
			p.Printf("- and %d more\n", len(r.AgainNames)-i)
			break
		}
		p.Printf("- %s\n", n)
	}
	p.Printf("\n%s; %s. The players ran on the same machine.\n", r.Version, machine)
	return p.Err
}
