package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"

	"github.com/cleave-video/cleave/av/avtest"
)

func chunk() *Chunk {
	return &Chunk{
		ChunkHead: ChunkHead{Codec: "h264", Height: 360, Bitrate: 600_000, Rate: [2]int32{30000, 1001}, Depth: 2},
		Config:    []byte("record"),
		Units: []Unit{
			{Key: true, Size: 3, PTS: -5, Data: []byte("abc")},
			{Shown: true, Size: 2, PTS: 9, Data: []byte("de")},
			{Shown: true, Size: 0, PTS: 7, Data: []byte{}},
			{Shown: true, Key: true, Size: 1, PTS: 8, Data: []byte("f")},
		},
	}
}

func TestChunk(t *testing.T) {
	c := chunk()
	head, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := append(head, "abcdef"...)
	var got Chunk
	if err := got.Read(bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	c.ChunkHead.Config, c.ChunkHead.Units = 6, 4
	if !reflect.DeepEqual(&got, c) {
		t.Errorf("%+v, want %+v", got, c)
	}
	var pts []int64
	for _, u := range got.Shown() {
		pts = append(pts, u.PTS)
	}
	if !slices.Equal(pts, []int64{7, 8, 9}) {
		t.Errorf("shown at %v", pts)
	}
	avtest.Prefixes(t, b, func(p []byte) {
		if err := new(Chunk).Read(bytes.NewReader(p)); (err == nil) != (len(p) == len(b)) {
			t.Errorf("%d bytes: %v", len(p), err)
		}
	})
}

// TestChunkBounds: what is beyond the bounds is neither written nor read.
func TestChunkBounds(t *testing.T) {
	for name, spoil := range map[string]func(c *Chunk){
		"height":    func(c *Chunk) { c.Height = 0 },
		"odd":       func(c *Chunk) { c.Height = 91 },
		"tall":      func(c *Chunk) { c.Height = 8000 },
		"bitrate":   func(c *Chunk) { c.Bitrate = 0 },
		"rate":      func(c *Chunk) { c.Rate[1] = 0 },
		"depth":     func(c *Chunk) { c.Depth = 17 },
		"no units":  func(c *Chunk) { c.Units = nil },
		"too large": func(c *Chunk) { c.Units[0].Size = MaxChunk; c.Units[1].Size = 1 },
		"negative":  func(c *Chunk) { c.Units[0].Size = -1 },
	} {
		c := chunk()
		spoil(c)
		if _, err := c.Append(nil); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := chunk()
	for i := range c.Units {
		c.Units[i].Shown = false
	}
	head, err := c.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := new(Chunk).Read(bytes.NewReader(append(head, "abcdef"...))); !errors.Is(err, ErrMessage) {
		t.Error("nothing is shown: ", err)
	}
	for _, b := range []string{"\xff\xff\xff\xff{}", "\x00\x00\x00\x02{}", "\x00\x00\x00\x11{\"units\": 100000}"} {
		if err := new(Chunk).Read(bytes.NewReader([]byte(b))); !errors.Is(err, ErrMessage) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

func encoded() []byte {
	e := Encoded{Config: []byte("sets"), Repeated: 3}
	for i, data := range []string{"one", "", "three"} {
		e.Packets = append(e.Packets, 0, 0, 0, byte(i), 0, 0, 0, byte(1-min(i, 1)), 0, 0, 0, byte(len(data)))
		e.Packets = append(e.Packets, data...)
	}
	var b bytes.Buffer
	_ = e.Write(&b) // a Buffer takes all
	return b.Bytes()
}

func TestEncoded(t *testing.T) {
	b := encoded()
	var e Encoded
	if err := e.Parse(b); err != nil || string(e.Config) != "sets" || e.Repeated != 3 {
		t.Fatalf("%+v %v", e, err)
	}
	for i, data := range []string{"one", "", "three"} {
		p, err := e.Next()
		if err != nil || p.Rank != i || p.Key != (i == 0) || string(p.Data) != data {
			t.Errorf("%+v %v", p, err)
		}
	}
	if _, err := e.Next(); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	avtest.Prefixes(t, b, func(p []byte) {
		if err := new(Encoded).Parse(p); (err == nil) != (len(p) == len(b)) {
			t.Errorf("%d bytes: %v", len(p), err)
		}
	})
	for n := 1; n < len(b)-16; n++ { // packets that are cut off
		e := Encoded{Packets: b[16 : 16+n]}
		for {
			if _, err := e.Next(); err != nil {
				break
			}
		}
	}
}

func FuzzEncoded(f *testing.F) {
	f.Add(encoded())
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Encoded
		if e.Parse(b) != nil {
			return
		}
		left := len(e.Packets)
		for {
			p, err := e.Next()
			if err != nil {
				return
			}
			if left -= 12 + len(p.Data); left != len(e.Packets) {
				t.Fatalf("%d bytes are left, want %d", len(e.Packets), left)
			}
		}
	})
}

func FuzzChunk(f *testing.F) {
	head, err := chunk().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(head, "abcdef"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Chunk
		if c.Read(bytes.NewReader(b)) != nil {
			return
		}
		again, err := c.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range c.Units {
			again = append(again, c.Units[i].Data...)
		}
		var d Chunk
		if err := d.Read(bytes.NewReader(again)); err != nil || !reflect.DeepEqual(c, d) {
			t.Fatalf("%+v, want %+v: %v", d, c, err)
		}
	})
}
