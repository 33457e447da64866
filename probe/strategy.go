package probe

import (
	"fmt"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/format/mp4"
	"github.com/cleave-video/cleave/pack"
)

// Strategy is what cutting the input by one strategy would give.
type Strategy struct {
	Name        string         `json:"strategy"`
	Parameter   string         `json:"parameter"` // for people: "2 s", "16 MiB", "12–48 frames"
	Chunks      int            `json:"chunks"`
	Independent int            `json:"independent"`
	Shortest    float64        `json:"shortest"` // seconds
	Longest     float64        `json:"longest"`
	Reasons     map[string]int `json:"reasons,omitempty"` // why chunks ended

	list []span
}

// span is one chunk.
type span struct {
	tb          av.Timebase // of start and dur
	start, dur  int64       // presentation
	bytes       int64
	packets     int
	independent bool
	why         chunk.Reason
}

func (s *span) begin() time.Duration { return s.tb.Duration(s.start) }
func (s *span) end() time.Duration   { return s.tb.Duration(s.start + s.dur) }

// cutters run the Chunker of the cut command with each of its policies. Chunks need
// the size of packets, not their payload, so nothing is kept of that.
type cutters struct {
	list    []cutter
	set     pack.Carried
	zeros   []byte // as large as the largest packet, never touched
	refused string // why cut would refuse the input
}

type cutter struct {
	Strategy
	chunker *chunk.Chunker
	records records
}

func newCutters(o chunk.Options) (*cutters, error) {
	c := &cutters{}
	for _, name := range chunk.Names() {
		policy, err := chunk.Parse(name, o)
		if err != nil {
			return nil, err
		}
		ch, err := chunk.New(chunk.FileConfig(policy, nil))
		if err != nil {
			return nil, err
		}
		c.list = append(c.list, cutter{Strategy: Strategy{Name: name, Parameter: parameter(policy)}, chunker: ch})
	}
	return c, nil
}

// parameter says what a policy was given.
func parameter(p chunk.Policy) string {
	switch p := p.(type) {
	case chunk.Keyframe:
		return seconds(p.Target)
	case chunk.Fixed:
		return seconds(p.Target)
	case chunk.Memory:
		return binary(p.MaxBytes)
	case chunk.AdaptiveGOP:
		return fmt.Sprintf("%d–%d frames", p.MinGOP, p.MaxGOP)
	}
	return ""
}

func (c *cutters) setTracks(tracks []av.Track) {
	set := pack.Carry(tracks, mp4.Fits) // cut writes CMAF unless told otherwise
	if c.set.Tracks != nil && set.Same(&c.set) {
		return
	}
	c.set = set
	for i := range c.list {
		events, err := c.list[i].chunker.SetTracks(set.Tracks)
		if err != nil {
			c.refuse(err)
			return
		}
		c.list[i].take(events)
	}
}

// refuse stops cutting: the cut command would stop here, too.
func (c *cutters) refuse(err error) {
	c.refused = "cut would refuse it: " + err.Error()
	for i := range c.list {
		c.list[i].take(c.list[i].chunker.Close(chunk.Shutdown))
	}
	c.list = nil
}

func (c *cutters) packet(p av.Packet) error {
	if len(c.list) == 0 || !c.set.Has(p.Track) {
		return nil
	}
	if n := len(p.Data); n > len(c.zeros) {
		c.zeros = make([]byte, max(n, 64<<10)*2)
	}
	p.Data = c.zeros[:len(p.Data)]
	for i := range c.list {
		events, err := c.list[i].chunker.Write(p)
		if err != nil {
			return err
		}
		c.list[i].take(events)
	}
	return nil
}

// finish returns what was found.
func (c *cutters) finish() []Strategy {
	var out []Strategy
	for i := range c.list {
		c.list[i].take(c.list[i].chunker.Close(chunk.End))
		out = append(out, c.list[i].Strategy)
	}
	return out
}

func (c *cutter) take(events []chunk.Event) {
	for _, e := range events {
		if e.Op == chunk.Close {
			c.note(e.Chunk)
			e.Chunk.Release()
		}
	}
}

func (c *cutter) note(k *chunk.Chunk) {
	s := span{
		tb: k.Span.Timebase, start: k.Begins(), dur: k.Span.MaxPTS - k.Begins(),
		bytes: k.Span.Bytes, independent: k.Independent, why: k.Why,
	}
	for _, run := range k.Runs {
		s.packets += len(run)
	}
	d := s.tb.Seconds(s.dur)
	if c.Chunks == 0 || d < c.Shortest {
		c.Shortest = d
	}
	c.Longest = max(c.Longest, d)
	c.Chunks++
	if k.Independent {
		c.Independent++
	}
	if c.Reasons == nil {
		c.Reasons = make(map[string]int)
	}
	c.Reasons[k.Why.String()]++
	c.records.bytes += s.bytes
	if c.records.room(len(c.list), 4) {
		c.list = append(c.list, s)
	}
}
