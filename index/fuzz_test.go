package index_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
)

// FuzzEntries decodes anything. What it accepts it writes again, and reads that as
// the same.
func FuzzEntries(f *testing.F) {
	for seed := range uint64(4) {
		b, _ := encode(indextest.Entries(seed, 3))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, _ := decode(b)
		again, _ := encode(list)
		got, err := decode(again)
		if err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		if d := cmp.Diff(list, got); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
	})
}

// FuzzDescription parses anything, and what it accepts is the same when written.
func FuzzDescription(f *testing.F) {
	for seed := range uint64(4) {
		e := indextest.Entries(seed, 1)[0]
		f.Add(index.AppendDescription(nil, "live/cam1", &e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		stream, e, size, err := index.ParseDescription(b)
		if err != nil {
			var damage *index.CorruptError
			if !errors.Is(err, index.ErrNoDescription) && !errors.As(err, &damage) {
				t.Fatalf("%v", err)
			}
			return
		}
		if size > len(b) {
			t.Fatalf("box of %d bytes in %d", size, len(b))
		}
		box := index.AppendDescription(nil, stream, &e)
		s2, e2, _, err := index.ParseDescription(box)
		if err != nil || s2 != stream {
			t.Fatalf("%q, %v", s2, err)
		}
		if e.Size -= e.Size - end(&e); !cmp.Equal(e, e2) {
			t.Fatalf("%s", cmp.Diff(e, e2))
		}
	})
}

func end(e *index.Entry) int64 {
	if n := len(e.Tracks); n > 0 {
		return e.Tracks[n-1].Offset + e.Tracks[n-1].Size
	}
	return 0
}
