package mem

import (
	"testing"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
)

func TestMem(t *testing.T) {
	indextest.Run(t, func(*testing.T) (index.Index, func() index.Index) { return New(), nil })
}

// TestMemory keeps the promise of at most 64 bytes a chunk beyond key frames and
// digest.
func TestMemory(t *testing.T) {
	m, g := New(), indextest.NewGenerator(1)
	g.Steady = true
	const n = 100000
	keys := 0
	list := make([]index.Entry, 0, 1000)
	for range n / 1000 {
		list = list[:0]
		for range 1000 {
			list = append(list, g.Next())
			keys += len(list[len(list)-1].Keys)
		}
		if err := m.AddAll(t.Context(), "s", list); err != nil {
			t.Fatal(err)
		}
	}
	got := float64(m.streams["s"].run.Bytes()-keys*6-n*32) / n
	t.Logf("%.1f bytes a chunk", got)
	if got > 64 {
		t.Errorf("%.1f bytes a chunk", got)
	}
}
