package av1

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Records that ffmpeg's MP4 muxer wrote for libaom streams of 128 by 72.
var (
	main420 = unhex("81000c000a0a0000000337f8e6d7c802")
	high444 = unhex("812000000a0d2000000337f8e6d7c9010d0020")
	head    = unhex("32f106140020b000") // the start of a key frame
)

func TestNext(t *testing.T) {
	tu := append([]byte{0x12, 0}, main420[4:]...)
	tu = append(tu, 0x32, 3, 0x10, 1, 2)
	var types []int
	total := 0
	for rest := tu; len(rest) > 0; {
		o, next, ok := Next(rest)
		if !ok {
			t.Fatalf("%x", rest)
		}
		types, rest = append(types, o.Type), next
		total += len(o.Raw)
	}
	if len(types) != 3 || types[0] != TypeTemporalDelimiter || types[1] != TypeSequenceHeader || types[2] != TypeFrame || total != len(tu) {
		t.Errorf("units %v of %d bytes", types, total)
	}
	for name, in := range map[string][]byte{
		"empty":            nil,
		"forbidden bit":    {0x92, 0},
		"size cut":         {0x12},
		"size too large":   {0x12, 5, 1},
		"size without end": {0x12, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80},
		"extension cut":    {0x16},
		"size of 2^56":     {0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
	} {
		if _, _, ok := Next(in); ok {
			t.Errorf("%s: taken", name)
		}
	}
	if o, rest, ok := Next([]byte{0x34, 0, 7, 8}); !ok || len(o.Payload) != 2 || rest != nil {
		t.Errorf("with an extension, without a size: %+v, %x", o, rest)
	}
}

func TestLook(t *testing.T) {
	for name, test := range map[string]struct {
		in                []byte
		key, intra, valid bool
		seq               bool
	}{
		"key":              {append(bytes.Clone(main420[4:]), 0x32, 2, 0x10, 0), true, true, true, true},
		"key, not shown":   {[]byte{0x32, 2, 0x00, 0}, false, false, true, false},
		"inter":            {[]byte{0x32, 2, 0x30, 0}, false, false, true, false},
		"intra only":       {[]byte{0x32, 2, 0x50, 0}, false, true, true, false},
		"shows existing":   {[]byte{0x1a, 1, 0x80}, false, false, true, false},
		"only the first":   {[]byte{0x32, 1, 0x30, 0x32, 1, 0x10}, false, false, true, false},
		"sizes do not fit": {[]byte{0x32, 9, 0x10, 0}, false, false, false, false},
		"empty":            {nil, false, false, true, false},
	} {
		u := Look(test.in)
		if u.Key != test.key || u.Intra != test.intra || u.Valid != test.valid || (u.Sequence != nil) != test.seq {
			t.Errorf("%s: %+v", name, u)
		}
	}
}

func TestSequence(t *testing.T) {
	for _, test := range []struct {
		name   string
		record []byte
		want   Sequence
		str    string
	}{
		{"4:2:0", main420, Sequence{Width: 128, Height: 72, BitDepth: 8, SubX: true, SubY: true, Primaries: 2, Transfer: 2, Matrix: 2}, "av01.0.00M.08"},
		{
			"4:4:4", high444,
			Sequence{Width: 128, Height: 72, Profile: 1, BitDepth: 8, Primaries: 1, Transfer: 13, Matrix: 0, FullRange: true, Described: true},
			"av01.1.00M.08.0.000.01.13.00.1",
		},
	} {
		s, err := ParseSequence(test.record[4:])
		if err != nil || s != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.name, s, err, test.want)
		}
		c, err := Config(test.record[4:])
		if err != nil || !bytes.Equal(c, test.record) {
			t.Errorf("%s: record %x, %v; want %x", test.name, c, err, test.record)
		}
		if got := String(test.record); got != test.str {
			t.Errorf("%s: %s, want %s", test.name, got, test.str)
		}
		avtest.Prefixes(t, test.record, func(b []byte) {
			if len(b) >= 4 {
				if _, err := ParseSequence(b[4:]); len(b) < len(test.record) && !errors.Is(err, av.ErrInvalid) {
					t.Errorf("%s, %d bytes: %v", test.name, len(b), err)
				}
			}
			String(b)
			Look(b)
		})
	}
}

func TestStrings(t *testing.T) {
	for _, test := range []struct {
		record []byte
		want   string
	}{
		{[]byte{0x81, 0x0d, 0x8c, 0}, "av01.0.13H.08"},
		{[]byte{0x81, 0x08, 0x4c, 0}, "av01.0.08M.10"},
		{[]byte{0x81, 0x48, 0x6c, 0}, "av01.2.08M.12"},
		{[]byte{0x81}, ""},
	} {
		if got := String(test.record); got != test.want {
			t.Errorf("%x: %s, want %s", test.record, got, test.want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	tu := append(append([]byte{0x12, 0}, main420[4:]...), 0x32, 3, 0x10, 1, 2)
	if n := testing.AllocsPerRun(100, func() { Look(tu) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse: nothing panics, and a header that is read makes a record.
func FuzzParse(f *testing.F) {
	f.Add(main420[4:])
	f.Add(high444[4:])
	f.Add(append(bytes.Clone(main420[4:]), head...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if u := Look(b); u.Valid {
			total := 0
			for rest := b; len(rest) > 0; {
				o, next, _ := Next(rest)
				total, rest = total+len(o.Raw), next
			}
			if total != len(b) {
				t.Fatalf("%d of %d bytes", total, len(b))
			}
		}
		c, err := Config(b)
		if err == nil && String(c) == "" {
			t.Fatalf("%x has no name", c)
		}
	})
}
