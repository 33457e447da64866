package ts

import (
	"bytes"
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av"
)

func TestPESHeader(t *testing.T) {
	track := muxTrack{streamID: sidAudio}
	both := appendPESHeader(nil, &track, 7, 1<<32+5, timeMask)
	for name, test := range map[string]struct {
		b    []byte
		want pesHeader
		n    int
	}{
		"PTS and DTS":   {both, pesHeader{id: sidAudio, length: 7, pts: timeMask, dts: 1<<32 + 5, hasPTS: true, hasDTS: true}, 19},
		"PTS":           {appendPESHeader(nil, &track, 1, 90000, 90000), pesHeader{id: sidAudio, length: 1, pts: 90000, hasPTS: true}, 14},
		"no times":      {[]byte{0, 0, 1, 0xE0, 0, 0, 0x80, 0, 0}, pesHeader{id: 0xE0, length: -1}, 9},
		"stuffing":      {[]byte{0, 0, 1, 0xE0, 0, 9, 0x80, 0, 2, 0xFF, 0xFF}, pesHeader{id: 0xE0, length: 4}, 11},
		"scrambled":     {[]byte{0, 0, 1, 0xE0, 0, 0, 0xA0, 0, 0}, pesHeader{id: 0xE0, length: -1, scrambled: true}, 9},
		"padding":       {[]byte{0, 0, 1, 0xBE, 0, 2, 0xFF}, pesHeader{id: 0xBE, length: 2}, 6},
		"no start code": {[]byte{0, 0, 2, 0xE0, 0, 0, 0x80, 0, 0}, pesHeader{}, 0},
		"no mark":       {[]byte{0, 0, 1, 0xE0, 0, 0, 0x40, 0, 0}, pesHeader{id: 0xE0}, 0},
		"length lies":   {[]byte{0, 0, 1, 0xE0, 0, 3, 0x80, 0, 5, 0, 0, 0, 0, 0}, pesHeader{id: 0xE0, length: 3}, 0},
		"PTS outside":   {[]byte{0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 0}, pesHeader{id: 0xE0, length: -1}, 9},
		"marker bits":   {[]byte{0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5, 0x20, 0, 0, 0, 0}, pesHeader{id: 0xE0, length: -1}, 14},
	} {
		if h, n := parsePES(test.b); h != test.want || n != test.n {
			t.Errorf("%s: %+v, %d, want %+v, %d", name, h, n, test.want, test.n)
		}
	}
	for n := range both {
		if _, need := parsePES(both[:n]); need <= n {
			t.Errorf("prefix of %d bytes needs %d", n, need)
		}
	}
}

func TestSince(t *testing.T) {
	for _, test := range []struct{ a, b, want int64 }{
		{5, 3, 2}, {3, 5, -2}, {0, timeMask, 1}, {timeMask, 0, -1}, {-1, 0, -1}, {1 << 32, 0, -1 << 32}, {90000 + 7<<33, 0, 90000},
	} {
		if got := since(test.a, test.b); got != test.want {
			t.Errorf("since(%d, %d) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestCRC(t *testing.T) {
	if got := crc32([]byte("123456789")); got != 0x0376E6E7 { // CRC-32/MPEG-2
		t.Errorf("%#x", got)
	}
	if !crcIsZero(patSection[:]) {
		t.Error("PAT's CRC")
	}
}

func TestParsePMT(t *testing.T) {
	whole := pmt(3, 5, esInfo{pid: 0x100, typ: typeH264, desc: []byte{descLanguage, 4, 'd', 'e', 'u', 0}}, esInfo{pid: 0x101, typ: typeAAC},
		esInfo{pid: 0x101, typ: typeAC3}, esInfo{pid: pidNull, typ: typeAC3})
	tab, err := parseTable(whole, tablePMT, "PMT")
	if err != nil {
		t.Fatal(err)
	}
	var p program
	if err := p.parse(tab); err != nil || p.number != 3 || tab.version != 5 || len(p.streams) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if l := p.streams[0].language(); l != "deu" {
		t.Errorf("language %q", l)
	}
	for n := range tab.body {
		err := p.parse(table{body: tab.body[:n]})
		if err != nil && !errors.Is(err, av.ErrTruncated) {
			t.Errorf("prefix of %d bytes: %v", n, err)
		}
	}
	for n := range whole {
		if _, err := parseTable(whole[:n], tablePMT, "PMT"); err == nil {
			t.Errorf("prefix of %d bytes of the section is taken for whole", n)
		}
	}
}

// TestIdentify: T9: what a stream is by type and descriptors.
func TestIdentify(t *testing.T) {
	for _, test := range []struct {
		e     esInfo
		kind  av.Kind
		codec av.Codec
	}{
		{esInfo{typ: 0x1B}, av.Video, av.H264},
		{esInfo{typ: 0x24}, av.Video, av.H265},
		{esInfo{typ: 0x0F}, av.Audio, av.AAC},
		{esInfo{typ: 0x03}, av.Audio, av.MP3},
		{esInfo{typ: 0x04}, av.Audio, av.MP3},
		{esInfo{typ: 0x81}, av.Audio, av.AC3},
		{esInfo{typ: 0x87}, av.Audio, av.EAC3},
		{esInfo{typ: 0x06, desc: []byte{0x6A, 0}}, av.Audio, av.AC3},
		{esInfo{typ: 0x06, desc: []byte{0x52, 1, 9, 0x7A, 0}}, av.Audio, av.EAC3},
		{esInfo{typ: 0x06, desc: registration("Opus")}, av.Audio, av.Opus},
		{esInfo{typ: 0x06, desc: registration("HEVC")}, av.Video, av.H265},
		{esInfo{typ: 0x06, desc: registration("AV01")}, av.Data, av.Private},
		{esInfo{typ: 0x06, desc: []byte{0x05, 200, 'O', 'p', 'u', 's'}}, av.Data, av.Private},
		{esInfo{typ: 0x11}, av.Data, av.Private}, // LATM
		{esInfo{typ: 0x15}, av.Data, av.Private},
		{esInfo{typ: 0x86}, av.Data, av.Private},
	} {
		if k, c := test.e.identify(); k != test.kind || c != test.codec {
			t.Errorf("%#x % x: %v %v, want %v %v", test.e.typ, test.e.desc, k, c, test.kind, test.codec)
		}
	}
}

func TestOpusHeader(t *testing.T) {
	long := append([]byte{0x7F, 0xE0, 0xFF, 0xFF, 10}, make([]byte, 520)...)
	for name, test := range map[string]struct {
		b             []byte
		n, size, trim int
	}{
		"plain":     {[]byte{0x7F, 0xE0, 5, 1, 2, 3, 4, 5}, 3, 5, 0},
		"long":      {long, 5, 520, 0},
		"trims":     {[]byte{0x7F, 0xF8, 1, 0, 9, 1, 0x38, 0xAA}, 7, 1, 0x138},
		"extension": {[]byte{0x7F, 0xE4, 1, 2, 9, 9, 0xAA}, 6, 1, 0},
		"short":     {[]byte{0x7F, 0xE0, 0xFF}, 0, 0, 0},
		"none":      {[]byte{0x7E, 0xE0, 0xFF}, -1, 0, 0},
		"endless":   {append([]byte{0x7F, 0xE0}, bytes.Repeat([]byte{0xFF}, 300)...), -1, 0, 0},
	} {
		if n, size, trim := opusHeader(test.b); n != test.n || n > 0 && size != test.size || trim != test.trim {
			t.Errorf("%s: %d, %d, %d, want %d, %d, %d", name, n, size, trim, test.n, test.size, test.trim)
		}
	}
}

func TestSniff(t *testing.T) {
	b := sample(t, "av.ts")
	for name, test := range map[string]struct {
		b    []byte
		want int
	}{
		"stream":   {b[:4096], 100},
		"cut":      {b[77:4096], 100},
		"short":    {b[:3*packetSize], 70},
		"192":      {spread(b, make([]byte, 4), nil)[:4096], 100},
		"zeros":    {make([]byte, 4096), 0},
		"all sync": {bytes.Repeat([]byte{syncByte}, 100), 0},
		"empty":    {nil, 0},
	} {
		if got := Sniff(test.b); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
