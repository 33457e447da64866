package codec_test

import (
	"encoding/binary"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/codec"
)

// entry is a track's Config: a handler and a sample entry of n bytes with what follows.
func entry(handler, name string, fields int, set func(b []byte), boxes ...byte) []byte {
	b := make([]byte, fields)
	set(b)
	b = append(b, boxes...)
	head := append([]byte(handler), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(head[4:], uint32(8+len(b)))
	return append(append(head, name...), b...)
}

// TestPrivate: what a sample entry says of a codec that is unknown here.
func TestPrivate(t *testing.T) {
	size := func(b []byte) { b[24], b[25], b[26], b[27] = 2, 128, 1, 224 }
	esds := []byte("\x00\x00\x00\x1desds\x00\x00\x00\x00\x03\x80\x80\x0b\x00\x00\x00\x04\x05\x61\x11\x00\x00\x00")
	esds[3] = byte(len(esds))
	rate := func(b []byte) { b[17], b[24], b[25] = 2, 0xac, 0x44 }
	for name, c := range map[string]struct {
		t    av.Track
		want codec.Info
	}{
		"mp4v": {av.Track{Kind: av.Video, Config: entry("vide", "mp4v", 78, size, esds...)}, codec.Info{String: "mp4v.61", Width: 640, Height: 480}},
		"vp08": {av.Track{Kind: av.Video, Config: entry("vide", "vp08", 78, size)}, codec.Info{String: "vp08.00.10.08", Width: 640, Height: 480}},
		"vvc1": {av.Track{Kind: av.Video, Config: entry("vide", "vvc1", 78, size)}, codec.Info{String: "vvc1", Width: 640, Height: 480}},
		"fLaC": {av.Track{Kind: av.Audio, Config: entry("soun", "fLaC", 28, rate)}, codec.Info{String: "fLaC", SampleRate: 44100, Channels: 2}},
		"data": {av.Track{Kind: av.Data, Config: entry("text", "tx3g", 28, rate)}, codec.Info{}},
		"name": {av.Track{Kind: av.Audio, Config: entry("soun", "a\"\n,", 28, rate)}, codec.Info{}},
	} {
		c.t.Codec, c.t.Private, c.want.Reorder = av.Private, av.PrivateMP4, -1
		if got, err := codec.Describe(&c.t); got != c.want || err != nil {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, c.want)
		}
		avtest.Prefixes(t, c.t.Config, func(b []byte) {
			p := c.t
			p.Config = b
			if _, err := codec.Describe(&p); err != nil {
				t.Error(err)
			}
		})
		c.t.Private = av.PrivateTS
		if got, _ := codec.Describe(&c.t); got != (codec.Info{Reorder: -1}) {
			t.Errorf("%s in words of TS: %+v", name, got)
		}
	}
}
