package cut

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
)

// indexEntry is one chunk in chunks.json. Packets and Bytes, of payload, are what
// its Files have. Times are ticks of Timebase in the source's own timeline; the
// output's are Offset seconds later.
type indexEntry struct {
	Timebase    string   `json:"timebase"`
	Start       int64    `json:"start"`
	Duration    int64    `json:"duration"`
	Offset      int64    `json:"offset"`
	Keyframes   []int64  `json:"keyframes"`
	Packets     int      `json:"packets"`
	Bytes       int64    `json:"bytes"`
	Independent bool     `json:"independent"`
	Reason      string   `json:"reason"`
	Files       []string `json:"files"`
}

// indexWriter writes chunks.json as the chunks come, so that their number costs
// no memory.
type indexWriter struct {
	f *os.File
	w *bufio.Writer
	n int
}

func newIndexWriter(dir string) (*indexWriter, error) {
	f, err := os.OpenFile(filepath.Join(dir, indexName), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &indexWriter{f: f, w: bufio.NewWriter(f)}, nil
}

func (x *indexWriter) add(e *indexEntry) error {
	sep := ",\n"
	if x.n == 0 {
		sep = "[\n"
	}
	x.n++
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := x.w.WriteString(sep); err != nil {
		return err
	}
	_, err = x.w.Write(b)
	return err
}

func (x *indexWriter) close() error {
	end := "\n]\n"
	if x.n == 0 {
		end = "[]\n"
	}
	_, err := x.w.WriteString(end)
	if ferr := x.w.Flush(); err == nil {
		err = ferr
	}
	if cerr := x.f.Close(); err == nil {
		err = cerr
	}
	return err
}

// note enters c in chunks.json and in the report.
func (r *run) note(c *chunk.Chunk, files []string) error {
	if r.index == nil {
		var err error
		if r.index, err = newIndexWriter(r.out.partial); err != nil {
			return err
		}
	}
	lead := leadTrack(c)
	start := c.Begins()
	e := &indexEntry{
		Timebase: c.Tracks[lead].Timebase.String(), Start: start, Duration: c.Span.MaxPTS - start,
		Offset: r.offset, Keyframes: []int64{}, Independent: c.Independent, Reason: c.Why.String(), Files: files,
	}
	for _, rend := range r.rends { // tracks that are left out do not count
		for _, i := range rend.tracks {
			if i < len(c.Runs) {
				e.Packets += len(c.Runs[i])
				e.Bytes += payload(c.Runs[i])
			}
		}
	}
	r.keyed = r.keyed && !c.Discont
	if packets := c.Runs[lead]; c.Tracks[lead].Kind == av.Video {
		for k := range packets {
			if packets[k].Flags&av.Key != 0 {
				r.key(c, packets[k].PTS)
				e.Keyframes = append(e.Keyframes, packets[k].PTS)
			}
		}
	}
	r.lead, r.end = c.Span.Timebase, c.Span.MaxPTS
	r.report.add(c, e)
	return r.index.add(e)
}

func payload(l []av.Packet) (n int64) {
	for i := range l {
		n += int64(len(l[i].Data))
	}
	return n
}

// leadTrack is the track that decides cuts: the first video, else the first audio.
func leadTrack(c *chunk.Chunk) int {
	lead := 0
	for i := range c.Tracks {
		switch k := c.Tracks[i].Kind; {
		case k == av.Video:
			return i
		case k == av.Audio && c.Tracks[lead].Kind != av.Audio:
			lead = i
		}
	}
	return lead
}

// key watches the longest GOP.
func (r *run) key(c *chunk.Chunk, pts int64) {
	if r.keyed {
		r.report.LongestGOP = max(r.report.LongestGOP, c.Span.Timebase.Duration(pts-r.lastKey))
	}
	r.lastKey, r.keyed = pts, true
}
