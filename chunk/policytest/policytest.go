// Package policytest holds what must be true of the chunks that a Chunker cuts,
// whatever the policy.
package policytest

import (
	"encoding/binary"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/mem"
)

// Run checks the chunks that a policy cuts of many streams, alone and when it is
// swapped for another while packets flow.
func Run(t *testing.T, policy chunk.Policy) {
	t.Run("Streams", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			Check(t, Streams().Draw(t, "stream"), chunk.Config{Policy: policy, Bounds: drawBounds(t)}, nil)
		})
	})
	t.Run("Swapped", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			s := Streams().Draw(t, "stream")
			swaps := map[int]chunk.Policy{}
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, len(s.Packets)), 1, 5).Draw(t, "swaps") {
				swaps[n] = rapid.SampledFrom([]chunk.Policy{
					policy, chunk.Fixed{Target: 700 * time.Millisecond}, chunk.Keyframe{Target: time.Second}, chunk.Memory{MaxBytes: 100 << 10},
				}).Draw(t, "policy")
			}
			Check(t, s, chunk.Config{Policy: policy, Bounds: drawBounds(t)}, swaps)
		})
	})
	t.Run("Cancelled", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) { cancelled(t, Streams().Draw(t, "stream"), policy) })
	})
}

func drawBounds(t *rapid.T) chunk.Bounds {
	return chunk.Bounds{
		MaxDur:    time.Duration(rapid.SampledFrom([]int{0, 1500, 5000}).Draw(t, "max ms")) * time.Millisecond,
		MaxBytes:  int64(rapid.SampledFrom([]int{0, 20_000, 150_000}).Draw(t, "max bytes")),
		MaxFrames: rapid.SampledFrom([]int{0, 40}).Draw(t, "max frames"),
	}
}

// Check cuts s and reports every broken promise. swaps are policies by the number
// of the packet before which they are swapped in.
func Check(t rapid.TB, s Stream, cfg chunk.Config, swaps map[int]chunk.Policy) {
	t.Helper()
	pool := mem.NewPool(64 << 20)
	defer pool.Close()
	arena := pool.NewFailingArena()
	cfg.Arena = arena
	c, err := chunk.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	k := &checker{TB: t, s: s, bounds: cfg.Bounds, c: c, seen: make([]int, len(s.Packets)), open: map[*chunk.Chunk]*record{}}
	defer k.release()
	if _, err := c.SetTracks(s.Tracks); err != nil {
		t.Fatal(err)
	}
	for n, p := range s.Packets {
		if swaps[n] != nil {
			c.Swap(swaps[n])
			k.swapped = true
		}
		if p.Data, err = arena.Alloc(p.Track, len(s.Packets[n].Data)); err != nil {
			t.Fatal(err)
		}
		copy(p.Data, s.Packets[n].Data)
		events, err := c.Write(p)
		if err != nil {
			t.Fatal(err)
		}
		k.take(events)
	}
	k.take(c.Close(chunk.End))
	k.end()
	k.release()
	arena.Close()
	if n := pool.InUse(); n != 0 {
		t.Errorf("%d bytes are not home", n)
	}
}

// cancelled stops anywhere: every slab comes home.
func cancelled(t *rapid.T, s Stream, policy chunk.Policy) {
	pool := mem.NewPool(64 << 20)
	defer pool.Close()
	arena := pool.NewFailingArena()
	c, err := chunk.New(chunk.Config{Policy: policy, Arena: arena})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SetTracks(s.Tracks); err != nil {
		t.Fatal(err)
	}
	release := func(events []chunk.Event) {
		for _, e := range events {
			if e.Op == chunk.Close {
				e.Chunk.Release()
			}
		}
	}
	for _, p := range s.Packets[:rapid.IntRange(0, len(s.Packets)).Draw(t, "until")] {
		n := len(p.Data)
		if p.Data, err = arena.Alloc(p.Track, n); err != nil {
			t.Fatal(err)
		}
		events, err := c.Write(p)
		if err != nil {
			t.Fatal(err)
		}
		release(events)
	}
	if rapid.Bool().Draw(t, "arena first") {
		arena.Close()
	}
	release(c.Close(chunk.Shutdown))
	arena.Close()
	if n := pool.InUse(); n != 0 {
		t.Errorf("%d bytes are not home", n)
	}
}

// record is what the events say of a chunk.
type record struct{ packets [][]av.Packet }

// checker follows the events of a Chunker.
type checker struct {
	rapid.TB
	s       Stream
	bounds  chunk.Bounds
	c       *chunk.Chunker
	seen    []int
	open    map[*chunk.Chunk]*record
	kept    []*chunk.Chunk
	last    []int // per track, the number of the newest packet added
	seq     uint64
	why     chunk.Reason
	swapped bool
}

func (k *checker) take(events []chunk.Event) {
	k.Helper()
	for _, e := range events {
		switch e.Op {
		case chunk.Open:
			k.open[e.Chunk] = &record{make([][]av.Packet, len(k.s.Tracks))}
		case chunk.Add:
			k.add(e)
		case chunk.Close:
			k.kept = append(k.kept, e.Chunk)
			k.closed(e.Chunk)
		}
	}
}

func (k *checker) add(e chunk.Event) {
	k.Helper()
	r, open := k.open[e.Chunk]
	if !open {
		k.Fatalf("a packet for a chunk that is not open")
		return
	}
	n := int(binary.BigEndian.Uint64(e.Packet.Data))
	if k.seen[n]++; k.seen[n] > 1 {
		k.Errorf("packet %d is added again", n)
	}
	for len(k.last) < len(k.s.Tracks) {
		k.last = append(k.last, -1)
	}
	if k.last[e.Packet.Track] >= n {
		k.Errorf("packet %d of track %d comes behind %d", n, e.Packet.Track, k.last[e.Packet.Track])
	}
	k.last[e.Packet.Track] = n
	r.packets[e.Packet.Track] = append(r.packets[e.Packet.Track], e.Packet)
}

// closed checks a whole chunk.
func (k *checker) closed(c *chunk.Chunk) {
	k.Helper()
	r := k.open[c]
	delete(k.open, c)
	if c.Seq != k.seq {
		k.Errorf("chunk %d is closed, %d was due", c.Seq, k.seq)
	}
	if c.Why == chunk.None || c.Opened != k.why {
		k.Errorf("chunk %d: opened for %v, the one before ended for %v; ends for %v", c.Seq, c.Opened, k.why, c.Why)
	}
	k.seq, k.why = c.Seq+1, c.Why
	bytes := int64(0)
	for i, run := range c.Runs {
		if len(run) != len(r.packets[i]) {
			k.Fatalf("chunk %d, track %d: %d packets, %d were added", c.Seq, i, len(run), len(r.packets[i]))
		}
		for j := range run {
			if &run[j].Data[0] != &r.packets[i][j].Data[0] || run[j].DTS != r.packets[i][j].DTS || run[j].PTS != r.packets[i][j].PTS {
				k.Errorf("chunk %d, track %d: packet %d is another", c.Seq, i, j)
			}
			if run[j].Dur <= 0 {
				k.Errorf("chunk %d, track %d: packet %d has no duration", c.Seq, i, j)
			}
			if j > 0 && run[j].DTS > run[j-1].DTS && run[j-1].DTS+run[j-1].Dur != run[j].DTS {
				k.Errorf("chunk %d, track %d: packet %d lasts up to %d, the next is at %d", c.Seq, i, j-1, run[j-1].DTS+run[j-1].Dur, run[j].DTS)
			}
			if j > 0 && run[j].Flags&av.Discont != 0 && i == c.Lead {
				k.Errorf("chunk %d: the timeline breaks inside it", c.Seq)
			}
			bytes += int64(len(run[j].Data))
		}
	}
	k.bounded(c, bytes)
	k.start(c)
}

// bounded checks the bounds: bytes to the byte, the others to the next place
// where pictures can be parted.
func (k *checker) bounded(c *chunk.Chunk, bytes int64) {
	k.Helper()
	if bytes != c.Bytes() || bytes != c.Span.Bytes {
		k.Errorf("chunk %d: %d bytes, it says %d and %d", c.Seq, bytes, c.Bytes(), c.Span.Bytes)
	}
	lead := c.Runs[c.Lead]
	alone := int64(0) // a packet larger than the bound is a chunk of its own
	for i, run := range c.Runs {
		if len(run) > 0 && (i == c.Lead || len(lead) == 0) {
			alone = max(alone, int64(len(run[0].Data)))
		}
	}
	if most := k.bounds.MaxBytes; most > 0 && bytes > max(most, alone) {
		k.Errorf("chunk %d: %d bytes of at most %d", c.Seq, bytes, most)
	}
	if most := k.bounds.MaxFrames; most > 0 && len(lead) > 2*most {
		k.Errorf("chunk %d: %d frames of at most %d", c.Seq, len(lead), most)
	}
}

// start checks where a chunk begins, and whether it says so.
func (k *checker) start(c *chunk.Chunk) {
	k.Helper()
	lead := c.Runs[c.Lead]
	if len(lead) == 0 {
		if c.Independent && c.Tracks[c.Lead].Kind == av.Video {
			k.Errorf("chunk %d is independent without a picture", c.Seq)
		}
		return
	}
	if lead[0].PTS != c.ID.Start || c.Span.Start != c.ID.Start || c.Span.DTS != lead[0].DTS {
		k.Errorf("chunk %d starts at %d, its first picture at %d", c.Seq, c.ID.Start, lead[0].PTS)
	}
	key := lead[0].Flags&(av.Key|av.Gradual) == av.Key
	leading := false
	for i := range lead {
		leading = leading || lead[i].Flags&av.Leading != 0 && lead[i].PTS < lead[0].PTS
	}
	if want := key && !leading; c.Independent != want {
		k.Errorf("chunk %d: independent %v; key %v, leading pictures %v", c.Seq, c.Independent, key, leading)
	}
	if lead[0].Flags&av.Key == 0 {
		switch c.Opened {
		case chunk.Wall, chunk.Bytes, chunk.MaxDur, chunk.MaxBytes, chunk.MaxFrames, chunk.Discont, chunk.Frames, chunk.Lead:
		default:
			k.Errorf("chunk %d begins without a key frame because of %v", c.Seq, c.Opened)
		}
	}
}

// end checks that nothing was lost but what is counted, which comes before the
// first key frame.
func (k *checker) end() {
	k.Helper()
	if len(k.open) > 0 {
		k.Errorf("%d chunks are open at the end", len(k.open))
	}
	lost := 0
	for n, times := range k.seen {
		if times > 0 {
			continue
		}
		lost++
		p := &k.s.Packets[n]
		for m := range n {
			if q := &k.s.Packets[m]; q.Track == p.Track && k.seen[m] > 0 {
				k.Errorf("packet %d of track %d is lost, %d before it is not", n, p.Track, m)
				break
			}
		}
	}
	st := k.c.Stats()
	if lost != st.DroppedLead+st.DroppedOther {
		k.Errorf("%d packets lost, %+v", lost, st)
	}
	if first := k.s.firstKey(); first >= 0 && st.DroppedLead > first {
		k.Errorf("%d lead packets dropped, the key frame is number %d", st.DroppedLead, first)
	}
}

// firstKey is how many lead packets come before the first key frame.
func (s *Stream) firstKey() int {
	n := 0
	for i := range s.Packets {
		if p := &s.Packets[i]; p.Track == 0 {
			if p.Flags&av.Key != 0 {
				return n
			}
			n++
		}
	}
	return -1
}

func (k *checker) release() {
	for _, c := range k.kept {
		c.Release()
	}
	k.kept = nil
}
