package codec_test

import (
	"bytes"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/internal/nal"
)

// FuzzConfig: no configuration and no packet makes anything panic.
func FuzzConfig(f *testing.F) {
	for _, s := range streams {
		tr, l := packets(f, s.file, s.codec)
		f.Add(uint8(s.codec), tr.Config, l[0].Data[:min(200, len(l[0].Data))])
	}
	f.Add(uint8(av.AAC), []byte{0x12, 0x10}, []byte{1})
	f.Add(uint8(av.Opus), []byte{0, 2, 1, 0x38, 0, 0, 0xbb, 0x80, 0, 0, 0}, []byte{0xfc, 1})
	f.Add(uint8(av.AV1), []byte{0x81, 8, 0x0c, 0, 0x0a, 0x0b, 0, 0, 0, 0x24, 0xcf, 0x7f, 0x0d, 0xbf, 0xff, 0x38, 0x18}, []byte{0x12, 0, 0x0a, 1, 0})
	f.Add(uint8(av.VP9), []byte{0, 31, 0x82, 2, 2, 2, 0, 0}, []byte{0x82, 0x49, 0x83, 0x42})
	f.Add(uint8(av.EAC3), []byte{6, 0, 0x20, 4, 0}, []byte{0x0b, 0x77})
	f.Fuzz(func(t *testing.T, c uint8, config, data []byte) {
		tr := av.Track{Kind: av.Video, Codec: av.Codec(c % uint8(av.Private+1)), Config: config}
		codec.Describe(&tr)
		insp, err := codec.NewInspector(&tr)
		if err != nil {
			return
		}
		insp.Flags(data)
		if k := insp.FrameType(data); !bytes.ContainsRune([]byte("IPB?"), rune(k)) {
			t.Fatalf("type %q", k)
		}
		if n, ok := insp.NewConfig(data); ok {
			if _, err := codec.Describe(&av.Track{Codec: tr.Codec, Config: n}); err != nil {
				t.Fatalf("a new configuration that cannot be read: %v", err)
			}
		}
	})
}

// FuzzByteStream: what Write fills is what Scan measured, and adds up.
func FuzzByteStream(f *testing.F) {
	for _, s := range streams {
		f.Add(raw(f, s.file)[:1000], s.codec == av.H265)
	}
	f.Fuzz(func(t *testing.T, b []byte, hevc bool) {
		c := av.H264
		if hevc {
			c = av.H265
		}
		s := codec.NewByteStream(c)
		for pos := 0; ; {
			start, end, next := nal.Next(b, pos)
			if start < 0 {
				break
			}
			pos = next
			s.StartsAU(b[start:end])
			s.Place(b[start:end])
		}
		size, _, err := s.Scan(b, codec.StartCodes(nil, b))
		if err != nil {
			return
		}
		s.Order(b)
		dst := make([]byte, size)
		s.Write(dst, b)
		l := nal.Split(dst, 4)
		for _, ok := l.Next(); ok; _, ok = l.Next() {
		}
		if l.Err() != nil {
			t.Fatal(l.Err())
		}
		if c := s.Config(); c != nil {
			if _, err := codec.Describe(&av.Track{Codec: map[bool]av.Codec{true: av.H265, false: av.H264}[hevc], Config: c}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
