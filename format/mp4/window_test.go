package mp4

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/cleave-video/cleave/av"
)

// counted returns n bytes, each told by its place.
func counted(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

func TestWindow(t *testing.T) {
	const size = 300 << 10
	all := counted(5 * size)
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(all),
		"half":  iotest.HalfReader(bytes.NewReader(all)),
		"EOF":   iotest.DataErrReader(bytes.NewReader(all)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWindow(r, size)
			b := make([]byte, 1000)
			for off := 0; off+len(b) <= len(all); off += 997 {
				for _, at := range []int{off, max(off-size+2000, 0)} {
					if n, err := w.ReadAt(b, int64(at)); n != len(b) || err != nil || !bytes.Equal(b, all[at:at+n]) {
						t.Fatalf("at %d of %d: %d %v", at, off, n, err)
					}
				}
				if cap(w.buf) > 2*size+readAhead {
					t.Fatalf("%d bytes are kept", cap(w.buf))
				}
			}
			if n, err := w.ReadAt(b, int64(len(all)-10)); n != 10 || err != io.EOF {
				t.Errorf("at the end: %d %v", n, err)
			}
			if _, err := w.ReadAt(b, 0); !errors.Is(err, av.ErrTooLarge) {
				t.Errorf("what has passed: %v", err)
			}
		})
	}
}

// What cannot be read front to back is told at once, without reading to it.
func TestWindowFarAhead(t *testing.T) {
	w := newWindow(bytes.NewReader(counted(1000)), 300)
	if _, err := w.ReadAt(make([]byte, 8), 1<<40); !errors.Is(err, av.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if n, err := w.ReadAt(make([]byte, 8), 0); n != 8 || err != nil {
		t.Errorf("%d %v", n, err)
	}
}

// Memory grows with what is received, not with what is asked for.
func TestWindowGrowsWithInput(t *testing.T) {
	w := newWindow(bytes.NewReader(counted(100)), windowSize)
	if n, err := w.ReadAt(make([]byte, 10<<20), 0); n != 100 || err != io.EOF {
		t.Errorf("%d %v", n, err)
	}
	if cap(w.buf) > 1<<20 {
		t.Errorf("%d bytes for 100", cap(w.buf))
	}
}
