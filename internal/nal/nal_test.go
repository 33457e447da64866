package nal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// units returns what Next finds.
func units(b []byte) (l [][]byte) {
	for pos := 0; ; {
		start, end, next := Next(b, pos)
		if start < 0 {
			return l
		}
		l, pos = append(l, b[start:end]), next
	}
}

func TestNext(t *testing.T) {
	for name, test := range map[string]struct {
		in   []byte
		want [][]byte
	}{
		"empty":             {nil, nil},
		"no start code":     {[]byte{1, 2, 3, 0, 0}, nil},
		"two zeros":         {[]byte{0, 0}, nil},
		"one":               {[]byte{0, 0, 1, 7, 8}, [][]byte{{7, 8}}},
		"zero_byte":         {[]byte{0, 0, 0, 1, 7, 0, 0, 0, 1, 8}, [][]byte{{7}, {8}}},
		"leading bytes":     {[]byte{5, 6, 0, 0, 1, 7}, [][]byte{{7}}},
		"leading zeros":     {[]byte{0, 0, 0, 0, 0, 1, 7}, [][]byte{{7}}},
		"trailing zeros":    {[]byte{0, 0, 1, 7, 0, 0, 0, 0, 0, 1, 8, 0, 0}, [][]byte{{7}, {8}}},
		"empty unit":        {[]byte{0, 0, 1, 0, 0, 1, 8}, [][]byte{{}, {8}}},
		"start code at end": {[]byte{0, 0, 1, 7, 0, 0, 1}, [][]byte{{7}, {}}},
		"escaped":           {[]byte{0, 0, 1, 7, 0, 0, 3, 1, 9}, [][]byte{{7, 0, 0, 3, 1, 9}}},
		"ones":              {[]byte{1, 1, 0, 1, 0, 0, 1, 1, 1}, [][]byte{{1, 1}}},
		"zeros only":        {[]byte{0, 0, 1, 0, 0, 0}, [][]byte{{}}},
	} {
		if got := units(test.in); !slices.EqualFunc(got, test.want, bytes.Equal) {
			t.Errorf("%s: %x, want %x", name, got, test.want)
		}
	}
}

// TestStartCode: the same as a search for the three bytes.
func TestStartCode(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		b := make([]byte, rnd.IntN(40))
		for i := range b {
			b[i] = byte(rnd.IntN(3))
		}
		pos := rnd.IntN(len(b) + 3)
		want := -1
		if pos <= len(b) {
			if want = bytes.Index(b[pos:], []byte{0, 0, 1}); want >= 0 {
				want += pos
			}
		}
		if got := StartCode(b, pos); got != want {
			t.Fatalf("%x from %d: %d, want %d", b, pos, got, want)
		}
	}
}

func TestLengths(t *testing.T) {
	for name, test := range map[string]struct {
		in   []byte
		size int
		want [][]byte
		bad  bool
	}{
		"empty":           {nil, 4, nil, false},
		"four":            {[]byte{0, 0, 0, 2, 7, 8, 0, 0, 0, 1, 9}, 4, [][]byte{{7, 8}, {9}}, false},
		"three":           {[]byte{0, 0, 1, 7}, 3, [][]byte{{7}}, false},
		"two":             {[]byte{0, 1, 7, 0, 0}, 2, [][]byte{{7}, {}}, false},
		"one":             {[]byte{1, 7, 2, 8, 9}, 1, [][]byte{{7}, {8, 9}}, false},
		"too long":        {[]byte{0, 1, 7, 0, 2, 8}, 2, [][]byte{{7}}, true},
		"length cut":      {[]byte{0, 0, 0}, 4, nil, true},
		"huge":            {[]byte{0xff, 0xff, 0xff, 0xff, 1}, 4, nil, true},
		"lengths of none": {[]byte{1, 2}, 0, nil, true},
	} {
		l := Split(test.in, test.size)
		var got [][]byte
		for {
			u, ok := l.Next()
			if !ok {
				break
			}
			got = append(got, u)
		}
		if !slices.EqualFunc(got, test.want, bytes.Equal) || (l.Err() != nil) != test.bad {
			t.Errorf("%s: %x, %v, want %x", name, got, l.Err(), test.want)
		}
		if test.bad && !errors.Is(l.Err(), ErrLength) {
			t.Errorf("%s: %v", name, l.Err())
		}
		if _, ok := l.Next(); ok {
			t.Errorf("%s: goes on behind its end", name)
		}
	}
}

func TestUnescape(t *testing.T) {
	for _, test := range []struct{ in, want []byte }{
		{nil, nil},
		{[]byte{1, 2, 3}, []byte{1, 2, 3}},
		{[]byte{0, 0, 3, 1}, []byte{0, 0, 1}},
		{[]byte{0, 0, 3, 0, 0, 3}, []byte{0, 0, 0, 0}},
		{[]byte{0, 0, 0, 3, 1}, []byte{0, 0, 0, 1}},
		{[]byte{0, 3, 0, 0, 4}, []byte{0, 3, 0, 0, 4}},
		{[]byte{0, 0, 3, 3}, []byte{0, 0, 3}},
	} {
		if got := Unescape(nil, test.in); !bytes.Equal(got, test.want) {
			t.Errorf("%x: %x, want %x", test.in, got, test.want)
		}
	}
	if got := Unescape([]byte{9}, []byte{0, 0, 3, 1}); !bytes.Equal(got, []byte{9, 0, 0, 1}) {
		t.Errorf("appended: %x", got)
	}
}

func TestNoAllocation(t *testing.T) {
	b := bytes.Repeat([]byte{0, 0, 1, 7, 8, 9}, 20)
	dst := make([]byte, 0, len(b))
	if n := testing.AllocsPerRun(100, func() {
		for pos := 0; ; {
			start, _, next := Next(b, pos)
			if start < 0 {
				break
			}
			pos = next
		}
		l := Split(b, 2)
		for _, ok := l.Next(); ok; _, ok = l.Next() {
		}
		dst = Unescape(dst[:0], b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzNAL: units lie within their input, one behind the other.
func FuzzNAL(f *testing.F) {
	f.Add([]byte{0, 0, 1, 7, 8, 0, 0, 0, 1, 9}, 4)
	f.Add([]byte{0, 2, 7, 8, 0, 1, 9}, 2)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		for pos := 0; ; {
			start, end, next := Next(b, pos)
			if start < 0 {
				break
			}
			if start < pos+3 || end < start || next < end || next > len(b) {
				t.Fatalf("%d to %d, then %d, from %d of %d", start, end, next, pos, len(b))
			}
			if bytes.Contains(b[start:end], []byte{0, 0, 1}) {
				t.Fatalf("a start code in %x", b[start:end])
			}
			pos = next
		}
		total := 0
		l := Split(b, size&7)
		for u, ok := l.Next(); ok; u, ok = l.Next() {
			total += len(u) + size&7
		}
		if l.Err() == nil && total != len(b) {
			t.Fatalf("%d bytes in units of %d", total, len(b))
		}
		if u := Unescape(nil, b); len(u)+bytes.Count(b, []byte{0, 0, 3}) < len(b) || len(u) > len(b) {
			t.Fatalf("%x from %x", u, b)
		}
	})
}

func BenchmarkStartCode(b *testing.B) {
	in := make([]byte, 1<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range in {
		in[i] = byte(rnd.Uint32())
	}
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		for pos := 0; pos >= 0; {
			if pos = StartCode(in, pos); pos >= 0 {
				pos += 3
			}
		}
	}
}

// TestEscaped: the bytes that hold the first of the unescaped ones.
func TestEscaped(t *testing.T) {
	unit := []byte{0x65, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 0xff}
	for n, want := range []int{0, 1, 2, 3, 5, 6, 7, 9, 10, 12, 12} {
		if got := Escaped(unit, n); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
		if n < 10 && len(Unescape(nil, unit[:want])) != n {
			t.Errorf("%d: %x", n, Unescape(nil, unit[:want]))
		}
	}
}
