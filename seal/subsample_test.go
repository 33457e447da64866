package seal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/codec/h265"
	"github.com/cleave-video/cleave/format/mp4"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Parameter sets of libx264 and libx265, 320x180.
var (
	avcSPS, avcPPS         = unhex("6764000cacd941419f9f011000000300100000030320f1429960"), unhex("68ebe3cb22c0")
	hvcVPS, hvcSPS, hvcPPS = unhex("40010c01ffff01600000030090000003000003003c959409"),
		unhex("42010101600000030090000003000003003ca00a080b9f796565924caf016808000003000800000300c840"), unhex("4401c172b46240")
	avcConfig = config264()
	hvcConfig = config265()
)

// avcSlice is the head of an IDR slice, whose header ends with it.
var avcSlice = unhex("6588840033ff")

func config264() []byte {
	c, err := h264.NewConfig([][]byte{avcSPS}, [][]byte{avcPPS})
	if err != nil {
		panic(err)
	}
	return c.Append(nil)
}

func config265() []byte {
	c, err := h265.NewConfig([][]byte{hvcVPS}, [][]byte{hvcSPS}, [][]byte{hvcPPS})
	if err != nil {
		panic(err)
	}
	return c.Append(nil)
}

func mapperOf(t testing.TB, codec av.Codec, config []byte, whole bool) *mapper {
	t.Helper()
	m, err := newMapper(&av.Track{Kind: av.Video, Codec: codec, Config: config}, whole)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// units puts lengths before NAL units.
func units(list ...[]byte) (b []byte) {
	for _, u := range list {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(u))), u...)
	}
	return b
}

// unit is a NAL unit that begins with head and has n bytes.
func unit(head []byte, n int) []byte { return append(bytes.Clone(head), make([]byte, n-len(head))...) }

func TestMap(t *testing.T) {
	slice := func(n int) []byte { return unit(avcSlice, n) }
	type subs = [][2]int
	for _, test := range []struct {
		name       string
		in         []byte
		cbcs, cenc subs
	}{
		{"empty", nil, subs{{}}, subs{{}}},
		{"slice", units(slice(100)), subs{{10, 94}}, subs{{24, 80}}},
		{"whole blocks", units(slice(86)), subs{{10, 80}}, subs{{10, 80}}},
		{"less than a block", units(slice(21)), subs{{25, 0}}, subs{{25, 0}}},
		{"one block", units(slice(22)), subs{{10, 16}}, subs{{10, 16}}},
		{"sets, SEI, slices", units(avcSPS, avcPPS, unit([]byte{6}, 50), slice(100), slice(60)), subs{{4 + 26 + 4 + 6 + 54 + 10, 94}, {10, 54}}, subs{{104 + 14, 80}, {16, 48}}},
		{"empty units", units(nil, slice(100), nil, nil), subs{{14, 94}, {8, 0}}, subs{{28, 80}, {8, 0}}},
		{"much in the clear", units(unit([]byte{12}, 140000), slice(100)), subs{{65535, 0}, {65535, 0}, {140014 - 2*65535, 94}}, subs{{65535, 0}, {65535, 0}, {140028 - 2*65535, 80}}},
		{"picture in a prefix unit", units(unit([]byte{14}, 101)), subs{{5, 100}}, subs{{9, 96}}},
		{"prefix unit", units(unit([]byte{14}, 12), slice(86)), subs{{26, 80}}, subs{{26, 80}}},
		{"no type known", units(unit([]byte{30}, 33)), subs{{5, 32}}, subs{{5, 32}}},
		{"length too large", append(units(slice(86)), 0, 0, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13), subs{{10, 80}, {0, 17}}, subs{{10, 80}, {1, 16}}},
		{"header that does not parse", units(unit([]byte{0x65, 0xff, 0x00}, 81)), subs{{5, 80}}, subs{{5, 80}}},
	} {
		if d := cmp.Diff(test.cbcs, pairs(mapperOf(t, av.H264, avcConfig, false).appendMap(nil, test.in))); d != "" {
			t.Errorf("%s: cbcs %s", test.name, d)
		}
		if d := cmp.Diff(test.cenc, pairs(mapperOf(t, av.H264, avcConfig, true).appendMap(nil, test.in))); d != "" {
			t.Errorf("%s: cenc %s", test.name, d)
		}
	}
}

func pairs(subs []mp4.Subsample) (out [][2]int) {
	for _, s := range subs {
		out = append(out, [2]int{int(s.Clear), int(s.Protected)})
	}
	return out
}

// TestOpaque: slices that cannot be read are counted, and protected all the same.
func TestOpaque(t *testing.T) {
	m := mapperOf(t, av.H264, avcConfig, false)
	other := unit([]byte{0x65, 0x88, 0x40, 0x40, 0, 0, 1}, 60) // of a PPS that is not there
	m.appendMap(nil, units(other, unit(avcSlice, 60), unit([]byte{30}, 60)))
	if m.opaque != 1 {
		t.Errorf("%d slices of 1 could not be read", m.opaque)
	}
}

// TestParameterSetsInBand: a slice is read by the sets that came last.
func TestParameterSetsInBand(t *testing.T) {
	c, err := h264.NewConfig([][]byte{avcSPS}, [][]byte{avcPPS})
	if err != nil {
		t.Fatal(err)
	}
	c.SPS, c.PPS = nil, nil
	m := mapperOf(t, av.H264, c.Append(nil), false)
	slice := unit(avcSlice, 86)
	if d := cmp.Diff([]mp4.Subsample{{Clear: 5, Protected: 85}}, m.appendMap(nil, units(slice))); d != "" {
		t.Error("without sets:", d)
	}
	if d := cmp.Diff([]mp4.Subsample{{Clear: 4 + 26 + 4 + 6 + 10, Protected: 80}}, m.appendMap(nil, units(avcSPS, avcPPS, slice))); d != "" {
		t.Error("with them:", d)
	}
	if d := cmp.Diff([]mp4.Subsample{{Clear: 10, Protected: 80}}, m.appendMap(nil, units(slice))); d != "" {
		t.Error("after them:", d)
	}
}

// TestManySlices: subsamples of one sample are bounded; what follows is protected.
func TestManySlices(t *testing.T) {
	var all [][]byte
	for range maxSubsamples + 100 {
		all = append(all, unit(avcSlice, 38))
	}
	data := units(all...)
	for _, whole := range []bool{false, true} {
		subs := mapperOf(t, av.H264, avcConfig, whole).appendMap(nil, data)
		last := subs[len(subs)-1]
		if len(subs) > maxSubsamples+2 || last.Protected < 99*42 {
			t.Errorf("%d subsamples, the last %+v", len(subs), last)
		}
		laws(t, subs, data, whole)
	}
}

// laws hold for the map of any sample.
func laws(t testing.TB, subs []mp4.Subsample, data []byte, whole bool) {
	t.Helper()
	sum := 0
	for i, s := range subs {
		sum += int(s.Clear) + int(s.Protected)
		if whole && s.Protected%16 != 0 {
			t.Fatalf("subsample %d protects %d bytes", i, s.Protected)
		}
		if s.Protected > 0 && s.Protected < 16 {
			t.Fatalf("subsample %d protects %d bytes, not a block", i, s.Protected)
		}
	}
	if sum != len(data) || len(subs) == 0 {
		t.Fatalf("%d subsamples of %d bytes, the sample has %d", len(subs), sum, len(data))
	}
}

// TestPrefixes: what is cut short is mapped all the same.
func TestPrefixes(t *testing.T) {
	for codec, config := range map[av.Codec][]byte{av.H264: avcConfig, av.H265: hvcConfig} {
		for _, whole := range []bool{false, true} {
			m := mapperOf(t, codec, config, whole)
			avtest.Prefixes(t, sample(codec), func(b []byte) { laws(t, m.appendMap(nil, b), b, whole) })
		}
		avtest.Prefixes(t, config, func(b []byte) {
			_, _ = newMapper(&av.Track{Kind: av.Video, Codec: codec, Config: b}, true)
		})
	}
}

// sample is a picture with its parameter sets.
func sample(codec av.Codec) []byte {
	if codec == av.H265 {
		return units(hvcVPS, hvcSPS, hvcPPS, unit(unhex("2801af1d80"), 90), unit(unhex("0201d0097e"), 200))
	}
	return units(avcSPS, avcPPS, unit([]byte{6, 5, 4}, 20), unit(avcSlice, 90), unit(unhex("419a246c41"), 200))
}

// vp9Key is a key frame of 640x360 by libvpx, whose header has 18 bytes.
func vp9Key(n int) []byte { return unit(unhex("824983420027f016760838241c185c1006886f"), n) }

// vp9Config is a VPCodecConfigurationRecord.
var vp9Config = []byte{0, 21, 0x82, 2, 2, 2, 0, 0}

func TestMapVP9(t *testing.T) {
	superframe := append(vp9Key(118), append(unhex("88"), 0xc9, 118, 0, 1, 0, 0xc9)...)
	for name, test := range map[string]struct {
		in         []byte
		cbcs, cenc [][2]int
		opaque     int
	}{
		"key frame":          {vp9Key(118), [][2]int{{18, 100}}, [][2]int{{22, 96}}, 0},
		"superframe":         {superframe, [][2]int{{18, 100}, {7, 0}}, [][2]int{{22, 96}, {7, 0}}, 0},
		"no frame":           {make([]byte, 50), [][2]int{{0, 50}}, [][2]int{{2, 48}}, 1},
		"reference not seen": {unit(unhex("860040929c"), 33), [][2]int{{0, 33}}, [][2]int{{1, 32}}, 1},
		"nothing":            {nil, [][2]int{{0, 0}}, [][2]int{{0, 0}}, 0},
	} {
		for _, whole := range []bool{false, true} {
			m := mapperOf(t, av.VP9, vp9Config, whole)
			want := test.cbcs
			if whole {
				want = test.cenc
			}
			if d := cmp.Diff(want, pairs(m.appendMap(nil, test.in))); d != "" || m.opaque != test.opaque {
				t.Errorf("%s: whole blocks %v, %d opaque: %s", name, whole, m.opaque, d)
			}
		}
	}
}

func FuzzMapVP9(f *testing.F) {
	f.Add(vp9Key(118), append(vp9Key(40), 0xc0, 40, 0xc0))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, whole := range []bool{false, true} {
			m := mapperOf(t, av.VP9, vp9Config, whole)
			for _, b := range [][]byte{first, second} {
				laws(t, m.appendMap(nil, b), b, whole)
			}
		}
	})
}

func FuzzMap(f *testing.F) {
	f.Add(sample(av.H264), false, uint8(4))
	f.Add(sample(av.H265), true, uint8(4))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x65}, false, uint8(4))
	f.Add([]byte{0, 0x65, 1, 0x65, 0xff}, false, uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, hevc bool, size uint8) {
		codec, config := av.H264, bytes.Clone(avcConfig)
		if hevc {
			codec, config = av.H265, bytes.Clone(hvcConfig)
		}
		at := 4
		if hevc {
			at = 21
		}
		config[at] = config[at]&^3 | [...]byte{0, 1, 3}[size%3]
		for _, whole := range []bool{false, true} {
			m := mapperOf(t, codec, config, whole)
			before := bytes.Clone(data)
			subs := m.appendMap(nil, data)
			laws(t, subs, data, whole)
			if !bytes.Equal(before, data) {
				t.Fatal("the sample was written to")
			}
			s := stream(t, CBCS, 0)
			if whole {
				s = stream(t, CENC, 0)
			}
			k := track(t, s, &av.Track{Kind: av.Video, Codec: codec, Config: config})
			p := period(t, s, 0)
			fr := k.Fragment([]av.Packet{{Data: data}}, p, false)
			dst := make([]byte, len(data))
			k.Seal(dst, 0, data)
			if !bytes.Equal(open(t, s.Scheme(), &p.Key, k, fr.Samples[0], dst), data) {
				t.Fatal("not what it was")
			}
			// A player that reads the sealed sample finds the same units and headers.
			again := mapperOf(t, codec, config, whole)
			if d := cmp.Diff(subs, again.appendMap(nil, dst)); d != "" && m.opaque == 0 && wellFormed(data, m.lengths) {
				t.Fatal("sealed, it maps otherwise", d)
			}
		}
	})
}

func wellFormed(data []byte, lengths int) bool {
	for len(data) > 0 {
		n, ok := unitLength(data, lengths)
		if !ok {
			return false
		}
		data = data[lengths+n:]
	}
	return true
}
