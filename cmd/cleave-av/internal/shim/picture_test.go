//go:build libav

package shim

import (
	"bytes"
	"image/jpeg"
	"math/rand"
	"os"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/mp4"
)

// TestPicture: a key frame becomes a picture; whatever is done to it, the answer is a
// picture or an error, and nothing is leaked or read that is not there (-asan).
func TestPicture(t *testing.T) {
	for name, codec := range map[string]string{"last.mp4": "h264", "hevc.mp4": "hevc"} {
		b, err := os.ReadFile("../../../../format/mp4/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		d := mp4.New(bytes.NewReader(b), int64(len(b)))
		g := avtest.ReadAll(t, d)[0]
		d.Close()
		var config, key []byte
		for _, p := range g.Packets {
			if g.Tracks[p.Track].Kind == av.Video && p.Flags.Has(av.Key) {
				config, key = g.Tracks[p.Track].Config, p.Data
				break
			}
		}
		picture, err := Picture(codec, config, key, 1<<20, 3)
		if err != nil {
			t.Fatal(name, err)
		}
		m, err := jpeg.Decode(bytes.NewReader(picture))
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := Picture(codec, config, key, int64(m.Bounds().Dx()*m.Bounds().Dy())-1, 3); err == nil {
			t.Errorf("%s: one pixel too many was decoded", name)
		}
		r := rand.New(rand.NewSource(1))
		for range 200 {
			c, k := bytes.Clone(config), bytes.Clone(key)
			for range 1 + r.Intn(8) {
				k[r.Intn(len(k))] = byte(r.Intn(256))
			}
			if r.Intn(3) == 0 {
				c[r.Intn(len(c))] ^= 1 << r.Intn(8)
			}
			if b, err := Picture(codec, c[:r.Intn(len(c)+1)], k[:r.Intn(len(k)+1)], 1<<22, 31); err == nil {
				if _, err := jpeg.Decode(bytes.NewReader(b)); err != nil {
					t.Error("a picture that is none: ", err)
				}
			}
		}
	}
	for _, codec := range []string{"", "none", "aac", "h264", "av1", "vp9", "mjpeg"} {
		if _, err := Picture(codec, nil, nil, 1<<20, 3); err == nil {
			t.Errorf("%q of nothing became a picture", codec)
		}
	}
}
