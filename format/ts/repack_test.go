package ts

import (
	"bytes"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/internal/nal"
)

// piece is where an access unit starts in an elementary stream.
type piece struct {
	at       int
	pts, dts int64
}

// elementary returns a track's elementary stream and where its units start.
func elementary(t *testing.T, g generation, track int) (es []byte, units []piece) {
	t.Helper()
	m, err := NewMuxer(g.tracks)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ofTrack(g, track) {
		units = append(units, piece{len(es), p.PTS, p.DTS})
		if k := &m.tracks[track]; k.lengths > 0 {
			es = appendAnnexB(es, k, p)
		} else {
			es = k.appendES(es, p)
		}
	}
	return es, units
}

// appendAnnexB appends an access unit as the muxer writes it.
func appendAnnexB(es []byte, t *muxTrack, p av.Packet) []byte {
	if p.Flags.Has(av.Key) {
		es = append(es, t.prefix...)
	} else {
		es = append(es, t.prefix[:t.aud]...)
	}
	list := nal.Split(p.Data, t.lengths)
	for u, ok := list.Next(); ok; u, ok = list.Next() {
		if !t.repeats(u) {
			es = append(append(es, 0, 0, 0, 1), u...)
		}
	}
	return es
}

// repack cuts an elementary stream into PES packets that end at cuts; the first
// unit that commences in each gives its times.
func repack(t *testing.T, tr av.Track, es []byte, units []piece, cuts []int) []byte {
	t.Helper()
	m, err := NewMuxer([]av.Track{tr})
	if err != nil {
		t.Fatal(err)
	}
	b := m.AppendHeader(nil)
	k := &m.tracks[0]
	from := 0
	for _, to := range append(cuts, len(es)) {
		for len(units) > 0 && units[0].at < from {
			units = units[1:]
		}
		head := []byte{0, 0, 1, k.streamID, 0, 0, 0x80, 0, 0}
		if len(units) > 0 && units[0].at < to {
			head = appendPESHeader(nil, k, 0, units[0].dts, units[0].pts)
			head[4], head[5] = 0, 0
		}
		b = appendPES(b, k, head, es[from:to], adaptation{pcr: -1})
		from = to
	}
	return b
}

// TestRepacked: access units that share PES packets, or cross them, come out
// the same.
func TestRepacked(t *testing.T) {
	for _, s := range samples {
		g := demux(t, sample(t, s.file))[0]
		for i, tr := range g.tracks {
			if tr.Codec == av.Opus {
				continue // stays inside its PES packet
			}
			es, units := elementary(t, g, i)
			one := make([]int, 0, len(units))
			three := make([]int, 0, len(units))
			for k, u := range units[1:] {
				one = append(one, u.at)
				if k%3 == 2 {
					three = append(three, u.at)
				}
			}
			var odd []int
			for at := 333; at < len(es); at += 773 {
				if bytes.HasPrefix(es[at-1:], []byte{0, 0, 0, 1}) {
					at++ // see cutPicture
				}
				odd = append(odd, at)
			}
			for name, cuts := range map[string][]int{"one": one, "three": three, "odd": odd} {
				t.Run(s.file+"/"+tr.Codec.String()+"/"+name, func(t *testing.T) {
					same(t, tr, ofTrack(g, i), demux(t, repack(t, tr, es, units, cuts))[0].packets)
				})
			}
		}
	}
}

func same(t *testing.T, tr av.Track, want, got []av.Packet) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i := range got {
		if !bytes.Equal(got[i].Data, want[i].Data) {
			t.Errorf("packet %d: %d bytes, want %d", i, len(got[i].Data), len(want[i].Data))
		}
		d := since(got[i].PTS, want[i].PTS)
		if max(d, -d) > 1 || tr.Kind == av.Video && d != 0 {
			t.Errorf("packet %d: PTS %d, want %d", i, got[i].PTS, want[i].PTS)
		}
		if i > 0 && since(got[i].DTS, got[i-1].DTS) <= 0 {
			t.Errorf("packet %d: DTS %d after %d", i, got[i].DTS, got[i-1].DTS)
		}
	}
}

// TestWithoutDTS: PES packets of reordered pictures that have PTS only get a
// DTS that rises and is not later than the PTS.
func TestWithoutDTS(t *testing.T) {
	derived(t, func(u *piece) { u.dts = u.pts })
}

// TestLateDTS: where DTS are later than PTS the PTS are kept, and DTS derived.
func TestLateDTS(t *testing.T) {
	g := demux(t, sample(t, "av.ts"))[0]
	_, units := elementary(t, g, 0)
	late := units[0].pts - units[0].dts // the first picture's are equal: nothing tells yet
	derived(t, func(u *piece) { u.dts += late })
}

func derived(t *testing.T, change func(u *piece)) {
	t.Helper()
	g := demux(t, sample(t, "av.ts"))[0]
	es, units := elementary(t, g, 0)
	var cuts []int
	for i := range units {
		change(&units[i])
		if i > 0 {
			cuts = append(cuts, units[i].at)
		}
	}
	want := ofTrack(g, 0)
	got := demux(t, repack(t, g.tracks[0], es, units, cuts))[0].packets
	if len(got) != len(want) {
		t.Fatalf("%d packets, want %d", len(got), len(want))
	}
	for i, p := range got {
		shift := want[0].DTS - got[0].DTS // of whole frames, by the depth that is known
		if p.PTS != want[i].PTS || p.DTS+shift != want[i].DTS || p.DTS > p.PTS || !p.Flags.Has(av.Derived) {
			t.Errorf("packet %d: PTS %d DTS %d flags %#x, want %d %d", i, p.PTS, p.DTS, p.Flags, want[i].PTS, want[i].DTS)
		}
	}
}
