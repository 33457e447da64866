package file

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cleave-video/cleave/av"
)

// A named pipe is waited for, whether its writer comes first or last, and whether it
// says anything or not; the wait can be interrupted.
func TestFIFO(t *testing.T) {
	media, err := os.ReadFile("../../format/ts/testdata/av.ts")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Skip("no named pipes here: ", err)
	}
	packets := func(ctx context.Context) (n int, err error) {
		in, err := Open(ctx, name, Options{})
		if err != nil {
			return 0, err
		}
		defer in.Close()
		for {
			_, err := in.ReadPacket(av.Heap{})
			switch {
			case errors.Is(err, av.ErrTracks):
			case errors.Is(err, io.EOF):
				return n, nil
			case err != nil:
				return n, err
			default:
				n++
			}
		}
	}
	write := func(b []byte) {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		for len(b) > 0 {
			n := min(len(b), 1000)
			if _, err := f.Write(b[:n]); err != nil {
				t.Error(err)
				break
			}
			b = b[n:]
		}
		f.Close()
	}
	for range 3 {
		var wg sync.WaitGroup
		wg.Go(func() { write(media) })
		if n, err := packets(t.Context()); n == 0 || err != nil {
			t.Errorf("%d packets, %v", n, err)
		}
		wg.Wait()
	}
	// A writer that says nothing.
	var wg sync.WaitGroup
	wg.Go(func() { write(nil) })
	if _, err := packets(t.Context()); err == nil {
		t.Error("an empty pipe is an input")
	}
	wg.Wait()
	// Nobody writes; and a writer is silent.
	for _, silent := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		if silent {
			w, err := os.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
		}
		wg.Go(cancel)
		if _, err := packets(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("silent %v: %v", silent, err)
		}
		wg.Wait()
	}
}
