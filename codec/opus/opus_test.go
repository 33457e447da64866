package opus

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

var configs = []struct {
	name string
	dOps []byte
	head []byte // the same as OpusHead, behind its magic
	want Config
}{
	{
		"stereo",
		[]byte{0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0},
		[]byte{1, 2, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 0},
		Config{Channels: 2, PreSkip: 312, InputRate: 48000},
	},
	{
		"mono with gain",
		[]byte{0, 1, 0, 80, 0, 0, 0x3e, 0x80, 0xff, 0, 0},
		[]byte{1, 1, 80, 0, 0x80, 0x3e, 0, 0, 0, 0xff, 0},
		Config{Channels: 1, PreSkip: 80, InputRate: 16000, Gain: -256},
	},
	{
		"5.1",
		[]byte{0, 6, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 1, 4, 2, 0, 4, 1, 2, 3, 5},
		[]byte{1, 6, 0x38, 1, 0x80, 0xbb, 0, 0, 0, 0, 1, 4, 2, 0, 4, 1, 2, 3, 5},
		Config{Channels: 6, PreSkip: 312, InputRate: 48000, MappingFamily: 1, Streams: 4, Coupled: 2, Mapping: []byte{0, 4, 1, 2, 3, 5}},
	},
}

func TestConfig(t *testing.T) {
	for _, test := range configs {
		got, err := ParseConfig(test.dOps)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
		if b := got.Append(nil); !bytes.Equal(b, test.dOps) {
			t.Errorf("%s: written as %x, want %x", test.name, b, test.dOps)
		}
		for _, head := range [][]byte{test.head, append([]byte("OpusHead"), test.head...)} {
			if got, err := ParseHead(head); err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("%s: OpusHead %+v, %v", test.name, got, err)
			}
		}
		avtest.Prefixes(t, test.dOps, func(b []byte) {
			if _, err := ParseConfig(b); len(b) < len(test.dOps) && !errors.Is(err, av.ErrTruncated) {
				t.Errorf("%s, %d bytes: %v", test.name, len(b), err)
			}
		})
		avtest.Prefixes(t, test.head, func(b []byte) { ParseHead(b) })
	}
	for name, test := range map[string]struct {
		dOps []byte
		err  error
	}{
		"no channels":             {[]byte{0, 0, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0}, av.ErrInvalid},
		"three in family 0":       {[]byte{0, 3, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0}, av.ErrInvalid},
		"version 16":              {[]byte{16, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0}, av.ErrUnsupported},
		"mapping shorter than it": {[]byte{0, 3, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 1, 2, 1, 0, 1}, av.ErrTruncated},
	} {
		if _, err := ParseConfig(test.dOps); !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
	}
}

func TestTSDescriptor(t *testing.T) {
	registration := []byte{5, 4, 'O', 'p', 'u', 's'}
	for code, want := range map[byte]Config{
		0: {Channels: 2, PreSkip: 312, InputRate: 48000, MappingFamily: 255, Streams: 2, Mapping: []byte{0, 1}},
		1: {Channels: 1, PreSkip: 312, InputRate: 48000},
		2: {Channels: 2, PreSkip: 312, InputRate: 48000},
		6: configs[2].want,
	} {
		d := append(bytes.Clone(registration), 0x7f, 2, 0x80, code)
		got, err := ParseTSDescriptor(d)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("code %d: %+v, %v; want %+v", code, got, err, want)
		}
		if _, err := ParseConfig(got.Append(nil)); err != nil {
			t.Errorf("code %d: %v", code, err)
		}
	}
	for name, test := range map[string]struct {
		d   []byte
		err error
	}{
		"none":         {registration, av.ErrInvalid},
		"empty":        {nil, av.ErrInvalid},
		"unknown code": {[]byte{0x7f, 2, 0x80, 9}, av.ErrUnsupported},
		"cut":          {[]byte{0x7f, 3, 0x80, 2}, av.ErrTruncated},
		"other tag":    {[]byte{0x7f, 2, 0x06, 2}, av.ErrInvalid},
	} {
		if _, err := ParseTSDescriptor(test.d); !errors.Is(err, test.err) {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
	}
}

func TestSamples(t *testing.T) {
	for _, test := range []struct {
		in   []byte
		want int
		err  error
	}{
		{[]byte{0xfc}, 960, nil},            // CELT fullband 20 ms, one frame
		{[]byte{0xfd}, 1920, nil},           // two of the same size
		{[]byte{0xfe, 3}, 1920, nil},        // two of different sizes
		{[]byte{0xff, 3}, 2880, nil},        // three
		{[]byte{0x18}, 2880, nil},           // SILK 60 ms
		{[]byte{0xe3, 48}, 5760, nil},       // 48 of 2.5 ms
		{[]byte{0xff, 0x80 | 6}, 5760, nil}, // 6 with padding flag bits
		{[]byte{0xff, 7}, 0, av.ErrInvalid},
		{[]byte{0xff, 0}, 0, av.ErrInvalid},
		{[]byte{0xff}, 0, av.ErrTruncated},
		{nil, 0, av.ErrTruncated},
	} {
		got, err := Samples(test.in)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%x: %d, %v; want %d, %v", test.in, got, err, test.want, test.err)
		}
	}
	in := []byte{0xff, 3}
	if n := testing.AllocsPerRun(100, func() { Samples(in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse: a configuration that is accepted is written as it was read.
func FuzzParse(f *testing.F) {
	for _, test := range configs {
		f.Add(test.dOps)
	}
	f.Add([]byte{5, 4, 'O', 'p', 'u', 's', 0x7f, 2, 0x80, 6})
	f.Fuzz(func(t *testing.T, b []byte) {
		ParseHead(b)
		ParseTSDescriptor(b)
		if n, err := Samples(b); err == nil && (n <= 0 || n > 5760) {
			t.Fatalf("%d samples", n)
		}
		c, err := ParseConfig(b)
		if err != nil {
			return
		}
		out := c.Append(nil)
		if len(out) > len(b) || !bytes.Equal(out[1:], b[1:len(out)]) {
			t.Fatalf("%x, want %x", out, b)
		}
	})
}
