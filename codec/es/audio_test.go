package es

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// toy is a coding for tests: 0xff, size of the frame, rate/1000, and as many
// bytes as are missing.
type toy struct{}

func (toy) Name() string { return "toy" }
func (toy) HeadLen() int { return 3 }

func (toy) Parse(b []byte) (Frame, error) {
	switch {
	case b[0] != 0xff || b[1] < 4 || b[2] == 0:
		return Frame{}, fmt.Errorf("toy: %w", av.ErrInvalid)
	case b[1] == 5:
		return Frame{}, fmt.Errorf("toy: %w", av.ErrUnsupported)
	}
	return Frame{Size: int(b[1]), Header: 3, Samples: 100, Rate: 1000 * int(b[2]), Sig: uint32(b[2])}, nil
}

func (toy) Config(frame []byte) (av.Codec, []byte) { return av.MP3, []byte{frame[2]} }

func (toy) Drop(frame []byte, first bool) (string, bool) {
	if frame[3] == 'D' {
		return "frames marked D dropped", true
	}
	return "", first && frame[3] == 'X'
}

// frames returns n frames of a rate.
func frames(n, size int, rate byte) []byte {
	return bytes.Repeat(append([]byte{0xff, byte(size), rate}, bytes.Repeat([]byte{'a'}, size-3)...), n)
}

func id3v2(n int) []byte {
	b := []byte{'I', 'D', '3', 4, 0, 0, byte(n >> 21 & 0x7f), byte(n >> 14 & 0x7f), byte(n >> 7 & 0x7f), byte(n & 0x7f)}
	return append(b, bytes.Repeat([]byte{0xff}, n)...)
}

func ape(n int, header bool) []byte {
	b := append([]byte("APETAGEX"), make([]byte, 24)...)
	binary.LittleEndian.PutUint32(b[12:], uint32(n))
	if header {
		binary.LittleEndian.PutUint32(b[20:], 1<<29)
	}
	return append(b, make([]byte, n)...)
}

func join(l ...[]byte) []byte { return bytes.Join(l, nil) }

func TestAudio(t *testing.T) {
	f := frames(3, 10, 8)
	footer := id3v2(20)
	footer[5] = 0x10
	footer = append(footer, make([]byte, 10)...)
	for name, test := range map[string]struct {
		in      []byte
		packets []int // in each generation
		discont int   // index of the packet with Discont, -1 none
		warn    string
		err     error
	}{
		"plain":           {f, []int{3}, -1, "", io.EOF},
		"one frame":       {f[:10], []int{1}, -1, "", io.EOF},
		"ID3v2 in front":  {join(id3v2(300), f), []int{3}, -1, "", io.EOF},
		"ID3v2 long":      {join(id3v2(300000), f), []int{3}, -1, "", io.EOF},
		"ID3v2 footer":    {join(footer, f), []int{3}, -1, "", io.EOF},
		"two ID3v2":       {join(id3v2(3), id3v2(4), f), []int{3}, -1, "", io.EOF},
		"ID3v2 between":   {join(f, id3v2(5), f), []int{6}, -1, "", io.EOF},
		"tags behind":     {join(f, ape(0, false), []byte("TAG"), make([]byte, 125)), []int{3}, -1, "", io.EOF},
		"APE in front":    {join(ape(40, true), f), []int{3}, -1, "", io.EOF},
		"TAG+":            {join(f, []byte("TAG+"), make([]byte, 223), []byte("TAG"), make([]byte, 125)), []int{3}, -1, "", io.EOF},
		"junk in front":   {join([]byte("junk"), f), []int{3}, -1, "4 bytes between frames", io.EOF},
		"junk between":    {join(f, []byte{1, 2, 0xff, 3}, f), []int{6}, 3, "4 bytes between frames", io.EOF},
		"false frame":     {join(f, []byte{1, 0xff, 9, 7, 1}, f), []int{6}, 3, "5 bytes between frames", io.EOF},
		"cut":             {f[:25], []int{2}, -1, "5 bytes of an incomplete frame", io.EOF},
		"cut head":        {f[:22], []int{2}, -1, "2 bytes of an incomplete frame", io.EOF},
		"other rate":      {join(f, frames(4, 12, 16)), []int{3, 4}, -1, "", io.EOF},
		"one other frame": {join(f, frames(1, 12, 16), f), []int{6}, 3, "12 bytes between frames", io.EOF},
		"other at end":    {join(f, frames(1, 12, 16)), []int{3, 1}, -1, "", io.EOF},
		"dropped":         {join(f, []byte{0xff, 4, 8, 'D'}, f), []int{6}, -1, "1 frames marked D", io.EOF},
		"description":     {join([]byte{0xff, 4, 8, 'X'}, f, []byte{0xff, 4, 8, 'X'}), []int{4}, -1, "", io.EOF},
		"empty":           {nil, nil, -1, "", av.ErrTruncated},
		"tag only":        {id3v2(100), nil, -1, "", av.ErrTruncated},
		"tag cut":         {id3v2(100)[:50], nil, -1, "", av.ErrTruncated},
		"head only":       {f[:3], nil, -1, "3 bytes of an incomplete frame", av.ErrTruncated},
		"junk only":       {bytes.Repeat([]byte{1}, 500), nil, -1, "500 bytes between", av.ErrInvalid},
		"endless junk":    {bytes.Repeat([]byte{0xff, 200, 0}, 1<<20), nil, -1, "bytes between", av.ErrInvalid},
		"unsupported":     {bytes.Repeat([]byte{0xff, 5, 1, 0, 0}, 9), nil, -1, "45 bytes between", av.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			d := NewAudio(bytes.NewReader(test.in), toy{})
			l, err := avtest.Read(d)
			var bad *av.Error
			if !errors.Is(err, test.err) || err != io.EOF && !errors.As(err, &bad) {
				t.Errorf("%v, want %v", err, test.err)
			}
			counted(t, l, test.packets, test.discont)
			if w := strings.Join(d.Warnings(), "\n"); !strings.Contains(w, test.warn) || test.warn == "" && w != "" {
				t.Errorf("warnings %q, want %q", w, test.warn)
			}
		})
	}
}

// counted: so many packets in each generation, and Discont at one of them.
func counted(t *testing.T, l []avtest.Generation, packets []int, discont int) {
	t.Helper()
	if len(l) != len(packets) {
		t.Fatalf("%d generations, want %d", len(l), len(packets))
	}
	n := 0
	for i, g := range l {
		if len(g.Packets) != packets[i] {
			t.Errorf("generation %d: %d packets, want %d", i, len(g.Packets), packets[i])
		}
		for _, p := range g.Packets {
			if p.Flags.Has(av.Discont) != (n == discont) {
				t.Errorf("packet %d: flags %#x", n, p.Flags)
			}
			n++
		}
	}
}

// TestTime: PTS count samples, dropped frames keep their time, and a new rate
// goes on at the same time.
func TestTime(t *testing.T) {
	in := join(frames(2, 10, 8), []byte{0xff, 4, 8, 'D'}, frames(1, 10, 8), frames(2, 10, 16))
	l := avtest.ReadAll(t, NewAudio(bytes.NewReader(in), toy{}))
	want := []int64{0, 100, 300, 800, 900}
	for i, p := range append(l[0].Packets, l[1].Packets...) {
		if p.PTS != want[i] || p.DTS != want[i] || p.Dur != 100 || string(p.Data) != "aaaaaaa" {
			t.Errorf("packet %d: %+v, want PTS %d", i, p, want[i])
		}
	}
	if tb := l[1].Tracks[0].Timebase; tb != (av.Timebase{Num: 1, Den: 16000}) {
		t.Errorf("timebase %v", tb)
	}
}

func TestConformance(t *testing.T) {
	in := join(id3v2(50), frames(20, 200, 8), frames(20, 100, 16))
	open := func(r io.Reader) av.Demuxer { return NewAudio(r, toy{}) }
	avtest.Run(t, func(testing.TB) av.Demuxer { return open(bytes.NewReader(in)) },
		avtest.Options{Composed: true, Input: in, Open: open})
}

func TestSniff(t *testing.T) {
	for name, test := range map[string]struct {
		in   []byte
		want int
	}{
		"none":       {[]byte("nothing"), 0},
		"empty":      {nil, 0},
		"one":        {frames(1, 10, 8), 20},
		"two":        {frames(2, 10, 8), 60},
		"three":      {frames(3, 10, 8), 85},
		"many":       {frames(30, 10, 8), 95},
		"tagged":     {join(id3v2(100), frames(4, 10, 8)), 95},
		"tag only":   {id3v2(100), 0},
		"tag behind": {join(frames(3, 10, 8), []byte("TAG"), make([]byte, 125)), 85},
		"cut":        {frames(3, 10, 8)[:25], 85},
		"differ":     {join(frames(3, 10, 8), frames(1, 10, 9)), 0},
		"junk":       {join(frames(3, 10, 8), []byte("junk")), 0},
	} {
		if got := Sniff(test.in, toy{}); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

func TestPrefixes(t *testing.T) {
	in := join(id3v2(50), frames(20, 20, 8), []byte("junk"), ape(30, true), frames(20, 10, 16), []byte("TAG"), make([]byte, 125))
	avtest.Prefixes(t, in, func(b []byte) {
		_, err := avtest.Read(NewAudio(bytes.NewReader(b), toy{}))
		var bad *av.Error
		if err != io.EOF && !errors.As(err, &bad) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
		Sniff(b, toy{})
	})
	avtest.AllocBound(t, len(in), func() { avtest.Read(NewAudio(bytes.NewReader(in), toy{})) })
}

// TestLyingTag: a tag that claims 256 MiB costs no memory.
func TestLyingTag(t *testing.T) {
	in := append(id3v2(1 << 27)[:10], frames(10, 10, 8)...)
	avtest.AllocBound(t, len(in), func() {
		if _, err := avtest.Read(NewAudio(bytes.NewReader(in), toy{})); !errors.Is(err, av.ErrTruncated) {
			t.Error(err)
		}
	})
}

type fixed struct{ b []byte }

func (f *fixed) Alloc(_, n int) ([]byte, error) { return f.b[:n], nil }

func TestNoAllocation(t *testing.T) {
	d := NewAudio(bytes.NewReader(frames(2000, 200, 8)), toy{})
	a := &fixed{make([]byte, 200)}
	for range 100 {
		d.ReadPacket(a)
	}
	if n := testing.AllocsPerRun(1000, func() { d.ReadPacket(a) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
