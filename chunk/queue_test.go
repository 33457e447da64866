package chunk_test

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/mem"
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

// TestTinyPackets: packets of a byte count for what they cost; the bounds are those of all
// tracks, whichever has them, and whether the lead is there or not.
func TestTinyPackets(t *testing.T) {
	const n = 150_000
	data := []av.Track{pair[0], {Kind: av.Data, Codec: av.Private, Timebase: tick}}
	for name, tracks := range map[string][]av.Track{"sound": pair, "data": data} {
		for _, at := range []int64{0, 1, 1000} { // frames of the lead before
			pool := mem.NewPool(256 << 20)
			arena := pool.NewFailingArena()
			bounds := chunk.Bounds{MaxBytes: 8 << 20, MaxPackets: 40_000}
			c := newCutter(t, chunk.Config{Policy: chunk.Keyframe{Target: time.Minute}, MaxSkew: time.Hour, Bounds: bounds, Arena: arena}, tracks...)
			alloc := func(track int) []byte {
				b, err := arena.Alloc(track, 1)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			peak, written := int64(0), 0
			lead := func(i int64) {
				c.write(av.Packet{DTS: i, PTS: i, Dur: 1, Flags: av.Key, Data: alloc(0)})
			}
			for i := range at {
				lead(i)
			}
			for i := range int64(n) {
				c.write(av.Packet{Track: 1, DTS: at + i/1000, PTS: at + i/1000, Dur: 1, Data: alloc(1)})
				peak = max(peak, pool.InUse())
				written++
			}
			for i := range int64(n / 1000) {
				lead(at + i)
			}
			c.take(c.Close(chunk.End))
			if s := c.Stats(); c.packets[1]+s.DroppedOther != written || name == "sound" && s.DroppedOther > 0 {
				t.Errorf("%s, %d before: %d packets of %d, %+v", name, at, c.packets[1], written, s)
			}
			if c.most > 40_000 || peak > 4*40_000*chunk.PacketCost+8<<20 || peak < 40_000*chunk.PacketCost {
				t.Errorf("%s, %d before: %d packets in a chunk, %d bytes in use", name, at, c.most, peak)
			}
			arena.Close()
			if pool.InUse() != 0 {
				t.Errorf("%s: %d bytes are left", name, pool.InUse())
			}
			pool.Close()
		}
	}
	few := chunk.Bounds{MaxBytes: 100_000, MaxPackets: 40_000}
	c := newCutter(t, chunk.Config{Policy: chunk.Keyframe{Target: time.Minute}, Bounds: few}, pair...)
	for i := range int64(10_000) {
		c.write(av.Packet{DTS: i, PTS: i, Dur: 1, Flags: av.Key, Data: make([]byte, 72)})
	}
	c.take(c.Close(chunk.End))
	if c.most > 500 || c.most < 400 || c.packets[0] != 10_000 {
		t.Errorf("%d packets of 200 bytes in a chunk of 100,000", c.most)
	}
}

// TestLaggards: chunks that wait for a track that lags are closed without it when they hold
// too much, or are too many.
func TestLaggards(t *testing.T) {
	for _, discont := range []bool{false, true} {
		c := newCutter(t, chunk.Config{Policy: chunk.Keyframe{Target: time.Second}, MaxSkew: 1000 * time.Hour, Bounds: chunk.Bounds{MaxPackets: 5000}}, pair...)
		c.write(av.Packet{Track: 1, Dur: 1, Data: []byte{1}})
		open := 0
		for i := range int64(30_000) {
			p := av.Packet{DTS: i, PTS: i, Dur: 1, Flags: av.Key, Data: []byte{1}}
			if discont {
				p.Flags |= av.Discont
			}
			events, err := c.Write(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if e.Op == chunk.Open {
					open++
				}
			}
			c.take(events)
			if held := int(i) + 1 - c.packets[0]; held > 15_001 || open-c.chunks > 4097 {
				t.Fatalf("%d packets held in %d chunks", held, open-c.chunks)
			}
		}
		c.take(c.Close(chunk.End))
		if c.packets != [2]int{30_000, 1} {
			t.Error(c.packets)
		}
	}
}

// TestSkew: sound that is 30 s ahead of the pictures all the time waits for them, and does
// not cut them; once they end the sound goes on without.
func TestSkew(t *testing.T) {
	arena := mem.NewPool(64 << 20).NewFailingArena()
	defer arena.Close()
	c := newCutter(t, chunk.Config{Policy: chunk.Keyframe{Target: time.Second}, Bounds: chunk.Bounds{MaxDur: 10 * time.Second}, Arena: arena}, pair...)
	second := tick.Ticks(time.Second)
	frame := second / 25
	for i := range int64(250) {
		flags := av.Flags(0)
		if i%25 == 0 {
			flags = av.Key
		}
		c.write(av.Packet{Track: 0, DTS: i * frame, PTS: i * frame, Dur: frame, Flags: flags, Data: []byte{1}})
		c.write(av.Packet{Track: 1, DTS: 30*second + i*frame, PTS: 30*second + i*frame, Dur: frame, Flags: av.Key, Data: []byte{2}})
	}
	if c.chunks != 9 || c.packets != [2]int{225, 0} {
		t.Errorf("%d chunks of %v packets", c.chunks, c.packets)
	}
	for i := range int64(1000) {
		at := 40*second + i*frame
		c.write(av.Packet{Track: 1, DTS: at, PTS: at, Dur: frame, Flags: av.Key, Data: []byte{2}})
	}
	if c.packets[0] != 250 || c.packets[1] < 1000 {
		t.Errorf("when the pictures had ended: %d chunks of %v packets", c.chunks, c.packets)
	}
	c.take(c.Close(chunk.End))
	if c.packets != [2]int{250, 1250} {
		t.Errorf("at the end: %v packets", c.packets)
	}
}
