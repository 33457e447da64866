package live

import (
	"testing"
	"testing/synctest"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/chunk"
)

// TestTinyPacketsInRing: packets of a byte leave the ring for what they cost, which the
// budget of the stream sees.
func TestTinyPacketsInRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 4 << 20
		src := newSource(t, 1<<20, most)
		defer src.close()
		src.size = 1
		peak := int64(0)
		for range 400 {
			src.write(1000) // in no time, and without history to be late for
			peak = max(peak, src.pool.InUse())
		}
		r := src.s.ring
		if kept := r.packets() - r.gops[0].before; kept*chunk.PacketCost > most+maxEntryPackets*chunk.PacketCost {
			t.Errorf("%d packets are kept", kept)
		}
		if peak < most/4 || peak > 2*most {
			t.Errorf("%d bytes in use at most", peak)
		}
		if n := int64(cap(*r.head.Load().list.Load())) * packetSize; n > src.pool.InUse() {
			t.Errorf("a list of %d bytes, and %d in use", n, src.pool.InUse())
		}
	})
}

// TestLongGOPOfTinyPackets: the same of one GOP that does not end.
func TestLongGOPOfTinyPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, 1<<20, 4<<20)
		defer src.close()
		src.write(1)
		for n := range int64(200_000) {
			b, err := src.arena.Alloc(1, 1)
			if err != nil {
				t.Fatal(err)
			}
			src.set.tracks = []av.Track{src.set.tracks[0], {Kind: av.Audio, Codec: av.AAC, Timebase: av.Clock90k}}
			src.s.ring.write(av.Packet{Track: 1, DTS: n, PTS: n, Data: b, Flags: av.Key}, src.set, false)
		}
		if n := src.pool.InUse(); n > 8<<20 {
			t.Errorf("%d bytes in use", n)
		}
	})
}
