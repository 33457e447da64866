package flv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// generation is what a demuxer gave between two ErrTracks.
type generation struct {
	tracks  []av.Track
	packets []av.Packet
}

// readAll reads d to its end. An error other than io.EOF is returned.
func readAll(d av.Demuxer) ([]generation, error) {
	var l []generation
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			l = append(l, generation{tracks: d.Tracks()})
		case errors.Is(err, io.EOF):
			return l, nil
		case err != nil:
			return l, err
		default:
			g := &l[len(l)-1]
			g.packets = append(g.packets, p)
		}
	}
}

func demux(t testing.TB, b []byte) []generation {
	t.Helper()
	l, err := readAll(NewDemuxer(bytes.NewReader(b)))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// media returns a file of the media folder.
func media(t testing.TB, name string) []byte {
	t.Helper()
	dir := os.Getenv("CLEAVE_MEDIA")
	if dir == "" {
		t.Skip("CLEAVE_MEDIA is not set: real files are left out")
	}
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// file is an FLV file that is written.
type file struct{ b []byte }

func newFile(flags byte) *file {
	return &file{[]byte{'F', 'L', 'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0}}
}

// tag appends a tag whose body is the parts, one behind the other.
func (f *file) tag(kind byte, timestamp uint32, parts ...[]byte) *file {
	body := bytes.Join(parts, nil)
	f.b = append(f.b, kind, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)),
		byte(timestamp>>16), byte(timestamp>>8), byte(timestamp), byte(timestamp>>24), 0, 0, 0)
	f.b = append(f.b, body...)
	f.b = binary.BigEndian.AppendUint32(f.b, uint32(tagHeaderLen+len(body)))
	return f
}
