package ac3

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

// heads are of frames that ffmpeg's encoders made, configs what its MP4 muxer
// wrote for them.
var heads = []struct {
	name                          string
	in                            string
	size, rate, channels, samples int
	eac3                          bool
	config                        string
}{
	{"AC-3 stereo 192k", "0b77fe95144043e106f46370c0c0c218", 768, 48000, 2, 1536, false, "101140"},
	{"AC-3 5.1 448k, 44.1 kHz", "0b770dce5e40ebf8403eff9dffc2107f", 1950, 44100, 6, 1536, false, "503de0"},
	{"AC-3 mono 64k, 32 kHz", "0b77999b88402f842ba1cefab0fdf3f7", 384, 32000, 1, 1536, false, "900880"},
	{"E-AC-3 5.1 256k", "0b7701ff3f87c0002080200002004000", 1024, 48000, 6, 1536, true, "0800200f00"},
	{"E-AC-3 stereo 96k, 44.1 kHz", "0b7700cf7487c00020fc210831201106", 416, 44100, 2, 1536, true, "0300600400"},
}

func TestParseFrame(t *testing.T) {
	for _, test := range heads {
		f, err := ParseFrame(unhex(test.in))
		if err != nil || f.Size != test.size || f.SampleRate != test.rate || f.Channels != test.channels ||
			f.Samples != test.samples || f.EAC3 != test.eac3 || f.Dependent() {
			t.Errorf("%s: %+v, %v", test.name, f, err)
		}
		if got := hex.EncodeToString(f.Config()); got != test.config {
			t.Errorf("%s: config %s, want %s", test.name, got, test.config)
		}
		rate, channels, err := ParseConfig(f.Config(), f.EAC3)
		if err != nil || rate != test.rate || channels != test.channels {
			t.Errorf("%s: config of %d Hz, %d channels, %v", test.name, rate, channels, err)
		}
	}
}

// TestSpecial: half rates, short and dependent E-AC-3 frames, and faults.
func TestSpecial(t *testing.T) {
	change := func(i int, at int, b ...byte) []byte {
		in := unhex(heads[i].in)
		copy(in[at:], b)
		return in
	}
	for name, test := range map[string]struct {
		in   []byte
		want Frame
		err  error
	}{
		"AC-3 of half the rate": {change(0, 5, 9<<3), Frame{Size: 768, SampleRate: 24000, Channels: 2, Samples: 1536}, nil},
		"E-AC-3, one block":     {change(3, 4, 0x0f), Frame{Size: 1024, SampleRate: 48000, Channels: 6, Samples: 256, EAC3: true}, nil},
		"E-AC-3, 24 kHz":        {change(3, 4, 0xcf), Frame{Size: 1024, SampleRate: 24000, Channels: 6, Samples: 1536, EAC3: true}, nil},
		"E-AC-3, dependent":     {change(3, 2, 0x41), Frame{Size: 1024, SampleRate: 48000, Channels: 6, Samples: 1536, EAC3: true, strmtyp: 1}, nil},
		"E-AC-3, reserved rate": {change(3, 4, 0xff), Frame{}, av.ErrInvalid},
		"no sync":               {change(0, 0, 0x0c), Frame{}, av.ErrInvalid},
		"reserved rate":         {change(0, 4, 0xd4), Frame{}, av.ErrInvalid},
		"reserved size":         {change(0, 4, 0x26), Frame{}, av.ErrInvalid},
		"unknown bsid":          {change(0, 5, 17<<3), Frame{}, av.ErrUnsupported},
		"short":                 {unhex(heads[0].in)[:7], Frame{}, av.ErrTruncated},
	} {
		f, err := ParseFrame(test.in)
		if !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
		w := test.want
		if err == nil && (f.Size != w.Size || f.SampleRate != w.SampleRate || f.Channels != w.Channels || f.Samples != w.Samples ||
			f.EAC3 != w.EAC3 || f.Dependent() != w.Dependent()) {
			t.Errorf("%s: %+v, want %+v", name, f, w)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for _, test := range heads {
		avtest.Prefixes(t, unhex(test.in), func(b []byte) {
			if f, err := ParseFrame(b); err == nil {
				f.Config()
			}
		})
		avtest.Prefixes(t, unhex(test.config), func(b []byte) {
			_, _, err := ParseConfig(b, test.eac3)
			if err != nil && !errors.Is(err, av.ErrTruncated) {
				t.Errorf("%s, %d bytes: %v", test.name, len(b), err)
			}
		})
	}
}

func TestNoAllocation(t *testing.T) {
	for _, test := range heads {
		in := unhex(test.in)
		if n := testing.AllocsPerRun(100, func() { ParseFrame(in) }); n != 0 {
			t.Errorf("%s: %v allocations", test.name, n)
		}
	}
}

// FuzzParse: a frame that is accepted has a size, a rate and a configuration that
// says the same.
func FuzzParse(f *testing.F) {
	for _, test := range heads {
		f.Add(unhex(test.in))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ParseConfig(b, false)
		ParseConfig(b, true)
		h, err := ParseFrame(b)
		if err != nil {
			return
		}
		if h.Size < 2 || h.SampleRate <= 0 || h.Samples <= 0 || h.Channels < 1 {
			t.Fatalf("%+v", h)
		}
		_, channels, err := ParseConfig(h.Config(), h.EAC3)
		if err != nil || channels != h.Channels {
			t.Fatalf("%+v: %d channels, %v", h, channels, err)
		}
		if bytes.Equal(h.Config(), nil) {
			t.Fatal("no configuration")
		}
	})
}
