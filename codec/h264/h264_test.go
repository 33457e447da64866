package h264

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
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

// streams are parameter sets of libx264, and what it was told to make.
var streams = []struct {
	name, sps, pps string
	want           SPS
	str            string
	depth          int
}{
	{
		"high", "6764000cacd941419f9f011000000300100000030320f1429960", "68ebe3cb22c0",
		SPS{
			Profile: 100, Level: 12, ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8, Log2MaxFrameNum: 4, Log2MaxPOCLSB: 6,
			MaxRefFrames: 4, FrameMBSOnly: true, Width: 320, Height: 180, SAR: av.Rational{Num: 1, Den: 1},
			FrameRate: av.Rational{Num: 25, Den: 1}, Reorder: 2,
		},
		"avc1.64000c", 2,
	},
	{
		"baseline", "6742c00bd902c4ec04400000fa40003a9803c50a92", "68cb83cb20",
		SPS{
			Profile: 66, Constraints: 0xc0, Level: 11, ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8, Log2MaxFrameNum: 4, POCType: 2,
			MaxRefFrames: 3, FrameMBSOnly: true, Width: 176, Height: 144, SAR: av.Rational{Num: 1, Den: 1},
			FrameRate: av.Rational{Num: 30000, Den: 1001}, FixedRate: true, Reorder: 0,
		},
		"avc1.42c00b", 0,
	},
	{
		"main, interlaced", "674d401eeca05a126c1040000003004000000c87c50a6580", "68fba3cb20",
		SPS{
			Profile: 77, Constraints: 0x40, Level: 30, ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8, Log2MaxFrameNum: 4, Log2MaxPOCLSB: 6,
			MaxRefFrames: 4, Width: 720, Height: 576, SAR: av.Rational{Num: 16, Den: 11},
			FrameRate: av.Rational{Num: 25, Den: 1}, FixedRate: true, Reorder: 2,
		},
		"avc1.4d401e", 2,
	},
	{
		"high 4:2:2, 10 bits, matrices", "677a000ab6cd947279e3f011000003000100000300300f122596", "68ebe3cb3002c0",
		SPS{
			Profile: 122, Level: 10, ChromaFormat: 2, BitDepthLuma: 10, BitDepthChroma: 10, Log2MaxFrameNum: 4, Log2MaxPOCLSB: 6,
			MaxRefFrames: 4, FrameMBSOnly: true, Width: 100, Height: 50, SAR: av.Rational{Num: 1, Den: 1},
			FrameRate: av.Rational{Num: 24, Den: 1}, Reorder: 2,
		},
		"avc1.7a000a", 2,
	},
	{
		"high 4:4:4, HRD", "67f4000a919b2884dff80018003880000003008000003c3010030d000c35c9a701f1225960", "68ebec448440",
		SPS{
			Profile: 244, Level: 10, ChromaFormat: 3, BitDepthLuma: 8, BitDepthChroma: 8, Log2MaxFrameNum: 4, Log2MaxPOCLSB: 6,
			MaxRefFrames: 4, FrameMBSOnly: true, Width: 64, Height: 64, SAR: av.Rational{Num: 3, Den: 7},
			FrameRate: av.Rational{Num: 60, Den: 1}, Reorder: 2,
		},
		"avc1.f4000a", 2,
	},
}

func TestParseSPS(t *testing.T) {
	for _, test := range streams {
		got, err := ParseSPS(unhex(test.sps))
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		test.want.FixedRate = got.FixedRate
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v\nwant %+v", test.name, got, test.want)
		}
		if got.Depth() != test.depth {
			t.Errorf("%s: depth %d, want %d", test.name, got.Depth(), test.depth)
		}
	}
}

// TestDepth where the SPS does not state it. ITU-T H.264 E.2.1, table A-1
func TestDepth(t *testing.T) {
	for _, test := range []struct {
		name string
		s    SPS
		want int
	}{
		{"stated", SPS{Reorder: 3, Profile: 100, Level: 40}, 3},
		{"baseline", SPS{Reorder: -1, Profile: 66, Level: 40}, 0},
		{"type 2", SPS{Reorder: -1, Profile: 77, Level: 40, POCType: 2}, 0},
		{"intra", SPS{Reorder: -1, Profile: 110, Constraints: 0x10, Level: 40}, 0},
		{"1080p, level 4", SPS{Reorder: -1, Profile: 100, Level: 40, Width: 1920, Height: 1080}, 4},
		{"1080p, level 4.1", SPS{Reorder: -1, Profile: 100, Level: 41, Width: 1920, Height: 1088}, 4},
		{"720p, level 3.1", SPS{Reorder: -1, Profile: 77, Level: 31, Width: 1280, Height: 720}, 5},
		{"small", SPS{Reorder: -1, Profile: 77, Level: 51, Width: 320, Height: 180}, 16},
		{"unknown level", SPS{Reorder: -1, Profile: 77, Level: 255, Width: 320, Height: 180}, 16},
	} {
		if got := test.s.Depth(); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, test := range streams {
		sps, pps := unhex(test.sps), unhex(test.pps)
		c, err := NewConfig([][]byte{sps}, [][]byte{pps})
		if err != nil || c.String() != test.str {
			t.Errorf("%s: %s, %v; want %s", test.name, c.String(), err, test.str)
			continue
		}
		b := c.Append(nil)
		got, err := ParseConfig(b)
		if err != nil || !bytes.Equal(got.Append(nil), b) || got.NALLength != 4 || !bytes.Equal(got.SPS[0], sps) || !bytes.Equal(got.PPS[0], pps) {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
		if high := test.want.Profile >= 100; high != (len(got.Ext) == 4) || high && got.Ext[0] != 0xfc|test.want.ChromaFormat {
			t.Errorf("%s: extension %x", test.name, got.Ext)
		}
		body := len(b) - len(got.Ext)
		avtest.Prefixes(t, b, func(b []byte) {
			_, err := ParseConfig(b)
			if short := len(b) < body; short != errors.Is(err, av.ErrTruncated) {
				t.Errorf("%s, %d bytes: %v", test.name, len(b), err)
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	for name, test := range map[string]struct {
		in  []byte
		err error
	}{
		"version 0":         {[]byte{0, 66, 0, 10, 0xff, 0xe0, 0}, av.ErrInvalid},
		"lengths of 3":      {[]byte{1, 66, 0, 10, 0xfe, 0xe0, 0}, av.ErrInvalid},
		"length too large":  {[]byte{1, 66, 0, 10, 0xff, 0xe1, 0xff, 0xff, 0x67}, av.ErrTruncated},
		"set over 4 KiB":    {append([]byte{1, 66, 0, 10, 0xff, 0xe1, 0x20, 0}, make([]byte, 9000)...), av.ErrTooLarge},
		"number of PPS cut": {[]byte{1, 66, 0, 10, 0xff, 0xe1, 0, 1, 0x67}, av.ErrTruncated},
	} {
		if _, err := ParseConfig(test.in); !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
	}
	if c, err := ParseConfig([]byte{1, 66, 0, 10, 0xff, 0xe0, 0}); err != nil || len(c.SPS) != 0 {
		t.Errorf("avc3 without sets: %+v, %v", c, err)
	}
	if _, err := NewConfig(nil, nil); !errors.Is(err, av.ErrInvalid) {
		t.Errorf("no sets: %v", err)
	}
}

// TestPrefixes: an SPS that is cut is refused, whatever it says.
func TestPrefixes(t *testing.T) {
	for _, test := range streams {
		sps := unhex(test.sps)
		avtest.Prefixes(t, sps, func(b []byte) {
			if _, err := ParseSPS(b); len(b) < len(sps)-2 && !errors.Is(err, av.ErrInvalid) && !errors.Is(err, av.ErrTruncated) {
				t.Errorf("%s, %d bytes: %v", test.name, len(b), err)
			}
			if len(b) > 0 {
				PPSInfo(b)
				SliceHead(b)
				Recovery(b)
			}
		})
	}
}

func TestPPSInfo(t *testing.T) {
	for _, test := range streams {
		id, sps, delta, ok := PPSInfo(unhex(test.pps))
		if !ok || id != 0 || sps != 0 || delta == test.want.FrameMBSOnly {
			t.Errorf("%s: %d of %d, %v, %v", test.name, id, sps, delta, ok)
		}
	}
	if id, sps, delta, ok := PPSInfo([]byte{0x68, 0b01101001, 0b01000000}); !ok || id != 2 || sps != 1 || !delta {
		t.Errorf("%d of %d, %v, %v", id, sps, delta, ok)
	}
}

func TestRecovery(t *testing.T) {
	for name, test := range map[string]struct {
		in     []byte
		frames uint64
		ok     bool
	}{
		"at once":       {[]byte{6, 6, 1, 0xc4, 0x80}, 0, true},
		"in 9 frames":   {[]byte{6, 6, 2, 0b00010101, 0x00, 0x80}, 9, true},
		"behind others": {[]byte{6, 1, 2, 9, 9, 0xff, 0, 1, 9, 6, 1, 0xc4, 0x80}, 0, true},
		"none":          {[]byte{6, 5, 2, 9, 9, 0x80}, 0, false},
		"too long":      {[]byte{6, 6, 9, 0xc4, 0x80}, 0, false},
		"empty":         {[]byte{6}, 0, false},
		"endless type":  {append([]byte{6}, bytes.Repeat([]byte{0xff}, 100)...), 0, false},
	} {
		if n, ok := Recovery(test.in); n != test.frames || ok != test.ok {
			t.Errorf("%s: %d, %v; want %d, %v", name, n, ok, test.frames, test.ok)
		}
	}
}
