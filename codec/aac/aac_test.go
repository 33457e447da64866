package aac

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

// configs are AudioSpecificConfigs of encoders, and what they say.
var configs = []struct {
	name string
	asc  []byte
	want Config
	str  string
}{
	{"LC 44.1 kHz stereo", []byte{0x12, 0x10}, Config{2, 0, 44100, 44100, 2, 2, 1024}, "mp4a.40.2"},
	{"LC 8 kHz mono", []byte{0x15, 0x88}, Config{2, 0, 8000, 8000, 1, 1, 1024}, "mp4a.40.2"},
	{"LC 48 kHz 7.1", []byte{0x11, 0xb8}, Config{2, 0, 48000, 48000, 8, 7, 1024}, "mp4a.40.2"},
	{"LC 960", []byte{0x11, 0x94}, Config{2, 0, 48000, 48000, 2, 2, 960}, "mp4a.40.2"},
	{"rate in full", []byte{0x17, 0x80, 0x57, 0xe4, 0x10}, Config{2, 0, 45000, 45000, 2, 2, 1024}, "mp4a.40.2"},
	{"HE-AAC 44.1 kHz", []byte{0x2b, 0x92, 0x08, 0x00}, Config{2, 5, 22050, 44100, 2, 2, 1024}, "mp4a.40.5"},
	{"HE-AAC v2 44.1 kHz", []byte{0xeb, 0x8a, 0x08, 0x00}, Config{2, 29, 22050, 44100, 1, 1, 1024}, "mp4a.40.29"},
	{"Main", []byte{0x0a, 0x10}, Config{1, 0, 44100, 44100, 2, 2, 1024}, "mp4a.40.1"},
	{"2.1", []byte{0x11, 0x80, 0x04, 0xc4, 0x01, 0x00, 0x20, 0x00, 0x00}, Config{2, 0, 48000, 48000, 3, 0, 1024}, "mp4a.40.2"},
	{"program cut", []byte{0x11, 0x80, 0x04, 0xc4, 0x01}, Config{2, 0, 48000, 48000, 0, 0, 1024}, "mp4a.40.2"},
	{"xHE-AAC", []byte{0xf9, 0x46, 0x40}, Config{42, 0, 48000, 48000, 2, 2, 1024}, "mp4a.40.42"},
}

func TestParseConfig(t *testing.T) {
	for _, test := range configs {
		got, err := ParseConfig(test.asc)
		if err != nil || got != test.want || got.String() != test.str {
			t.Errorf("%s: %+v %s, %v; want %+v %s", test.name, got, got, err, test.want, test.str)
		}
	}
	for name, asc := range map[string][]byte{
		"empty":          nil,
		"one byte":       {0x12},
		"reserved rate":  {0x16, 0x90},
		"rate 0":         {0x17, 0x80, 0, 0, 0x10},
		"object type 0":  {0x02, 0x10},
		"rate cut":       {0x17, 0x80},
		"longer than is": make([]byte, 2000),
	} {
		if _, err := ParseConfig(asc); !errors.Is(err, av.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADTS(t *testing.T) {
	for _, test := range []struct {
		name   string
		in     []byte
		want   ADTS
		config []byte
		err    error
	}{
		{"LC", []byte{0xff, 0xf1, 0x50, 0x80, 0x0c, 0x3f, 0xfc}, ADTS{2, 4, 2, 7, 97, 1}, []byte{0x12, 0x10}, nil},
		{"checksum, 2 blocks, MPEG-2", []byte{0xff, 0xf8, 0x6c, 0x40, 0x20, 0x1f, 0xfd}, ADTS{2, 11, 1, 9, 256, 2}, []byte{0x15, 0x88}, nil},
		{"7.1", []byte{0xff, 0xf1, 0x4d, 0xc0, 0x20, 0x1f, 0xfc}, ADTS{2, 3, 7, 7, 256, 1}, []byte{0x11, 0xb8}, nil},
		{"short", []byte{0xff, 0xf1, 0x50, 0x80, 0x0c, 0x3f}, ADTS{}, nil, av.ErrTruncated},
		{"no sync", []byte{0xff, 0xe1, 0x50, 0x80, 0x0c, 0x3f, 0xfc}, ADTS{}, nil, av.ErrInvalid},
		{"layer 3", []byte{0xff, 0xf3, 0x50, 0x80, 0x0c, 0x3f, 0xfc}, ADTS{}, nil, av.ErrInvalid},
		{"reserved rate", []byte{0xff, 0xf1, 0x74, 0x80, 0x0c, 0x3f, 0xfc}, ADTS{}, nil, av.ErrInvalid},
		{"length of 6", []byte{0xff, 0xf1, 0x50, 0x80, 0x00, 0xdf, 0xfc}, ADTS{}, nil, av.ErrInvalid},
		{"no room for the checksum", []byte{0xff, 0xf0, 0x50, 0x80, 0x01, 0x1f, 0xfc}, ADTS{}, nil, av.ErrInvalid},
	} {
		got, err := ParseADTS(test.in)
		if !errors.Is(err, test.err) || err == nil && got != test.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", test.name, got, err, test.want, test.err)
		}
		if err == nil && !bytes.Equal(got.Config(), test.config) {
			t.Errorf("%s: config %x, want %x", test.name, got.Config(), test.config)
		}
	}
}

// TestRoundTrip: a header that is written says what the configuration says.
func TestRoundTrip(t *testing.T) {
	for _, test := range configs {
		if test.want.ObjectType > 4 || test.want.SampleRate == 45000 {
			continue
		}
		b, err := AppendADTS([]byte("before"), test.asc, 300)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		h, err := ParseADTS(b[6:])
		if err != nil || h.FrameLen != 307 || h.ObjectType != test.want.ObjectType || h.SampleRate() != test.want.SampleRate ||
			h.ChannelConfig != test.want.ChannelConfig || h.Blocks != 1 || h.HeaderLen != 7 {
			t.Errorf("%s: %+v, %v", test.name, h, err)
		}
	}
	for name, test := range map[string]struct {
		asc     []byte
		payload int
		err     error
	}{
		"too long":       {[]byte{0x12, 0x10}, 8185, av.ErrUnsupported},
		"object type 42": {[]byte{0xf9, 0x46, 0x40}, 10, av.ErrUnsupported},
		"other rate":     {[]byte{0x17, 0x80, 0x57, 0xe4, 0x10}, 10, av.ErrUnsupported},
		"no config":      {nil, 10, av.ErrInvalid},
	} {
		if b, err := AppendADTS([]byte("x"), test.asc, test.payload); !errors.Is(err, test.err) || string(b) != "x" {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
}

// TestProgram: channels that only a program config element tells, of ffmpeg's
// encoder; its MP4 muxer wrote the same but for the comment.
func TestProgram(t *testing.T) {
	for _, test := range []struct {
		name, frame, want string
		channels          int
	}{
		{"2.1", "fff14c002cdffca098802004000d4c61766335392e33372e313030de0200", "118004c40100200000", 3},
		{"quad", "fff14c004a3ffca098808004220d4c61766335392e33372e313030de0200", "118004c40400211000", 4},
		{"6.0", "fff14c0038bffca0990880040110800d4c61766335392e33372e313030de", "118004c844002008 8400", 6},
		{"hexagonal", "fff14c0038bffca0990100040110800d4c61766335392e33372e313030de", "118004c808002008 8400", 6},
	} {
		frame, err1 := hex.DecodeString(test.frame)
		want, err2 := hex.DecodeString(strings.ReplaceAll(test.want, " ", ""))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		got, err := FrameConfig(frame)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v; want %x", test.name, got, err, want)
			continue
		}
		c, err := ParseConfig(got)
		if err != nil || c.Channels != test.channels || c.ChannelConfig != 0 {
			t.Errorf("%s: %+v, %v", test.name, c, err)
		}
		avtest.Prefixes(t, frame, func(b []byte) { FrameConfig(b) })
	}
	for name, test := range map[string]struct {
		frame []byte
		want  []byte
		err   error
	}{
		"channels in the header": {[]byte{0xff, 0xf1, 0x50, 0x80, 0x0c, 0x3f, 0xfc}, []byte{0x12, 0x10}, nil},
		"no element":             {[]byte{0xff, 0xf1, 0x50, 0x00, 0x0c, 0x3f, 0xfc, 0x20, 0}, nil, av.ErrUnsupported},
		"element cut":            {[]byte{0xff, 0xf1, 0x50, 0x00, 0x0c, 0x3f, 0xfc, 0xa0, 0}, nil, av.ErrInvalid},
		"no channels":            {append([]byte{0xff, 0xf1, 0x50, 0x00, 0x0c, 0x3f, 0xfc, 0xa0}, make([]byte, 9)...), nil, av.ErrInvalid},
		"no sync":                {make([]byte, 9), nil, av.ErrInvalid},
	} {
		if got, err := FrameConfig(test.frame); !errors.Is(err, test.err) || err == nil && !bytes.Equal(got, test.want) {
			t.Errorf("%s: %x, %v; want %x, %v", name, got, err, test.want, test.err)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for _, test := range configs {
		avtest.Prefixes(t, test.asc, func(b []byte) {
			ParseConfig(b)
			AppendADTS(nil, b, 10)
		})
	}
}

func TestNoAllocation(t *testing.T) {
	in := []byte{0xff, 0xf1, 0x50, 0x80, 0x0c, 0x3f, 0xfc}
	dst, asc := make([]byte, 0, 7), []byte{0x12, 0x10}
	if n := testing.AllocsPerRun(100, func() {
		ParseADTS(in)
		AppendADTS(dst, asc, 100)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse: nothing panics, and a header that is read can be written.
func FuzzParse(f *testing.F) {
	for _, test := range configs {
		f.Add(test.asc)
	}
	f.Add([]byte{0xff, 0xf1, 0x50, 0x80, 0x0c, 0x3f, 0xfc})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := ParseConfig(b); err == nil && (c.SampleRate <= 0 || c.FrameSamples <= 0 || c.String() == "") {
			t.Fatalf("%+v", c)
		}
		if c, err := FrameConfig(b); err == nil {
			if _, err := ParseConfig(c); err != nil {
				t.Fatalf("%x: %v", c, err)
			}
		}
		h, err := ParseADTS(b)
		if err != nil {
			return
		}
		out, err := AppendADTS(nil, h.Config(), h.FrameLen-h.HeaderLen)
		if err != nil {
			t.Fatal(err)
		}
		g, err := ParseADTS(out)
		if err != nil || g.ObjectType != h.ObjectType || g.SampleRateIndex != h.SampleRateIndex || g.ChannelConfig != h.ChannelConfig {
			t.Fatalf("%+v of %+v, %v", g, h, err)
		}
	})
}
