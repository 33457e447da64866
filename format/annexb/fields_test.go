package annexb

import (
	"bytes"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// unit writes a NAL unit: pairs of a value and its bits; 0 bits is Exp-Golomb.
func unit(head byte, fields ...uint64) []byte {
	bits := ""
	put := func(v uint64, n int) {
		for n--; n >= 0; n-- {
			bits += string('0' + byte(v>>n&1))
		}
	}
	for i := 0; i < len(fields); i += 2 {
		v, n := fields[i], int(fields[i+1])
		if n > 0 {
			put(v, n)
			continue
		}
		for n = 1; (v+1)>>n > 0; n++ {
		}
		put(0, n-1)
		put(v+1, n)
	}
	put(1, 1)
	for len(bits)%8 != 0 {
		put(0, 1)
	}
	b := []byte{0, 0, 0, 1, head}
	for i := 0; i < len(bits); i += 8 {
		c := byte(0)
		for _, d := range bits[i : i+8] {
			c = c<<1 | byte(d-'0')
		}
		b = append(b, c)
	}
	return b
}

// fieldSets are parameter sets of a Main profile stream that may have fields, with
// a picture order count of type 0, 4 bits of frame_num and 8 of the count, and
// one frame of reordering, at 25 frames a second.
func fieldSets() []byte {
	sps := unit(0x67, 77, 8, 0, 8, 30, 8, 0, 0, 0, 0, 0, 0, 4, 0, 2, 0, 0, 1, 44, 0, 17, 0, 0, 1, 0, 1, 1, 1, 0, 1,
		1, 1, // VUI
		0, 4, 1, 1, 1, 32, 50, 32, 1, 1, 0, 3, // timing
		1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0) // restriction
	pps := unit(0x68, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3)
	return append(sps, pps...)
}

// picture returns a slice: of a frame if bottom is negative.
func slicePicture(head byte, frameNum, poc uint64, bottom int) []byte {
	f := []uint64{0, 0, 7, 0, 0, 0, frameNum, 4}
	switch {
	case bottom < 0:
		f = append(f, 0, 1)
	default:
		f = append(f, 1, 1, uint64(bottom), 1)
	}
	if head&0x1f == 5 {
		f = append(f, 0, 0)
	}
	f = append(f, poc, 8, 0x5a5a5a, 24)
	return unit(head, f...)
}

// TestFields: each field is a picture of half a frame's length, between frames
// and in output order.
func TestFields(t *testing.T) {
	b := fieldSets()
	for _, p := range []struct {
		head          byte
		frameNum, poc uint64
		bottom        int
	}{
		{0x65, 0, 0, 0},
		{0x41, 0, 1, 1}, // I and P field of one frame
		{0x41, 1, 6, 0},
		{0x41, 1, 7, 1}, // shown behind the next
		{0x01, 2, 2, 0},
		{0x01, 2, 3, 1},
		{0x01, 2, 4, -1}, // a frame
		{0x41, 2, 8, -1},
	} {
		b = append(b, slicePicture(p.head, p.frameNum, p.poc, p.bottom)...)
	}
	l := avtest.ReadAll(t, NewDemuxer(bytes.NewReader(b), av.H264))
	if len(l) != 1 || l[0].Tracks[0].Timebase != (av.Timebase{Num: 1, Den: 50}) {
		t.Fatalf("%d generations, timebase %v", len(l), l[0].Tracks[0].Timebase)
	}
	want := []struct{ dts, pts, dur int64 }{
		{0, 2, 1}, {1, 3, 1}, {2, 8, 1}, {3, 9, 1}, {4, 4, 1}, {5, 5, 1}, {6, 6, 2}, {8, 10, 2},
	}
	if len(l[0].Packets) != len(want) {
		t.Fatalf("%d pictures, want %d", len(l[0].Packets), len(want))
	}
	for i, p := range l[0].Packets {
		if w := want[i]; p.DTS != w.dts || p.PTS != w.pts || p.Dur != w.dur {
			t.Errorf("picture %d: DTS %d PTS %d duration %d, want %v", i, p.DTS, p.PTS, p.Dur, w)
		}
	}
}

// TestFirstField: a field in a stream whose configuration does not allow it makes
// a timebase that has a tick for it.
func TestFirstField(t *testing.T) {
	b, _ := synthetic(t, avtest.Video{Frames: 4})
	b = append(append(b, fieldSets()...), slicePicture(0x41, 5, 40, 0)...)
	b = append(b, slicePicture(0x41, 5, 41, 1)...)
	l := avtest.ReadAll(t, NewDemuxer(bytes.NewReader(b), av.H264))
	if len(l) != 2 || len(l[1].Packets) != 2 || l[1].Tracks[0].Timebase != (av.Timebase{Num: 1, Den: 50}) {
		t.Fatalf("%d generations", len(l))
	}
	if p := l[1].Packets; p[0].DTS != 8 || p[1].DTS != 9 {
		t.Errorf("DTS %d and %d, want 8 and 9", p[0].DTS, p[1].DTS)
	}
}
