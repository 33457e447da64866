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

// TestChangeEveryPicture: what is put aside while the picture before a change ends costs
// no memory for each change.
func TestChangeEveryPicture(t *testing.T) {
	for _, size := range []int{100, 2000} {
		g := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 700, Size: size, KeySize: size, Timebase: av.Clock90k, FrameDur: 3600}}))[0]
		m, err := NewMuxer(g.Tracks)
		if err != nil {
			t.Fatal(err)
		}
		more, err := NewMuxer([]av.Track{g.Tracks[0], {Kind: av.Data, Codec: av.Private, Private: av.PrivateTS, Timebase: av.Clock90k, Config: []byte{6}}})
		if err != nil {
			t.Fatal(err)
		}
		tables := [][]byte{m.AppendHeader(nil), more.AppendHeader(nil)}
		b := slices.Clone(tables[0])
		for i, p := range g.Packets {
			b = m.AppendPacket(b, p, p.DTS+90000, p.PTS+90000)
			b = append(b, tables[i%2]...)
		}
		sets, pictures := 0, 0
		for _, x := range demux(t, b) {
			sets, pictures = sets+1, pictures+len(x.packets)
		}
		if sets < len(g.Packets)/2 || pictures != len(g.Packets) {
			t.Errorf("%d sets of tracks, %d pictures of %d", sets, pictures, len(g.Packets))
		}
		if n := allocated(b); n > 2*len(b)+1<<20 {
			t.Errorf("%d bytes allocated for %d", n, len(b))
		}
	}
}
