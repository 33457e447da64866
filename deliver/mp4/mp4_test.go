package mp4

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/Eyevinn/mp4ff/bits"
	mp4ff "github.com/Eyevinn/mp4ff/mp4"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
)

// rendered is a synthetic stream as one of its viewers has it, and what was sent.
func rendered(t *testing.T, offset time.Duration) ([]byte, []av.Packet) {
	t.Helper()
	d := avtest.NewSynthetic(avtest.Spec{
		Video: avtest.Video{Frames: 100, Size: 700, Timebase: av.Timebase{Num: 1, Den: 30}, FrameDur: 1, B: 2},
		Audio: avtest.Audio{Frames: 200},
	})
	l := avtest.ReadAll(t, d)
	tracks := append([]av.Track{{Kind: av.Data, Codec: av.Private, Timebase: av.Clock90k}}, l[0].Tracks...)
	r := Format().New()
	if err := r.Begin(tracks, offset); err != nil {
		t.Fatal(err)
	}
	out := r.Header(nil, true)
	for i := range l[0].Packets {
		p := l[0].Packets[i]
		p.Track++
		if i%3 == 0 {
			p.Dur = 0 // not known yet
		}
		out = r.Append(out, &p)
		out = r.Append(out, &av.Packet{Track: 0, DTS: 5, PTS: 5, Data: []byte("of a track that is left out")})
	}
	return out, l[0].Packets
}

// TestRoundTrip: what is read back is what was sent, with the offset on every time; the
// track that MP4 cannot carry is left out.
func TestRoundTrip(t *testing.T) {
	for _, offset := range []time.Duration{0, 3600 * time.Second} {
		b, sent := rendered(t, offset)
		l := avtest.ReadAll(t, mp4.NewStream(bytes.NewReader(b)))
		if len(l) != 1 || len(l[0].Tracks) != 2 {
			t.Fatal(l)
		}
		if l[0].Tracks[0].ID != 2 || l[0].Tracks[1].ID != 3 {
			t.Errorf("track IDs %d and %d", l[0].Tracks[0].ID, l[0].Tracks[1].ID)
		}
		got := l[0].Packets
		if len(got) != len(sent) {
			t.Fatalf("%d packets of %d", len(got), len(sent))
		}
		var next [2]int
		of := func(list []av.Packet, track int) (r []av.Packet) {
			for _, p := range list {
				if p.Track == track {
					r = append(r, p)
				}
			}
			return r
		}
		for track := range next {
			tb := l[0].Tracks[track].Timebase
			shift := tb.Ticks(offset)
			sent, got := of(sent, track), of(got, track)
			for i := range sent {
				s, g := &sent[i], &got[i]
				if g.DTS != s.DTS+shift || g.PTS != s.PTS+shift || g.Dur != s.Dur || g.Flags.Has(av.Key) != s.Flags.Has(av.Key) || !bytes.Equal(g.Data, s.Data) {
					t.Fatalf("track %d packet %d: %v, want %v shifted by %d", track, i, g, s, shift)
				}
			}
		}
	}
}

// TestOthersRead: mp4ff finds a file with two tracks and a fragment for each frame, whose
// numbers rise.
func TestOthersRead(t *testing.T) {
	b, sent := rendered(t, time.Hour)
	f, err := mp4ff.DecodeFileSR(bits.NewFixedSliceReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.Init.Moov.Traks); n != 2 || len(f.Init.Moov.Mvex.Trexs) != 2 {
		t.Errorf("%d tracks, %d of them with fragments", n, len(f.Init.Moov.Mvex.Trexs))
	}
	var number uint32
	for _, s := range f.Segments {
		for _, fragment := range s.Fragments {
			if number++; fragment.Moof.Mfhd.SequenceNumber != number {
				t.Fatalf("fragment %d has the number %d", number, fragment.Moof.Mfhd.SequenceNumber)
			}
		}
	}
	if int(number) != len(sent) {
		t.Errorf("%d fragments of %d frames", number, len(sent))
	}
}

func TestNothingToCarry(t *testing.T) {
	err := Format().New().Begin([]av.Track{{Kind: av.Data, Codec: av.Private, Timebase: av.Clock90k}}, 0)
	if !errors.Is(err, av.ErrUnsupported) {
		t.Error(err)
	}
}

// TestTracksChange: who reads on has the new tracks' movie before their frames.
func TestTracksChange(t *testing.T) {
	l := avtest.ReadAll(t, avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 3}, Audio: avtest.Audio{Frames: 3}}))
	r := Format().New()
	for _, tracks := range [][]av.Track{l[0].Tracks, l[0].Tracks[:1]} {
		if err := r.Begin(tracks, 0); err != nil {
			t.Fatal(err)
		}
		f, err := mp4ff.DecodeFileSR(bits.NewFixedSliceReader(r.Header(nil, false)))
		if err != nil || len(f.Init.Moov.Traks) != len(tracks) {
			t.Errorf("%d tracks of %d, %v", len(f.Init.Moov.Traks), len(tracks), err)
		}
	}
}
