package mp3

import (
	"errors"
	"testing"

	"github.com/cleave-video/cleave/av"
)

func TestParseHeader(t *testing.T) {
	for _, test := range []struct {
		name string
		in   [4]byte
		want Header
		err  error
	}{
		{"MPEG-1 layer III 128k", [4]byte{0xff, 0xfb, 0x90, 0x00}, Header{1, 3, 417, 44100, 2, 1152, 128000}, nil},
		{"padded", [4]byte{0xff, 0xfb, 0x92, 0x00}, Header{1, 3, 418, 44100, 2, 1152, 128000}, nil},
		{"mono, checksum", [4]byte{0xff, 0xfa, 0x94, 0xc0}, Header{1, 3, 384, 48000, 1, 1152, 128000}, nil},
		{"320k 32 kHz", [4]byte{0xff, 0xfb, 0xe8, 0x00}, Header{1, 3, 1440, 32000, 2, 1152, 320000}, nil},
		{"MPEG-2 layer III 64k", [4]byte{0xff, 0xf3, 0x80, 0x00}, Header{2, 3, 208, 22050, 2, 576, 64000}, nil},
		{"MPEG-2.5 layer III 16k", [4]byte{0xff, 0xe3, 0x20, 0xc0}, Header{25, 3, 104, 11025, 1, 576, 16000}, nil},
		{"MPEG-1 layer II 192k", [4]byte{0xff, 0xfd, 0xa4, 0x00}, Header{1, 2, 576, 48000, 2, 1152, 192000}, nil},
		{"MPEG-2 layer II 64k", [4]byte{0xff, 0xf5, 0x80, 0x00}, Header{2, 2, 417, 22050, 2, 1152, 64000}, nil},
		{"MPEG-1 layer I 384k", [4]byte{0xff, 0xff, 0xc4, 0x00}, Header{1, 1, 384, 48000, 2, 384, 384000}, nil},
		{"layer I padded", [4]byte{0xff, 0xff, 0xc2, 0x00}, Header{1, 1, 420, 44100, 2, 384, 384000}, nil},
		{"no sync", [4]byte{0xff, 0x1b, 0x90, 0}, Header{}, av.ErrInvalid},
		{"reserved version", [4]byte{0xff, 0xeb, 0x90, 0}, Header{}, av.ErrInvalid},
		{"reserved layer", [4]byte{0xff, 0xf9, 0x90, 0}, Header{}, av.ErrInvalid},
		{"reserved rate", [4]byte{0xff, 0xfb, 0x9c, 0}, Header{}, av.ErrInvalid},
		{"bad bit rate", [4]byte{0xff, 0xfb, 0xf0, 0}, Header{}, av.ErrInvalid},
		{"free format", [4]byte{0xff, 0xfb, 0x00, 0}, Header{}, av.ErrUnsupported},
	} {
		got, err := ParseHeader(test.in[:])
		if !errors.Is(err, test.err) || err == nil && got != test.want {
			t.Errorf("%s: %+v, %v; want %+v, %v", test.name, got, err, test.want, test.err)
		}
	}
	for n := range 4 {
		if _, err := ParseHeader([]byte{0xff, 0xfb, 0x90, 0}[:n]); !errors.Is(err, av.ErrTruncated) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	in := []byte{0xff, 0xfb, 0x90, 0x00}
	if n := testing.AllocsPerRun(100, func() { ParseHeader(in) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParseHeader: a header that is accepted describes a frame.
func FuzzParseHeader(f *testing.F) {
	f.Add([]byte{0xff, 0xfb, 0x90, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHeader(b)
		if err == nil && (h.FrameLen < 4 || h.SampleRate <= 0 || h.Samples <= 0 || h.Channels < 1) {
			t.Fatalf("%+v", h)
		}
	})
}
