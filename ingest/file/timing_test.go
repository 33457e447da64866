package file

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/timeline"
)

// slow is a reader and a demuxer that take their time.
type slow struct {
	r    io.Reader
	left int
	told bool
}

func (s *slow) Read(b []byte) (int, error) {
	time.Sleep(100 * time.Microsecond)
	return min(len(b), 500), nil
}

func (s *slow) Tracks() []av.Track {
	return []av.Track{{Kind: av.Data, Codec: av.Private, Timebase: av.Millisecond}}
}
func (s *slow) Close() error { return nil }

func (s *slow) ReadPacket(av.Allocator) (av.Packet, error) {
	if !s.told {
		s.told = true
		return av.Packet{}, av.ErrTracks
	}
	if s.left--; s.left < 0 {
		return av.Packet{}, io.EOF
	}
	b := make([]byte, 1000)
	for range 2 {
		if _, err := s.r.Read(b); err != nil {
			return av.Packet{}, err
		}
	}
	time.Sleep(30 * time.Microsecond)
	return av.Packet{PTS: int64(s.left), DTS: int64(s.left), Data: b}, nil
}

// Each step gets its own time, to 1/64, and all of them add up to what passed.
func TestTimingTellsStepsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		tm := NewTiming()
		s := &slow{left: 100}
		s.r = tm.reader(&slow{})
		in := newInput(s, "slow", nil, nil, 0, Options{Timing: tm})
		for {
			p, err := in.ReadPacket(av.Heap{})
			if errors.Is(err, io.EOF) {
				break
			}
			if err == nil && len(p.Data) != 1000 {
				t.Fatal(len(p.Data))
			}
			if err == nil {
				time.Sleep(7 * time.Microsecond)
			}
		}
		near := func(got, want time.Duration) bool { return (got - want).Abs() <= want/32 }
		total := time.Duration(0)
		for _, st := range tm.Steps() {
			total += st.Total
			switch st.Step {
			case Refill:
				if st.Count != 200 || st.Bytes != 100_000 || !near(st.P50, 100*time.Microsecond) || !near(st.P99, 100*time.Microsecond) {
					t.Errorf("%+v", st)
				}
			case Parse:
				if st.Count != 100 || st.Bytes != 100_000 || !near(st.P50, 30*time.Microsecond) {
					t.Errorf("%+v", st)
				}
			case Fixup:
				if st.Count != 100 || st.Total != 0 {
					t.Errorf("%+v", st)
				}
			case Output:
				if st.Count != 100 || !near(st.P50, 7*time.Microsecond) || st.Max != 7*time.Microsecond {
					t.Errorf("%+v", st)
				}
			}
		}
		if want := time.Since(begun); total != want {
			t.Errorf("the steps add up to %v of %v", total, want)
		}
	})
}

// Without Timing nothing is wrapped: the normal path is what it was.
func TestNoTimingWrapsNothing(t *testing.T) {
	var none *Timing
	f := &osFile{}
	r := bytes.NewReader(nil)
	d := &slow{}
	if none.readerAt(f) != io.ReaderAt(f) || none.reader(r) != io.Reader(r) || none.demuxer(d, Parse, false) != av.Demuxer(d) {
		t.Error("something was wrapped")
	}
	if in := newInput(d, "slow", nil, nil, 0, Options{}); in != nil {
		if _, ok := in.Demuxer.(*timeline.Normalizer); !ok {
			t.Errorf("%T", in.Demuxer)
		}
	}
}

// What a reader and a demuxer can do they can do when they are measured.
func TestTimingKeepsAbilities(t *testing.T) {
	tm := NewTiming()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, ok := tm.readerAt(&osFile{f}).(av.VectorReaderAt)
	if !ok {
		t.Fatal("a file lost its vectors")
	}
	a, b := make([]byte, 2), make([]byte, 3)
	if n, err := v.ReadVAt([][]byte{a, b}, 4); n != 5 || err != nil || string(a)+string(b) != "45678" {
		t.Errorf("%d %v %q", n, err, string(a)+string(b))
	}
	if _, ok := tm.readerAt(bytes.NewReader(nil)).(av.VectorReaderAt); ok {
		t.Error("a plain reader got vectors")
	}
	if w, ok := tm.demuxer(&wrapping{}, Parse, false).(timeline.Wrapper); !ok || w.WrapBits() != 33 {
		t.Error("the width of times is lost")
	}
}

type wrapping struct{ slow }

func (*wrapping) WrapBits() int { return 33 }
