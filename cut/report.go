package cut

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/internal/plain"
)

// Report is what a cut did.
type Report struct {
	Dir         string         `json:"dir"`
	Tracks      []string       `json:"tracks"` // one line each
	Chunks      int            `json:"chunks"`
	Packets     int            `json:"packets"`
	Bytes       int64          `json:"bytes"` // of the chunk files
	Duration    time.Duration  `json:"-"`
	Shortest    time.Duration  `json:"-"`
	Longest     time.Duration  `json:"-"`
	LongestAt   time.Duration  `json:"-"` // where in the source
	Independent int            `json:"independent"`
	Reasons     map[string]int `json:"dependent"`            // why chunks that are not independent began where they did
	Cuts        map[string]int `json:"ended_by"`             // why chunks ended
	Dropped     int            `json:"dropped"`              // packets before the first key frame, or behind every open chunk
	LeftOut     []string       `json:"left_out,omitempty"`   // tracks the container cannot carry
	Warnings    []string       `json:"warnings,omitempty"`   // what the demuxer repaired or skipped
	Encryption  string         `json:"encryption,omitempty"` // scheme and number of keys; or ""
	LongestGOP  time.Duration  `json:"-"`                    // between two key frames of the lead
	Advice      string         `json:"advice,omitempty"`     // why the target was not met, in plain words; or ""
	Broken      error          `json:"-"`                    // why the input ended before its end; or nil
	Elapsed     time.Duration  `json:"-"`
}

// MarshalJSON writes the fields with durations in seconds.
func (rp *Report) MarshalJSON() ([]byte, error) {
	type fields Report
	broken := ""
	if rp.Broken != nil {
		broken = rp.Broken.Error()
	}
	return json.Marshal(struct {
		*fields
		Duration   float64 `json:"duration"`
		Shortest   float64 `json:"shortest"`
		Longest    float64 `json:"longest"`
		LongestAt  float64 `json:"longest_at"`
		LongestGOP float64 `json:"longest_gop"`
		Elapsed    float64 `json:"elapsed"`
		Broken     string  `json:"broken,omitempty"`
	}{
		(*fields)(rp), rp.Duration.Seconds(), rp.Shortest.Seconds(), rp.Longest.Seconds(), rp.LongestAt.Seconds(),
		rp.LongestGOP.Seconds(), rp.Elapsed.Seconds(), broken,
	})
}

func (rp *Report) add(c *chunk.Chunk, e *indexEntry) {
	tb := c.Span.Timebase
	d := tb.Duration(e.Duration)
	if rp.Chunks == 0 || d < rp.Shortest {
		rp.Shortest = d
	}
	if d > rp.Longest {
		rp.Longest, rp.LongestAt = d, tb.Duration(e.Start)
	}
	rp.Chunks++
	rp.Packets += e.Packets
	if c.Independent {
		rp.Independent++
	} else {
		rp.Reasons[whyDependent(c)]++
	}
	if rp.Cuts == nil {
		rp.Cuts = make(map[string]int)
	}
	rp.Cuts[e.Reason]++
}

// whyDependent says in plain words why the chunk cannot be decoded alone.
func whyDependent(c *chunk.Chunk) string {
	if len(c.Runs[leadTrack(c)]) == 0 {
		return "no packet of the lead track"
	}
	if c.Runs[leadTrack(c)][0].Flags&av.Key != 0 {
		return "open or gradual GOP: its first pictures need the chunk before"
	}
	return "cut inside a GOP: " + c.Opened.String()
}

// Print writes the closing table. The error is w's.
func (rp *Report) Print(w io.Writer) error {
	var b bytes.Buffer
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "%s\n", rp.Dir)
	for _, t := range rp.Tracks {
		line("track", "%s", t)
	}
	line("chunks", "%d, %d of them independent", rp.Chunks, rp.Independent)
	for _, k := range sortedKeys(rp.Reasons) {
		line("dependent", "%d: %s", rp.Reasons[k], k)
	}
	line("ended by", "%s", counts(rp.Cuts))
	line("duration", "%s in all, shortest %s, longest %s at %s", short(rp.Duration), short(rp.Shortest), short(rp.Longest), short(rp.LongestAt))
	line("size", "%s in %s", plain.Bytes(rp.Bytes), plain.Count(rp.Packets, "packet"))
	if rp.Encryption != "" {
		line("encryption", "%s", rp.Encryption)
	}
	if s := rp.Elapsed.Seconds(); s > 0 {
		line("time", "%s, %s times real time, %s/s", short(rp.Elapsed), factor(rp.Duration.Seconds()/s), plain.Bytes(int64(float64(rp.Bytes)/s)))
	}
	if rp.Dropped > 0 {
		line("dropped", "%s before the first key frame", plain.Count(rp.Dropped, "packet"))
	}
	for _, s := range rp.LeftOut {
		line("left out", "%s", s)
	}
	for _, s := range rp.Warnings {
		line("note", "%s", s)
	}
	if rp.Advice != "" {
		line("note", "%s", rp.Advice)
	}
	if rp.Broken != nil {
		line("broken off", "%v; what came before is kept", rp.Broken)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// factor is a number with three digits.
func factor(f float64) string {
	if f >= 100 {
		return fmt.Sprintf("%.0f", f)
	}
	return fmt.Sprintf("%.3g", f)
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func counts(m map[string]int) string {
	var out []string
	for _, k := range sortedKeys(m) {
		out = append(out, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(out, ", ")
}

// short rounds a duration to what a reader wants to see of it.
func short(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.3f s", d.Seconds())
	}
	return d.Round(time.Second / 10).String()
}
