package mp4

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// recorded are the tracks and packets of a synthetic stream, with B pictures.
func recorded(t testing.TB) ([]av.Track, [][]av.Packet) {
	t.Helper()
	d := avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 60, B: 2, GOPs: []int{20}, Timebase: av.Timebase{Num: 1, Den: 30000}, FrameDur: 1001}, Audio: avtest.Audio{Frames: 90}})
	defer d.Close()
	lists := make([][]av.Packet, 2)
	for {
		p, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, av.ErrTracks) {
			continue
		}
		if err != nil {
			return d.Tracks(), lists
		}
		if p.Dur == 0 {
			p.Dur = 1001
		}
		lists[p.Track] = append(lists[p.Track], p)
	}
}

// fragment renders packets as a file that begins at 100 s.
func fragment(packets []av.Packet, scale int64) []byte {
	f := Fragment{Sequence: 9, TrackID: 7, Factor: 1, Offset: 100 * scale, Packets: packets}
	b := f.Append(nil)
	for i := range packets {
		b = append(b, packets[i].Data...)
	}
	return b
}

// timed is what must come back of a packet.
type timed struct {
	track    int
	dts, pts int64
	size     int
}

func readAll(t *testing.T, b []byte) (out []timed) {
	t.Helper()
	d := New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	for {
		p, err := d.ReadPacket(av.Heap{})
		if errors.Is(err, av.ErrTracks) {
			continue
		}
		if err != nil {
			return out
		}
		out = append(out, timed{p.Track, p.DTS, p.PTS, len(p.Data)})
	}
}

func byTrack(list []timed, track int) []timed {
	return slices.DeleteFunc(slices.Clone(list), func(x timed) bool { return x.track != track })
}

// TestRecording: fragments that were made for a section of their own are played from
// another file, with the times that Retime gives them.
func TestRecording(t *testing.T) {
	tracks, lists := recorded(t)
	delay := lists[0][0].PTS - lists[0][0].DTS
	b, err := AppendRecording(nil, []Recorded{{1, tracks[:1], delay}, {2, []av.Track{tracks[1], tracks[1]}, 0}})
	if err != nil {
		t.Fatal(err)
	}
	for i, scale := range []int64{30000, 48000} {
		f := fragment(lists[i], scale)
		_, n := MoofSize(f)
		shift := -100*scale - lists[i][0].PTS
		if i == 0 {
			shift += delay
		}
		if err := Retime(f[:n], Retimed{Sequence: uint32(i), TrackID: uint32(i + 1), Description: uint32(i + 1), Shift: shift}); err != nil {
			t.Fatal(err)
		}
		b = append(b, f...)
	}
	got := readAll(t, b)
	for i := range lists {
		list := byTrack(got, i)
		if len(list) != len(lists[i]) {
			t.Fatalf("track %d: %d of %d packets", i, len(list), len(lists[i]))
		}
		for k, p := range lists[i] {
			first := lists[i][0].PTS
			if want := (timed{i, p.DTS - first, p.PTS - first, len(p.Data)}); list[k] != want {
				t.Fatalf("track %d, packet %d: %+v, want %+v", i, k, list[k], want)
			}
		}
	}
	f := fragment(lists[0], 30000)
	if err := Retime(f, Retimed{Shift: -1 << 40}); !errors.Is(err, av.ErrInvalid) {
		t.Error("a time before 0:", err)
	}
	if _, err := AppendRecording(nil, []Recorded{{1, []av.Track{{Kind: av.Data, Timebase: av.Millisecond}}, 0}}); !errors.Is(err, av.ErrUnsupported) {
		t.Error("data:", err)
	}
}

// TestLaid: a file whose moov has all samples shows those of the range, and hides what is
// decoded before.
func TestLaid(t *testing.T) {
	tracks, lists := recorded(t)
	var media []byte
	tables := make([]Table, 2)
	for i, scale := range []int64{30000, 48000} {
		for half := range 2 {
			n := len(lists[i]) / 2
			b := fragment(lists[i][half*n:][:n], scale)
			list, _, err := AppendSamples(nil, b[:len(b)-sum(lists[i][half*n:][:n])-8], int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list {
				s.Offset += int64(len(media))
				tables[i].Add(s, 1)
			}
			media = append(media, b...)
		}
	}
	at := func(i int, scale int64) int64 { return lists[i][0].DTS + 100*scale }
	shown := lists[0][0].PTS + 100*30000 + 5*1001
	laid := []Laid{{1, tracks[:1], &tables[0], at(0, 30000), shown}, {2, tracks[1:], &tables[1], at(1, 48000), at(1, 48000) + 8000}}
	b, err := AppendLaid([]byte("before")[:0], laid, 30000, 30*1001, int64(len(media)))
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, media...)
	got := readAll(t, b)
	for i := range lists {
		list := byTrack(got, i)
		n := len(lists[i]) / 2 * 2
		if len(list) != n {
			t.Fatalf("track %d: %d of %d packets", i, len(list), n)
		}
		base := shown - 100*30000
		if i == 1 {
			base = lists[1][0].DTS + 8000
		}
		for k, p := range lists[i][:n] {
			if want := (timed{i, p.DTS - base, p.PTS - base, len(p.Data)}); list[k] != want {
				t.Fatalf("track %d, packet %d: %+v, want %+v", i, k, list[k], want)
			}
		}
	}
	top, err := Tree(b, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := First(top, "moov").First("trak", "mdia", "minf", "stbl", "stss"); n == nil || len(n.Body) != 8+3*4 {
		t.Error("not three key frames:", n)
	}
}

func sum(list []av.Packet) (n int) {
	for i := range list {
		n += len(list[i].Data)
	}
	return n
}

// FuzzRetime: it changes what is there and nothing else, whatever that is.
func FuzzRetime(f *testing.F) {
	_, lists := recorded(f)
	b := fragment(lists[0][:5], 30000)
	_, n := MoofSize(b)
	for k := range int(n) + 1 {
		if _, err := retimed(b[:k]); (err == nil) != (k == int(n)) {
			f.Errorf("the first %d bytes: %v", k, err)
		}
	}
	f.Add(b[:n])
	f.Add(b[:40])
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := retimed(b)
		if len(out) != len(b) {
			t.Errorf("%d bytes became %d", len(b), len(out))
		}
		var e *av.Error
		if err != nil && !errors.As(err, &e) {
			t.Errorf("%T", err)
		}
	})
}

func retimed(b []byte) ([]byte, error) {
	out := slices.Clone(b)
	return out, Retime(out, Retimed{Sequence: 1, TrackID: 2, Description: 3, Shift: 4})
}
