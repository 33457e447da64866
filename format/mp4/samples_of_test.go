package mp4

import (
	"bytes"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

func madeFragment() (b []byte, packets []av.Packet) {
	packets = []av.Packet{
		{DTS: 100, PTS: 106, Dur: 3, Flags: av.Key, Data: []byte("first one")},
		{DTS: 103, PTS: 103, Dur: 3, Data: []byte("b")},
		{DTS: 106, PTS: 112, Dur: 4, Flags: av.Key, Data: []byte("another")},
	}
	f := Fragment{Sequence: 7, TrackID: 2, Factor: 2, Offset: 50, Packets: packets}
	b = f.Append(nil)
	for i := range packets {
		b = append(b, packets[i].Data...)
	}
	return b, packets
}

// What Fragment writes AppendSamples reads.
func TestAppendSamples(t *testing.T) {
	b, packets := madeFragment()
	styp := AppendSegmentType(nil)
	off, size := MoofSize(append(styp, b...))
	if off != int64(len(styp)) || size <= 0 || size >= int64(len(b)) {
		t.Fatalf("moof at %d, of %d", off, size)
	}
	got, id, err := AppendSamples(nil, b[:size], int64(len(b)))
	if err != nil || id != 2 || len(got) != len(packets) {
		t.Fatalf("%d samples of track %d: %v", len(got), id, err)
	}
	for i, s := range got {
		p := &packets[i]
		if s.DTS != p.DTS*2+50 || s.PTS != p.PTS*2+50 || s.Dur != p.Dur*2 || s.Sync != p.Flags.Has(av.Key) || !bytes.Equal(b[s.Offset:s.Offset+s.Size], p.Data) {
			t.Errorf("sample %d: %+v", i, s)
		}
	}
	if _, _, err := AppendSamples(nil, b[:size], int64(len(b))-1); err == nil {
		t.Error("a sample beyond the end was taken")
	}
	avtest.Prefixes(t, b[:size], func(b []byte) {
		if _, _, err := AppendSamples(nil, b, 1<<20); err == nil && int64(len(b)) < size {
			t.Errorf("%d bytes of a moof were taken", len(b))
		}
	})
}

func FuzzAppendSamples(f *testing.F) {
	b, _ := madeFragment()
	f.Add(b)
	f.Add(append(AppendSegmentType(nil), b...))
	f.Fuzz(func(t *testing.T, b []byte) {
		off, size := MoofSize(b)
		if size == 0 || off+size > int64(len(b)) {
			return
		}
		total := int64(len(b)) - off
		list, _, _ := AppendSamples(nil, b[off:off+size], total)
		for _, s := range list {
			if s.Offset < 0 || s.Size < 0 || s.Offset+s.Size > total {
				t.Fatalf("%+v of %d bytes", s, total)
			}
		}
	})
}
