package h265

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
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

// streams are parameter sets of libx265, and what it was told to make.
var streams = []struct {
	name, vps, sps, pps string
	want                SPS
	str                 string
}{
	{
		"main", "40010c01ffff01600000030090000003000003003c959409",
		"42010101600000030090000003000003003ca00a080b9f796565924caf016808000003000800000300c840", "4401c172b46240",
		SPS{
			ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8, TemporalLayers: 1, TemporalNesting: true, Log2MaxPOCLSB: 8,
			Width: 320, Height: 180, SAR: av.Rational{Num: 1, Den: 1}, FrameRate: av.Rational{Num: 25, Den: 1}, Reorder: 2,
		},
		"hvc1.1.6.L60.90",
	},
	{
		"main 10, no B", "40010c01ffff02200000030090000003000003001e928090",
		"42010102200000030090000003000003001ea011204936592a4932bc11a02000007d20000ea601", "4401c172b46240",
		SPS{
			ChromaFormat: 1, BitDepthLuma: 10, BitDepthChroma: 10, TemporalLayers: 1, TemporalNesting: true, Log2MaxPOCLSB: 8,
			Width: 136, Height: 72, SAR: av.Rational{Num: 16, Den: 11}, FrameRate: av.Rational{Num: 30000, Den: 1001}, Reorder: 0,
		},
		"hvc1.2.4.L30.90",
	},
	{
		"4:4:4, two layers", "40010c02ffff0408000003009e0800000300001e00009598acc048",
		"4201020408000003009e0800000300001e000090041020b2cacc566924caf0168080000003008000001904", "4401c172860c4224",
		SPS{
			ChromaFormat: 3, BitDepthLuma: 8, BitDepthChroma: 8, TemporalLayers: 2, Log2MaxPOCLSB: 8,
			Width: 64, Height: 64, SAR: av.Rational{Num: 1, Den: 1}, FrameRate: av.Rational{Num: 50, Den: 1}, Reorder: 2,
		},
		"hvc1.4.10.L30.9E.8",
	},
}

func TestParseSPS(t *testing.T) {
	for _, test := range streams {
		got, err := ParseSPS(unhex(test.sps))
		if err != nil || got != test.want {
			t.Errorf("%s: %+v, %v\nwant %+v", test.name, got, err, test.want)
		}
		avtest.Prefixes(t, unhex(test.sps), func(b []byte) {
			if _, err := ParseSPS(b); len(b) < len(test.sps)/2-2 && !errors.Is(err, av.ErrInvalid) {
				t.Errorf("%s, %d bytes: %v", test.name, len(b), err)
			}
			if len(b) > 1 {
				ParsePPS(b)
				SlicePPS(b)
				ParsePicture(b, &got, &PPS{})
			}
		})
	}
}

func TestConfig(t *testing.T) {
	for _, test := range streams {
		vps, sps, pps := unhex(test.vps), unhex(test.sps), unhex(test.pps)
		c, err := NewConfig([][]byte{vps}, [][]byte{sps}, [][]byte{pps})
		if err != nil || c.String() != test.str {
			t.Errorf("%s: %s, %v; want %s", test.name, c.String(), err, test.str)
			continue
		}
		b := c.Append(nil)
		got, err := ParseConfig(b)
		if err != nil || !bytes.Equal(got.Append(nil), b) || got.NALLength != 4 || got.String() != test.str ||
			!bytes.Equal(got.VPS[0], vps) || !bytes.Equal(got.SPS[0], sps) || !bytes.Equal(got.PPS[0], pps) {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
		h := got.Head
		if h[16]&3 != test.want.ChromaFormat || h[17]&7 != test.want.BitDepthLuma-8 || h[21]>>3&7 != test.want.TemporalLayers || h[21]&4 != 0 != test.want.TemporalNesting {
			t.Errorf("%s: head %x", test.name, h)
		}
		avtest.Prefixes(t, b, func(p []byte) {
			if _, err := ParseConfig(p); len(p) < len(b) != errors.Is(err, av.ErrTruncated) {
				t.Errorf("%s, %d bytes: %v", test.name, len(p), err)
			}
		})
	}
}

// TestStrings: of ISO 14496-15 E.3.
func TestStrings(t *testing.T) {
	for _, test := range []struct {
		head string
		want string
	}{
		{"0101600000009000000000005d", "hvc1.1.6.L93.90"},
		{"012220000000b000000000007b", "hvc1.2.4.H123.B0"},
		{"01416000000000000000000096", "hvc1.A1.6.L150"},
		{"01c4080000009d080000000078", "hvc1.C4.10.L120.9D.8"},
	} {
		var c Config
		copy(c.Head[:], unhex(test.head))
		if got := c.String(); got != test.want {
			t.Errorf("%s: %s, want %s", test.head, got, test.want)
		}
	}
}

func TestBadConfig(t *testing.T) {
	head := make([]byte, 21)
	for name, test := range map[string]struct {
		tail []byte
		err  error
	}{
		"lengths of 3":     {[]byte{0xfe, 0}, av.ErrInvalid},
		"array cut":        {[]byte{0xff, 1, 0x20}, av.ErrTruncated},
		"65 sets":          {[]byte{0xff, 1, 0x20, 0, 65}, av.ErrTooLarge},
		"length too large": {[]byte{0xff, 1, 0x20, 0, 1, 0xff, 0xff, 0}, av.ErrTruncated},
		"set over 4 KiB":   {append([]byte{0xff, 1, 0x20, 0, 1, 0x20, 0}, make([]byte, 9000)...), av.ErrTooLarge},
	} {
		if _, err := ParseConfig(append(bytes.Clone(head), test.tail...)); !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
	}
	if _, err := NewConfig(nil, nil, nil); !errors.Is(err, av.ErrInvalid) {
		t.Errorf("no sets: %v", err)
	}
}

func TestPPS(t *testing.T) {
	for _, test := range streams {
		if p, ok := ParsePPS(unhex(test.pps)); !ok || p != (PPS{}) {
			t.Errorf("%s: %+v, %v", test.name, p, ok)
		}
	}
	// id 3, SPS 1, dependent slices, output flag, 2 extra bits
	if p, ok := ParsePPS([]byte{0x44, 1, 0b00100010, 0b11010100}); !ok || p != (PPS{ID: 3, SPS: 1, Dependent: true, OutputFlag: true, ExtraBits: 2}) {
		t.Errorf("%+v, %v", p, ok)
	}
	if _, ok := ParsePPS([]byte{0x44, 1}); ok {
		t.Error("a PPS of its header only")
	}
}

// TestPicture: heads of slices with what PPS and SPS put before the count.
func TestPicture(t *testing.T) {
	s := &SPS{Log2MaxPOCLSB: 8}
	for name, test := range map[string]struct {
		in   []byte
		s    *SPS
		pps  PPS
		want Picture
		ok   bool
	}{
		"IDR":          {[]byte{0x26, 1, 0b10101100, 0}, s, PPS{}, Picture{Type: 19, Kind: SliceI}, true},
		"P, count 5":   {[]byte{0x02, 1, 0b11010000, 0b00101000}, s, PPS{}, Picture{Type: 1, Kind: SliceP, POCLSB: 5}, true},
		"output flag":  {[]byte{0x02, 1, 0b11010100, 0b00010100}, s, PPS{OutputFlag: true}, Picture{Type: 1, Kind: SliceP, POCLSB: 5}, true},
		"extra bits":   {[]byte{0x02, 1, 0b11110100, 0b00001010}, s, PPS{ExtraBits: 2}, Picture{Type: 1, Kind: SliceP, POCLSB: 5}, true},
		"layer 1":      {[]byte{0x02, 2, 0b11010000, 0b00101000}, s, PPS{}, Picture{Type: 1, Kind: SliceP, POCLSB: 5, TID: 1}, true},
		"not first":    {[]byte{0x02, 1, 0b01010000, 0b00101000}, s, PPS{}, Picture{}, false},
		"cut":          {[]byte{0x02, 1, 0b11010000}, s, PPS{}, Picture{}, false},
		"no layer":     {[]byte{0x02, 0, 0b11010000, 0b00101000}, s, PPS{}, Picture{}, false},
		"CRA, count 1": {[]byte{0x2a, 1, 0b10101100, 0b00000100}, s, PPS{}, Picture{Type: 21, Kind: SliceI, POCLSB: 1}, true},
	} {
		got, ok := ParsePicture(test.in, test.s, &test.pps)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, ok, test.want)
		}
	}
}

// TestOrder of pictures. ITU-T H.265 8.3.1
func TestOrder(t *testing.T) {
	s := &SPS{Log2MaxPOCLSB: 4}
	const trailN, trailR, raslN, raslR, cra, idr = 0, 1, TypeRASLN, TypeRASLR, TypeCRA, TypeIDRWRADL
	var st POCState
	var counts []int64
	var resets []int
	for i, p := range []Picture{
		{Type: cra, POCLSB: 4},
		{Type: raslN, POCLSB: 2},
		{Type: trailR, POCLSB: 8},
		{Type: trailN, POCLSB: 6},
		{Type: trailR, POCLSB: 0},
		{Type: trailN, POCLSB: 12},
		{Type: trailR, POCLSB: 3, TID: 1},
		{Type: trailR, POCLSB: 6},
		{Type: cra, POCLSB: 14},
		{Type: raslR, POCLSB: 10},
		{Type: trailR, POCLSB: 2},
		{Type: idr},
		{Type: TypeRADLN, POCLSB: 14},
		{Type: trailR, POCLSB: 4},
	} {
		poc, reset := st.Next(&p, s)
		if counts = append(counts, poc); reset {
			resets = append(resets, i)
		}
	}
	want := []int64{4, 2, 8, 6, 16, 12, 19, 22, 30, 26, 34, 0, -2, 4}
	if !slices.Equal(counts, want) || !slices.Equal(resets, []int{0, 11}) {
		t.Errorf("%v, resets at %v; want %v", counts, resets, want)
	}
}

func TestNoAllocation(t *testing.T) {
	s := &SPS{Log2MaxPOCLSB: 8}
	slice, pps := []byte{0x02, 1, 0b11010000, 0b00101000}, unhex(streams[0].pps)
	var st POCState
	if n := testing.AllocsPerRun(100, func() {
		q, _ := ParsePPS(pps)
		SlicePPS(slice)
		p, _ := ParsePicture(slice, s, &q)
		st.Next(&p, s)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzUnits: no NAL unit makes anything panic, and an SPS that is accepted has a
// size.
func FuzzUnits(f *testing.F) {
	for _, test := range streams {
		f.Add(unhex(test.sps), unhex(test.pps))
	}
	f.Add(unhex(streams[0].sps), []byte{0x26, 1, 0b10101100, 0})
	f.Fuzz(func(t *testing.T, sps, u []byte) {
		if c, err := ParseConfig(sps); err == nil {
			if _, err := ParseConfig(c.Append(nil)); err != nil {
				t.Fatal(err)
			}
			_ = c.String()
		}
		pps, _ := ParsePPS(u)
		SlicePPS(u)
		s, err := ParseSPS(sps)
		if err != nil {
			return
		}
		if s.Width <= 0 || s.Height <= 0 || s.Reorder > 16 {
			t.Fatalf("%+v", s)
		}
		NewConfig([][]byte{u}, [][]byte{sps}, [][]byte{u})
		p, _ := ParsePicture(u, &s, &pps)
		var st POCState
		st.Next(&p, &s)
	})
}
