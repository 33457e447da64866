package rtp

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/internal/nal"
)

// TestRoundTrip: what a Packetizer makes an Assembler reads: the same frames at the same
// presentation times, an hour later, key frames with their parameter sets.
func TestRoundTrip(t *testing.T) {
	l := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{
		Video: avtest.Video{Frames: 120, GOPs: []int{30}, B: 2, Size: 4000, KeySize: 9000, Timebase: av.Timebase{Num: 1, Den: 25}},
		Audio: avtest.Audio{Frames: 200},
	}))
	var makers []*Packetizer
	var formats []format.Format
	for i := range l[0].Tracks {
		k, err := NewPacketizer(&l[0].Tracks[i], uint8(96+i))
		if err != nil {
			t.Fatal(err)
		}
		makers, formats = append(makers, k), append(formats, k.Format)
	}
	a, err := NewAssembler(formats)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1000, 0)
	var got []av.Packet
	for i := range l[0].Packets {
		p := &l[0].Packets[i]
		list, err := makers[p.Track].Packetize(p, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for n, r := range list {
			if r.Marker != (n == len(list)-1) {
				t.Fatalf("packet %d of %d: marker %v", n, len(list), r.Marker)
			}
			if r.MarshalSize() > 1472 {
				t.Fatalf("%d bytes do not fit a datagram", r.MarshalSize())
			}
			a.Packet(p.Track, r, start.Add(l[0].Tracks[p.Track].Timebase.Duration(p.DTS)))
		}
		more, _ := drain(t, a)
		got = append(got, more...)
	}
	a.Finish()
	more, _ := drain(t, a)
	got = append(got, more...)
	for track := range l[0].Tracks {
		compareTrack(t, track, l[0].Tracks[track].Timebase, a.Tracks()[track].Timebase, of(l[0].Packets, track), of(got, track))
	}
}

func of(list []av.Packet, track int) (out []av.Packet) {
	for _, p := range list {
		if p.Track == track {
			out = append(out, p)
		}
	}
	return out
}

func compareTrack(t *testing.T, track int, from, to av.Timebase, want, got []av.Packet) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("track %d: %d packets of %d", track, len(got), len(want))
	}
	for i := range want {
		w, g := &want[i], &got[i]
		if d, e := g.PTS-got[0].PTS, from.Rescale(w.PTS-want[0].PTS, to); d != e {
			t.Fatalf("track %d packet %d: %d ticks after the first, want %d", track, i, d, e)
		}
		if track == 0 && w.Flags.Has(av.Key) != g.Flags.Has(av.Key) {
			t.Errorf("packet %d: %v, want %v", i, g.Flags, w.Flags)
		}
		if data := w.Data; track != 0 && !bytes.Equal(data, g.Data) || track == 0 && !bytes.Equal(pictureSlices(data), pictureSlices(g.Data)) {
			t.Fatalf("track %d packet %d differs", track, i)
		}
	}
}

// pictureSlices is the NAL units of an H.264 access unit's pictures, joined.
func pictureSlices(au []byte) (out []byte) {
	for units := nal.Split(au, 4); ; {
		u, ok := units.Next()
		if !ok {
			return out
		}
		if kind := u[0] & 0x1F; kind >= 1 && kind <= 5 {
			out = append(out, u...)
		}
	}
}

// TestNoFormat: a codec that RTP does not carry here is said to be so.
func TestNoFormat(t *testing.T) {
	if _, err := NewPacketizer(&av.Track{Kind: av.Audio, Codec: av.EAC3, Timebase: av.Clock90k}, 96); !errors.Is(err, av.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := NewPacketizer(&av.Track{Kind: av.Video, Codec: av.H264, Timebase: av.Clock90k, Config: []byte{1, 2}}, 96); !errors.Is(err, av.ErrTruncated) {
		t.Error(err)
	}
}
