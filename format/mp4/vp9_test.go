package mp4_test

import (
	"bytes"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
)

// TestSizeOfVP9: its Config has no size, so the sample entry's is kept.
func TestSizeOfVP9(t *testing.T) {
	tr := av.Track{
		Kind: av.Video, Codec: av.VP9, Timebase: av.Timebase{Num: 1, Den: 25}, Config: []byte{0, 11, 0x82, 2, 2, 2, 0, 0}, Width: 320, Height: 180,
	}
	b, err := mp4.AppendInit(nil, &tr, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	frame := []byte{0x82, 0x49, 0x83, 0x42, 0, 0x13, 0xf0, 0x0b, 0x36}
	f := mp4.Fragment{Sequence: 1, TrackID: 1, Factor: 1, Packets: []av.Packet{{Dur: 1, Flags: av.Key, Data: frame}}}
	b = append(f.Append(b), frame...)
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	if l := avtest.ReadAll(t, d); len(l) != 1 || d.Tracks()[0].Width != 320 || d.Tracks()[0].Height != 180 {
		t.Errorf("%d sets of tracks, %+v", len(l), d.Tracks())
	}
}
