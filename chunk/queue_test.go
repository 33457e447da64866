package chunk_test

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
)

// cutter is a Chunker of video and sound, whose chunks are counted and released.
type cutter struct {
	*chunk.Chunker
	t       *testing.T
	chunks  int
	packets [2]int
	most    int // packets of a chunk
	weight  int64
}

func newCutter(t *testing.T, cfg chunk.Config, tracks ...av.Track) *cutter {
	t.Helper()
	c, err := chunk.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SetTracks(tracks); err != nil {
		t.Fatal(err)
	}
	return &cutter{Chunker: c, t: t}
}

func (c *cutter) write(p av.Packet) {
	events, err := c.Write(p)
	if err != nil {
		c.t.Fatal(err)
	}
	c.take(events)
}

func (c *cutter) take(events []chunk.Event) {
	for _, e := range events {
		if e.Op != chunk.Close {
			continue
		}
		n := 0
		for i, run := range e.Chunk.Runs {
			n += len(run)
			c.packets[i] += len(run)
			for k := 1; k < len(run); k++ {
				if run[k].DTS < run[k-1].DTS {
					c.t.Fatalf("track %d: %d behind %d", i, run[k].DTS, run[k-1].DTS)
				}
			}
		}
		c.chunks++
		c.most, c.weight = max(c.most, n), max(c.weight, e.Chunk.Bytes())
		e.Chunk.Release()
	}
}

var pair = []av.Track{{Kind: av.Video, Codec: av.H264, Timebase: tick}, {Kind: av.Audio, Codec: av.AAC, Timebase: tick}}

// TestLongQueue: sound that is shown long after the pictures beside it waits in a queue that
// drains one packet at a time, in linear time.
func TestLongQueue(t *testing.T) {
	const n = 60_000
	c := newCutter(t, chunk.Config{Policy: chunk.Keyframe{Target: time.Minute}, MaxSkew: 24 * time.Hour}, pair...)
	for i := range int64(2 * n) {
		p := av.Packet{DTS: i, PTS: i, Dur: 1, Data: []byte{1}}
		if i%250 == 0 {
			p.Flags = av.Key
		}
		c.write(p)
		if i < n {
			c.write(av.Packet{Track: 1, DTS: i, PTS: i + n, Dur: 1, Data: []byte{1}})
		}
	}
	c.take(c.Close(chunk.End))
	if c.packets != [2]int{2 * n, n} || c.Stats() != (chunk.Stats{}) {
		t.Errorf("%v packets, %+v", c.packets, c.Stats())
	}
}
