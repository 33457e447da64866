package libav

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// TestBatches: an input of many batches gives the same packets, whoever reads it. Slots
// are asked for while the worker asks for bytes.
func TestBatches(t *testing.T) {
	w := newWorkers(t, Config{})
	b := bytes.Repeat(sample(t, "av.mpg"), 60)
	path := filepath.Join(t.TempDir(), "long.mpg")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	type content struct {
		packets, size int
		sum           uint32
	}
	read := func(r any, size int64) (c content) {
		d := w.NewDemuxer(r, size, Options{})
		defer d.Close()
		for {
			p, err := d.ReadPacket(av.Heap{})
			switch {
			case errors.Is(err, io.EOF):
				return c
			case errors.Is(err, av.ErrTracks):
				continue
			case err != nil:
				t.Error(err)
				return c
			}
			c.packets, c.size, c.sum = c.packets+1, c.size+len(p.Data), crc32.Update(c.sum, crc32.IEEETable, p.Data)
		}
	}
	want := read(file, -1)
	if want.packets < 4*wire.Slots*wire.MaxPackets {
		t.Fatalf("%d packets are too few", want.packets)
	}
	for name, c := range map[string]struct {
		r    any
		size int64
	}{
		"at":     {bytes.NewReader(b), int64(len(b))},
		"seeker": {bytes.NewReader(b), -1},
		"half":   {iotest.HalfReader(bytes.NewReader(b)), -1},
	} {
		if got := read(c.r, c.size); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}
