package bits

import (
	"io"
	"math/big"
	"math/rand/v2"
	"testing"
)

// TestU: fields of every length at every place are what a big number says.
func TestU(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 40)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	whole := new(big.Int).SetBytes(b)
	for range 2000 {
		at, n := rnd.IntN(len(b)*8-64), rnd.IntN(65)
		r := New(b)
		r.Skip(at)
		got := r.U(n)
		want := new(big.Int).Rsh(whole, uint(len(b)*8-at-n))
		want.And(want, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(n)), big.NewInt(1)))
		if got != want.Uint64() || r.Pos() != at+n || r.Left() != len(b)*8-at-n || r.Err() != nil {
			t.Fatalf("%d bits at %d: %x, want %x", n, at, got, want)
		}
	}
}

// codes of ITU-T H.264 tables 9-2 and 9-3.
func TestExpGolomb(t *testing.T) {
	for _, test := range []struct {
		b    []byte
		ue   uint64
		se   int64
		bits int
	}{
		{[]byte{0b1000_0000}, 0, 0, 1},
		{[]byte{0b0100_0000}, 1, 1, 3},
		{[]byte{0b0110_0000}, 2, -1, 3},
		{[]byte{0b0010_0000}, 3, 2, 5},
		{[]byte{0b0011_1000}, 6, -3, 5},
		{[]byte{0b0001_0000}, 7, 4, 7},
		{[]byte{0, 0b0100_0000, 0b0010_0000}, 512, -256, 19},
		{[]byte{0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe}, 1<<32 - 2, -(1<<31 - 1), 63},
		{[]byte{0, 0, 0, 0, 0x80, 0, 0, 0, 0x80}, 1<<32 - 1 + 1, -(1 << 31), 65},
	} {
		r := New(test.b)
		if got := r.UE(); got != test.ue || r.Err() != nil || r.Pos() != test.bits {
			t.Errorf("%08b: ue %d of %d bits, want %d of %d; %v", test.b, got, r.Pos(), test.ue, test.bits, r.Err())
		}
		r = New(test.b)
		if got := r.SE(); got != test.se || r.Err() != nil {
			t.Errorf("%08b: se %d, want %d; %v", test.b, got, test.se, r.Err())
		}
	}
}

// TestPastTheEnd: the first read past the end makes every later one 0.
func TestPastTheEnd(t *testing.T) {
	for name, read := range map[string]func(r *Reader) uint64{
		"U":          func(r *Reader) uint64 { return r.U(17) },
		"U 64":       func(r *Reader) uint64 { return r.U(64) },
		"UE":         func(r *Reader) uint64 { r.Skip(8); return r.UE() },
		"SE":         func(r *Reader) uint64 { r.Skip(8); return uint64(r.SE()) },
		"skip":       func(r *Reader) uint64 { r.Skip(17); return 0 },
		"skip below": func(r *Reader) uint64 { r.Skip(-1); return 0 },
	} {
		r := New([]byte{0xff, 0})
		if got := read(&r); got != 0 || r.Err() != io.ErrUnexpectedEOF || r.Left() != 0 {
			t.Errorf("%s: %d, %v, %d left", name, got, r.Err(), r.Left())
		}
		if r.U(1) != 0 || r.UE() != 0 || r.Flag() || r.U(0) != 0 || r.Err() == nil {
			t.Errorf("%s: reads on behind the end", name)
		}
	}
	long := New(make([]byte, 100))
	if long.UE(); long.Err() == nil {
		t.Error("a code of 33 zeros and more is read")
	}
}

func TestNoAllocation(t *testing.T) {
	b := []byte{0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc}
	if n := testing.AllocsPerRun(100, func() {
		r := New(b)
		r.U(3)
		r.UE()
		r.SE()
		r.Skip(90)
		r.Err()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReader: no order of reads panics, and what is read and what is left add up.
func FuzzReader(f *testing.F) {
	f.Add([]byte{0x12, 0x34, 0x56}, []byte{3, 200, 64, 0, 255})
	f.Fuzz(func(t *testing.T, b, ops []byte) {
		r := New(b)
		for _, op := range ops {
			switch op >> 6 {
			case 0:
				r.U(int(op & 63))
			case 1:
				r.UE()
			case 2:
				r.SE()
			default:
				r.Skip(int(op&63) - 1)
			}
			if r.Pos()+r.Left() != len(b)*8 || r.Left() < 0 {
				t.Fatalf("%d read, %d left of %d bytes", r.Pos(), r.Left(), len(b))
			}
		}
	})
}
