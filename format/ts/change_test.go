package ts

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// TestChangeBetween: wherever another PMT lies, the picture that has begun belongs to the
// tracks before it, the next one to those after it, and none is lost or cut.
func TestChangeBetween(t *testing.T) {
	g := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 12, Timebase: av.Clock90k, FrameDur: 3600}}))[0]
	m, err := NewMuxer(g.Tracks)
	if err != nil {
		t.Fatal(err)
	}
	more, err := NewMuxer([]av.Track{g.Tracks[0], {Kind: av.Data, Codec: av.Private, Private: av.PrivateTS, Timebase: av.Clock90k, Config: []byte{6}}})
	if err != nil {
		t.Fatal(err)
	}
	tables, change := m.AppendHeader(nil), more.AppendHeader(nil)
	var all []byte
	for _, p := range g.Packets {
		all = m.AppendPacket(all, p, p.DTS+90000, p.PTS+90000)
	}
	var video []byte // without the tables that are repeated
	var begins []int // of its pictures, in packets
	for p := range slices.Chunk(all, packetSize) {
		if h, _ := parseHeader(p); h.pid != m.tracks[0].pid {
			continue
		} else if h.start {
			begins = append(begins, len(video)/packetSize)
		}
		video = append(video, p...)
	}
	for at := begins[2] + 1; at*packetSize < len(video); at++ {
		l := demux(t, slices.Concat(tables, video[:at*packetSize], change, video[at*packetSize:]))
		before, _ := slices.BinarySearch(begins, at)
		if len(l) != 2 || len(l[0].packets) != before {
			t.Fatalf("change at packet %d: %d sets, %d pictures in the first, want %d", at, len(l), len(l[0].packets), before)
		}
		for i, p := range slices.Concat(l[0].packets, l[1].packets) {
			if !bytes.Equal(p.Data, g.Packets[i].Data) || p.Flags.Has(av.Corrupt) {
				t.Errorf("change at packet %d: picture %d has %d bytes of %d, %v", at, i, len(p.Data), len(g.Packets[i].Data), p.Flags)
			}
		}
		if n := len(l[0].packets) + len(l[1].packets); n != len(g.Packets) {
			t.Errorf("change at packet %d: %d pictures of %d", at, n, len(g.Packets))
		}
	}
}
