package ts

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// TestRoundTrip: what is read, written and read again is the same, and what is
// written keeps the rules.
func TestRoundTrip(t *testing.T) {
	for _, name := range mediaFiles {
		t.Run(name, func(t *testing.T) {
			for _, g := range demux(t, media(t, name)) {
				g.packets = fromFirstKey(g)
				segments := write(t, g)
				if name != "ts/h264_cut_packet_60s.ts" && name != "ts/timestamp_jump_back.ts" {
					c := newChecker(t, name)
					for _, s := range segments {
						c.segment(s, false)
					}
				}
				compare(t, g, demux(t, slices.Concat(segments...)))
			}
		})
	}
}

// fromFirstKey drops video packets before the first key frame: segments start with one.
func fromFirstKey(g generation) []av.Packet {
	seen := make([]bool, len(g.tracks))
	var l []av.Packet
	for _, p := range g.packets {
		seen[p.Track] = seen[p.Track] || p.Flags.Has(av.Key) || g.tracks[p.Track].Kind != av.Video
		if seen[p.Track] {
			l = append(l, p)
		}
	}
	return l
}

// compare checks that got is want.
func compare(t *testing.T, want generation, got []generation) {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d generations of tracks, want 1", len(got))
	}
	if len(got[0].tracks) != len(want.tracks) {
		t.Fatalf("%d tracks, want %d", len(got[0].tracks), len(want.tracks))
	}
	for i, w := range want.tracks {
		g := got[0].tracks[i]
		if g.Kind != w.Kind || g.Codec != w.Codec || !bytes.Equal(g.Config, w.Config) || g.Language != w.Language {
			t.Errorf("track %d is %v, want %v", i, g, w)
		}
		a, b := ofTrack(got[0], i), ofTrack(want, i)
		if len(a) != len(b) {
			t.Errorf("track %d: %d packets, want %d", i, len(a), len(b))
			continue
		}
		for k := range a {
			comparePacket(t, w, a[k], b[k])
		}
	}
}

func comparePacket(t *testing.T, tr av.Track, g, w av.Packet) {
	t.Helper()
	const keep = av.Key | av.Open | av.Gradual | av.Leading | av.Disposable
	sections := tr.Codec == av.Private && inSections(tr.Config[0])
	if !sections && (g.PTS != w.PTS || g.DTS != w.DTS) {
		t.Errorf("track %d: PTS %d DTS %d, want %d %d", w.Track, g.PTS, g.DTS, w.PTS, w.DTS)
	}
	if g.Flags&keep != w.Flags&keep {
		t.Errorf("track %d: PTS %d: flags %#x, want %#x", w.Track, w.PTS, g.Flags, w.Flags)
	}
	if !bytes.Equal(g.Data, w.Data) {
		t.Errorf("track %d: PTS %d: %d bytes differ from %d", w.Track, w.PTS, len(g.Data), len(w.Data))
	}
}

func ofTrack(g generation, i int) []av.Packet {
	var l []av.Packet
	for _, p := range g.packets {
		if p.Track == i {
			l = append(l, p)
		}
	}
	return l
}

// TestSegmentsAlone: segments that are each made by a Muxer of its own, as a server makes
// them when they are asked for, are one stream: the counters of all PIDs go on.
func TestSegmentsAlone(t *testing.T) {
	for _, name := range mediaFiles {
		switch name {
		case "ts/h264_cut_packet_60s.ts", "ts/timestamp_jump_back.ts", "ts/hevc_aac_obs.ts": // silence of a few bytes a frame cannot be spread
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, g := range demux(t, media(t, name)) {
				g.packets = fromFirstKey(g)
				var segments [][]byte
				for _, packets := range splitAtKeys(g) {
					segments = append(segments, writeAlone(t, g.tracks, packets))
				}
				c := newChecker(t, name)
				for _, s := range segments {
					c.havePCR, c.psiSeen = false, false // intervals are kept in a segment
					c.segment(s, false)
				}
				compare(t, g, demux(t, slices.Concat(segments...)))
			}
		})
	}
}

// splitAtKeys splits the packets of g at key frames of the lead track, if it is video.
func splitAtKeys(g generation) (list [][]av.Packet) {
	lead := leadOf(g.tracks)
	for _, p := range g.packets {
		if len(list) == 0 || p.Track == lead && g.tracks[lead].Kind == av.Video && p.Flags.Has(av.Key) {
			list = append(list, nil)
		}
		list[len(list)-1] = append(list[len(list)-1], p)
	}
	return list
}

func writeAlone(t *testing.T, tracks []av.Track, packets []av.Packet) []byte {
	t.Helper()
	m, err := NewMuxer(tracks)
	if err != nil {
		t.Fatal(err)
	}
	of := make([][]av.Packet, len(tracks))
	for _, p := range packets {
		of[p.Track] = append(of[p.Track], p)
	}
	n := make([]int, len(tracks))
	seg := m.AppendHeader(nil)
	for _, p := range packets {
		if at, after := Last(of[p.Track]); at == n[p.Track] {
			seg = m.AppendLast(seg, p, p.DTS, p.PTS, after)
		} else {
			seg = m.AppendPacket(seg, p, p.DTS, p.PTS)
		}
		n[p.Track]++
	}
	return m.AppendEnd(seg)
}
