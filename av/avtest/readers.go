package avtest

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/cleave-video/cleave/av"
)

// readers checks a demuxer that reads front to back with readers that behave
// badly.
func readers(t *testing.T, o Options) {
	want := ReadAll(t, o.Open(bytes.NewReader(o.Input)))
	for name, r := range map[string]io.Reader{
		"one byte":      iotest.OneByteReader(bytes.NewReader(o.Input)),
		"half":          iotest.HalfReader(bytes.NewReader(o.Input)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(o.Input)),
	} {
		t.Run(name, func(t *testing.T) { equal(t, want, ReadAll(t, o.Open(r))) })
	}
	t.Run("reader's error", func(t *testing.T) {
		bad := errors.New("avtest: the reader failed")
		_, err := Read(o.Open(io.MultiReader(bytes.NewReader(o.Input), iotest.ErrReader(bad))))
		if !errors.Is(err, bad) {
			t.Errorf("%v, want %v", err, bad)
		}
	})
	t.Run("endless nothing", func(t *testing.T) {
		if _, err := Read(o.Open(nothing{})); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%v, want %v", err, io.ErrNoProgress)
		}
	})
	t.Run("unblocks", func(t *testing.T) { unblocks(t, o) })
}

// unblocks: Close ends a ReadPacket that waits for its reader.
func unblocks(t *testing.T, o Options) {
	r := NewStalled(o.Input)
	d := o.Open(r)
	ended := make(chan error, 1)
	go func() {
		_, err := Read(d)
		ended <- err
	}()
	<-r.Waiting
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil || errors.Is(err, io.EOF) || errors.Is(err, av.ErrTracks) {
		t.Errorf("ReadPacket behind Close: %v", err)
	}
}

// Stalled is a reader that gives its data and then blocks until it is closed.
type Stalled struct {
	Waiting chan struct{} // closed once a Read blocks
	r       *bytes.Reader
	begun   sync.Once
	once    sync.Once
	closed  chan struct{}
}

// NewStalled returns a Stalled of data.
func NewStalled(data []byte) *Stalled {
	return &Stalled{Waiting: make(chan struct{}), r: bytes.NewReader(data), closed: make(chan struct{})}
}

// Read implements io.Reader.
func (s *Stalled) Read(p []byte) (int, error) {
	if n, err := s.r.Read(p); err == nil {
		return n, nil
	}
	s.begun.Do(func() { close(s.Waiting) })
	<-s.closed
	return 0, io.ErrClosedPipe
}

// Close ends Read. It is idempotent.
func (s *Stalled) Close() error {
	s.once.Do(func() { close(s.closed) })
	return nil
}

type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, nil }

// equal compares what two demuxers gave.
func equal(t *testing.T, want, got []Generation) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d generations of tracks, want %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if len(g.Tracks) != len(w.Tracks) || len(g.Packets) != len(w.Packets) {
			t.Fatalf("generation %d: %d tracks and %d packets, want %d and %d", i, len(g.Tracks), len(g.Packets), len(w.Tracks), len(w.Packets))
		}
		for k, tr := range g.Tracks {
			if u := w.Tracks[k]; tr.Codec != u.Codec || tr.Timebase != u.Timebase || !bytes.Equal(tr.Config, u.Config) {
				t.Errorf("generation %d track %d: %v, want %v", i, k, tr, u)
			}
		}
		for k, p := range g.Packets {
			q := w.Packets[k]
			if p.Track != q.Track || p.DTS != q.DTS || p.PTS != q.PTS || p.Dur != q.Dur || p.Flags != q.Flags || !bytes.Equal(p.Data, q.Data) {
				t.Fatalf("generation %d packet %d: track %d DTS %d PTS %d flags %#x, %d bytes; want %d, %d, %d, %#x, %d",
					i, k, p.Track, p.DTS, p.PTS, p.Flags, len(p.Data), q.Track, q.DTS, q.PTS, q.Flags, len(q.Data))
			}
		}
	}
}
