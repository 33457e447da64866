// Package fidelity shows that what was cut is what went in: ffprobe's packets and
// ffmpeg's pictures of the output are compared with those of the source, and
// chunks.json with both.
package fidelity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/cut"
)

// Case is one way to cut a file.
type Case struct {
	Strategy  string
	Container cut.Container
	// Decode all chunks that can be, each alone, and compare their pictures; not
	// only the first picture of each.
	Alone bool
}

// Result is what became of it.
type Result struct {
	Chunks int
	Tracks []string // one line for each track compared
	Notes  []string // what differs for a reason, which was verified
	Faults []string // differences without a reason
}

func (r *Result) fault(format string, args ...any) {
	r.Faults = append(r.Faults, fmt.Sprintf(format, args...))
}

func (r *Result) note(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(r.Notes, s) {
		r.Notes = append(r.Notes, s)
	}
}

// Source is a file to cut, as ffprobe and ffmpeg read it. Each is asked once,
// however often the file is cut. Not for concurrent use.
type Source struct {
	File string
	// Keys is where the key pictures are, by packet, if that is known from the
	// bitstream. Unreadable tells that FFmpeg does not read the file.
	Keys       []int
	Unreadable error

	media   *media
	edited  *media            // with edit lists
	written *media            // what the container itself says, without what FFmpeg derives
	shift   map[int]*int64    // by stream: by how many ticks its edit list moves it
	shown   map[int]*decoding // by video stream
	cuts    map[cut.Container]*proof
}

// decoding is what ffmpeg makes of a video track.
type decoding struct {
	frames     []frame
	complaints string
	unsteady   bool // damaged, and concealed differently each time
	err        error
}

// proof is what was compared picture by picture; what has the same payload has
// the same pictures.
type proof struct {
	payload map[string]string  // by rendition
	shown   map[string][]frame // by rendition
}

// NewSource reads a file.
func NewSource(ctx context.Context, file string) (*Source, error) {
	s := &Source{File: file, shift: map[int]*int64{}, shown: map[int]*decoding{}, cuts: map[cut.Container]*proof{}}
	var err error
	if s.media, err = probe(ctx, file, false); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		s.Unreadable = err
	}
	return s, nil
}

// Check cuts the source and compares. The error is of the tools or of the cut
// itself. Files are written to dir.
func (s *Source) Check(ctx context.Context, c Case, dir string) (*Result, error) {
	policy, err := chunk.Parse(c.Strategy, chunk.Options{MaxBytes: 1 << 20})
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(dir, "out")
	report, err := cut.Run(ctx, cut.Config{Input: s.File, Dir: folder, Policy: policy, Container: c.Container, Target: 2 * time.Second, Force: true})
	if err != nil {
		return nil, err
	}
	r := &Result{Chunks: report.Chunks}
	r.Notes = append(r.Notes, report.LeftOut...)
	if report.Broken != nil {
		r.note("breaks off: %s", strings.ReplaceAll(report.Broken.Error(), filepath.Dir(s.File)+"/", ""))
	}
	if s.Unreadable != nil {
		r.note("FFmpeg does not read the source: %v", s.Unreadable)
		return r, nil
	}
	out, err := read(ctx, folder, dir)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		r.fault("%v", err)
		return r, nil
	}
	cmp := &comparison{Case: c, Result: r, source: s, report: report, out: out, dir: dir, seconds: map[int]int64{}}
	return r, errors.Join(cmp.run(ctx), os.RemoveAll(folder))
}

// comparison is one cut compared with its source.
type comparison struct {
	Case
	*Result
	source  *Source
	report  *cut.Report
	out     *output
	dir     string
	seconds map[int]int64 // by part: the whole seconds added to every time
	dropped int           // packets of the source that are missing for a known reason
	cutOff  int           // incomplete packets at its end
}

func (c *comparison) run(ctx context.Context) error {
	used := map[int]bool{}
	for _, w := range c.out.tracks() {
		s := c.pair(w, used)
		if s == nil {
			c.unmatched(w, used)
			continue
		}
		used[s.index] = true
		want, ok := c.payload(w, s)
		if !ok {
			continue
		}
		if err := c.times(ctx, w, s, want); err != nil {
			return err
		}
		if w.kind == "video" {
			if err := c.pictures(ctx, w, s, len(s.packets)-len(want)); err != nil {
				return err
			}
		}
		c.Tracks = append(c.Tracks, fmt.Sprintf("%s %d packets", w, len(want)))
	}
	c.missing(used)
	c.cutsAreTrue()
	return nil
}

// pair finds the track of the source that w was made of: of its codec, and with
// its payload.
func (c *comparison) pair(w *written, used map[int]bool) *track {
	var best *track
	for i := range c.source.media.tracks {
		s := &c.source.media.tracks[i]
		if used[s.index] || len(s.packets) == 0 || s.String() != w.String() && !(s.data() && w.data()) {
			continue
		}
		if slices.ContainsFunc(s.packets, func(p packet) bool { return p.sum == w.packets[0].sum }) && len(s.packets) >= len(w.packets) {
			return s
		}
		if best == nil {
			best = s
		}
	}
	return best
}

// unmatched: every track of the output is one of the source's. FFmpeg reads SCTE-35
// only where the descriptors tell it to, as they do in the output.
func (c *comparison) unmatched(w *written, used map[int]bool) {
	for i := range c.source.media.tracks {
		if s := &c.source.media.tracks[i]; !used[s.index] && w.data() && s.data() && len(s.packets) == 0 {
			used[s.index] = true
			c.note("%s: FFmpeg reads no packet of it in the source, %d in the output", w, len(w.packets))
			return
		}
	}
	c.fault("%s %s is not in the source", w.rendition.name, w)
}

// missing: what the output does not have the report names, track by track and
// packet by packet.
func (c *comparison) missing(used map[int]bool) {
	absent := 0
	for i := range c.source.media.tracks {
		if t := &c.source.media.tracks[i]; !used[t.index] && len(t.packets) > 0 {
			absent++
		}
	}
	if absent > len(c.report.LeftOut) {
		c.fault("%d tracks of the source are in no file; %d are reported as left out", absent, len(c.report.LeftOut))
	}
	if told := c.told(droppedTexts...) + c.report.Dropped; c.dropped != told {
		c.fault("%d packets of the source are missing, %d reported as dropped", c.dropped, told)
	}
	if told := c.told(cutOffTexts...); c.cutOff > told {
		c.fault("%d packets are missing at the source's end, %d reported as incomplete", c.cutOff, told)
	}
}

// What a demuxer says of packets that it drops before a track can be decoded, and
// of those that end with the file.
var (
	droppedTexts = []string{"pictures before the first parameter sets dropped", "frames before the first sequence header dropped", "frames before the first PTS dropped"}
	cutOffTexts  = []string{"incomplete frames dropped", "incomplete tags dropped"}
)

// told adds up what the report's warnings say.
func (c *comparison) told(texts ...string) (sum int) {
	for _, w := range c.report.Warnings {
		for _, text := range texts {
			if before, ok := strings.CutSuffix(w, " "+text); ok {
				var n int
				if _, err := fmt.Sscan(before[strings.LastIndex(before, " ")+1:], &n); err == nil {
					sum += n
				}
			}
		}
	}
	return sum
}
