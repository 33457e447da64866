package pack_test

import (
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/chunk"
	"github.com/cleave-video/cleave/mem"
	"github.com/cleave-video/cleave/pack"
)

// TestManyPackets: a part of very many packets takes time in proportion to them, and is as
// long as any other.
func TestManyPackets(t *testing.T) {
	const rate = 1_000_000 // packets a second
	pool := mem.NewPool(0)
	blocks := pool.NewFailingArena()
	k := pack.NewPackager(pack.PackagerConfig{Blocks: blocks, Target: 500 * time.Millisecond})
	tracks := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{Audio: avtest.Audio{Frames: 1}}))[0].Tracks
	tracks[0].Timebase = av.Timebase{Num: 1, Den: rate}
	if err := k.SetTracks(tracks); err != nil {
		t.Fatal(err)
	}
	to := &chunk.Chunk{Tracks: tracks, Runs: make([][]av.Packet, 1)}
	var lengths []int64
	take := func(parts []pack.Part, err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			lengths = append(lengths, p.Dur)
			p.Block.Release()
		}
	}
	for i := range int64(rate + 10) {
		take(k.Write(av.Packet{DTS: i, PTS: i, Dur: 1, Flags: av.Key, Data: []byte{1}}, to))
	}
	take(k.Close(to))
	sum := int64(0)
	for i, l := range lengths {
		sum += l
		if i < len(lengths)-1 && (l < rate/2 || l > rate/2+rate/16) {
			t.Errorf("part %d lasts %d", i, l)
		}
	}
	if sum != rate+10 {
		t.Errorf("%d parts of %d in all", len(lengths), sum)
	}
	blocks.Close()
	if pool.InUse() != 0 {
		t.Errorf("%d bytes are left", pool.InUse())
	}
	pool.Close()
}
