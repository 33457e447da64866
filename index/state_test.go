package index_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
)

func TestStateRoundTrip(t *testing.T) {
	for _, want := range []index.State{{}, indextest.State(), {Epoch: 1<<32 - 1, Begun: 1<<63 - 1, Next: 1<<63 - 1, First: 1<<63 - 1, PartTarget: 1<<63 - 1, Breaks: []int64{0, 1<<63 - 1}}} {
		b := index.AppendState(nil, &want)
		got, err := index.ParseState(b)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%v (-want +got):\n%s", err, d)
		}
		for n := range b {
			if _, err := index.ParseState(b[:n]); err == nil {
				t.Errorf("%+v: %d bytes of %d are read", want, n, len(b))
			}
		}
		if _, err := index.ParseState(append(b, 0)); err == nil {
			t.Error("a byte more is read")
		}
	}
}

func TestStateValidate(t *testing.T) {
	for _, s := range []index.State{
		{Next: -1},
		{Begun: 2, Next: 1},
		{First: 2, Next: 1},
		{TargetDuration: -1},
		{PartTarget: -time.Second},
		{Discontinuities: -1},
		{Keys: -1},
		{Breaks: []int64{2, 2}},
		{Breaks: []int64{-1}},
		{Breaks: make([]int64, index.MaxBreaks+1)},
	} {
		if err := s.Validate(); !errors.Is(err, index.ErrEntry) {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// FuzzState parses anything, and what it accepts is the same when written.
func FuzzState(f *testing.F) {
	s := indextest.State()
	f.Add(index.AppendState(nil, &s))
	f.Add([]byte{})
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := index.ParseState(b)
		if err != nil {
			return
		}
		again, err := index.ParseState(index.AppendState(nil, &s))
		if err != nil || !cmp.Equal(s, again) {
			t.Fatalf("%v: %s", err, cmp.Diff(s, again))
		}
	})
}
