package hostile

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/ingest/file"
)

// TestEveryPrefix: a small file of each container, cut at every single byte, is
// read as far as it goes; what ends it has a place; memory keeps the law.
func TestEveryPrefix(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed: files that break off are not read")
	}
	dir := t.TempDir()
	for _, c := range containers {
		name := filepath.Join(dir, c.name)
		args := "-v error -nostdin -f lavfi -i testsrc2=size=32x32:rate=25 -f lavfi -i sine=sample_rate=8000 -t 0.2 " +
			"-preset ultrafast -g 3 -pix_fmt yuv420p -b:a 8k -ar 8000 -ac 1 " + c.args + " " + name
		if out, err := exec.Command("ffmpeg", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", c.name, err, out)
		}
		t.Run(c.name, func(t *testing.T) { everyPrefix(t, name) })
	}
}

// wholeFile is up to which size every prefix is read; of a larger file, as many.
const wholeFile = 12 << 10

func everyPrefix(t *testing.T, name string) {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	packets := drain(t, name)
	if packets == 0 {
		t.Fatal("nothing is read of the whole file")
	}
	step := 1 + len(b)/wholeFile
	for n := len(b) - 1; n >= 0; n -= step {
		if err := os.Truncate(name, int64(n)); err != nil {
			t.Fatal(err)
		}
		got := -1
		avtest.AllocBound(t, n, func() { got = drain(t, name) })
		if got > packets {
			t.Errorf("%d bytes of %d: %d packets, of one more %d", n, len(b), got, packets)
		}
		packets = got
		if t.Failed() {
			return
		}
	}
	if packets != 0 {
		t.Errorf("%d packets of an empty file", packets)
	}
	t.Logf("%d bytes, every %d", len(b), step)
}

// drain reads a file to its end and returns how many packets it has. An error that
// ends it must be an *av.Error, or be of a kind that no demuxer knows.
func drain(t *testing.T, name string) (packets int) {
	t.Helper()
	in, err := file.Open(t.Context(), name, file.Options{})
	if err != nil {
		if !errors.Is(err, av.ErrUnsupported) && !errors.Is(err, av.ErrTruncated) || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("open: %v", err)
		}
		return 0
	}
	defer in.Close()
	a := &scratch{}
	for {
		_, err := in.ReadPacket(a)
		var bad *av.Error
		switch {
		case err == nil:
			packets++
		case errors.Is(err, av.ErrTracks):
		case errors.Is(err, io.EOF):
			return packets
		case errors.As(err, &bad):
			if bad.Field == "" || bad.Format == "" {
				t.Errorf("%v: without its place", err)
			}
			return packets
		default:
			t.Errorf("%v: says no place", err)
			return packets
		}
	}
}

// scratch is an allocator whose memory is used again; what a packet takes counts
// once, as in an arena that lets go of it.
type scratch struct{ b []byte }

func (s *scratch) Alloc(_, n int) ([]byte, error) {
	if len(s.b) < n {
		s.b = make([]byte, n)
	}
	return s.b[:n], nil
}
