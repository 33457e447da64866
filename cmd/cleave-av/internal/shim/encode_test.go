//go:build libav

package shim

import (
	"bytes"
	"errors"
	"io"
	"math/rand"
	"os"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/libav/wire"
	"github.com/cleave-video/cleave/format/mp4"
)

// chunkOf is a file's video.
func chunkOf(t *testing.T, name, codec string) *wire.Chunk {
	t.Helper()
	b, err := os.ReadFile("../../../../format/mp4/testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	g := avtest.ReadAll(t, d)[0]
	c := &wire.Chunk{ChunkHead: wire.ChunkHead{Codec: codec, Height: 32, Bitrate: 100_000, Rate: [2]int32{25, 1}, Depth: 2}}
	for _, p := range g.Packets {
		if track := &g.Tracks[p.Track]; track.Kind == av.Video {
			c.Config = track.Config
			c.Units = append(c.Units, wire.Unit{Key: p.Flags.Has(av.Key), Shown: true, Size: len(p.Data), PTS: p.PTS, Data: p.Data})
		}
	}
	return c
}

// complete checks that a picture came out for each that is to be shown.
func complete(t *testing.T, c *wire.Chunk, e *wire.Encoded) {
	t.Helper()
	for i := range c.Shown() {
		if p, err := e.Next(); err != nil || p.Rank != i || len(p.Data) == 0 || i == 0 && !p.Key {
			t.Fatalf("picture %d: %+v, %v", i, p, err)
		}
	}
	if _, err := e.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestEncode: whatever is done to a chunk, the answer is a picture for each that is to be
// shown, or an error, and nothing is leaked or read that is not there (-asan).
func TestEncode(t *testing.T) {
	if !CanEncode() {
		t.Skip("libavcodec here has no libx264")
	}
	for name, codec := range map[string]string{"last.mp4": "h264", "hevc.mp4": "hevc"} {
		c := chunkOf(t, name, codec)
		e, err := Encode(c, 1<<20)
		if err != nil || e.Repeated != 0 || len(e.Config) == 0 {
			t.Fatal(name, err)
		}
		complete(t, c, e)
		if _, err := Encode(c, 16); err == nil {
			t.Errorf("%s: pictures of more than 16 pixels were decoded", name)
		}
		r := rand.New(rand.NewSource(1))
		for range 60 {
			x := *c
			x.Config, x.Units = bytes.Clone(c.Config), append([]wire.Unit(nil), c.Units[r.Intn(len(c.Units)):]...)
			for range 1 + r.Intn(8) {
				u := &x.Units[r.Intn(len(x.Units))]
				u.Data = bytes.Clone(u.Data)
				switch r.Intn(5) {
				case 0:
					u.Data = u.Data[:r.Intn(len(u.Data)+1)]
				case 1:
					u.PTS = r.Int63() - 1<<62
				case 2:
					u.Key = !u.Key
				case 3:
					x.Config[r.Intn(len(x.Config))] ^= 1 << r.Intn(8)
				default:
					if len(u.Data) > 0 {
						u.Data[r.Intn(len(u.Data))] = byte(r.Intn(256))
					}
				}
			}
			if e, err := Encode(&x, 1<<20); err == nil {
				complete(t, &x, e)
			}
		}
	}
}
