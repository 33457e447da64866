package vp9

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/cleave-video/cleave/av/avtest"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// keyFrame is the start of a key frame of libvpx, 128 by 72.
var keyFrame = unhex("824983420007f004760638241c184a0005905f7fbfbfbbe27fd5faffd9cabd3f")

func TestLook(t *testing.T) {
	for name, test := range map[string]struct {
		in   []byte
		want Frame
		ok   bool
	}{
		"key":            {keyFrame, Frame{Key: true, Show: true}, true},
		"inter":          {[]byte{0x86, 0}, Frame{Show: true}, true},
		"not shown":      {[]byte{0x84, 0x00}, Frame{}, true},
		"intra only":     {[]byte{0x85, 0x80}, Frame{Intra: true}, true},
		"shows existing": {[]byte{0x88}, Frame{ShowExisting: true}, true},
		"profile 3":      {[]byte{0xb1, 0}, Frame{Profile: 3, Key: true, Show: true}, true},
		"no marker":      {[]byte{0x42, 0}, Frame{}, false},
		"empty":          {nil, Frame{}, false},
	} {
		got, ok := Look(test.in)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s: %+v, %v; want %+v", name, got, ok, test.want)
		}
	}
}

func TestConfig(t *testing.T) {
	w, h, err := Size(keyFrame)
	if err != nil || w != 128 || h != 72 {
		t.Errorf("%d by %d, %v", w, h, err)
	}
	c, err := Config(keyFrame)
	if err != nil || !bytes.Equal(c, []byte{0, 10, 0x82, 2, 2, 2, 0, 0}) {
		t.Errorf("%x, %v", c, err)
	}
	if _, err := Config([]byte{0x86, 0, 0x40, 0x92, 0x9c, 0}); err == nil {
		t.Error("a configuration of an inter frame")
	}
	avtest.Prefixes(t, keyFrame, func(b []byte) {
		Look(b)
		Size(b)
		Config(b)
	})
}

func TestStrings(t *testing.T) {
	for _, test := range []struct {
		config []byte
		want   string
	}{
		{[]byte{0, 10, 0x82, 2, 2, 2, 0, 0}, "vp09.00.10.08"},
		{[]byte{0, 41, 0x82, 1, 1, 1, 0, 0}, "vp09.00.41.08"},
		{[]byte{2, 51, 0xa2, 9, 16, 9, 0, 0}, "vp09.02.51.10.01.09.16.09.00"},
		{[]byte{1, 10, 0x87, 2, 2, 2, 0, 0}, "vp09.01.10.08.03.02.02.02.01"},
		{[]byte{0, 10}, ""},
	} {
		if got := String(test.config); got != test.want {
			t.Errorf("%x: %s, want %s", test.config, got, test.want)
		}
	}
}

func TestLevels(t *testing.T) {
	for pixels, want := range map[int]byte{1: 10, 128 * 72: 10, 640 * 360: 21, 1280 * 720: 31, 1920 * 1080: 40, 3840 * 2160: 50, 7680 * 4320: 60} {
		if got := level(pixels); got != want {
			t.Errorf("%d pixels: level %d, want %d", pixels, got, want)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Look(keyFrame) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse: nothing panics, and a key frame that is read makes a record.
func FuzzParse(f *testing.F) {
	f.Add(keyFrame)
	f.Fuzz(func(t *testing.T, b []byte) {
		Look(b)
		Size(b)
		c, err := Config(b)
		if err == nil && String(c) == "" {
			t.Fatalf("%x has no name", c)
		}
	})
}
