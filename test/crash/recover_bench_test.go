package crash

import (
	"path/filepath"
	"testing"

	"github.com/cleave-video/cleave/index"
	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/server"
	storedisk "github.com/cleave-video/cleave/store/disk"
)

// BenchmarkReconcile compares an index of 100,000 chunks with the store.
func BenchmarkReconcile(b *testing.B) {
	const n = 100_000
	data := filepath.Join(b.TempDir(), "data")
	if err := fill(b.Context(), data, n); err != nil {
		b.Fatal(err)
	}
	b.Run("Reconcile", func(b *testing.B) {
		for range b.N {
			st, ix := open2(b, data)
			r, err := index.Reconcile(b.Context(), st, ix, nil)
			if err != nil || r.Changed() || r.Entries != n {
				b.Fatalf("%+v, %v", r, err)
			}
			ix.Close()
		}
	})
	b.Run("Walk", func(b *testing.B) {
		for range b.N {
			_, ix := open2(b, data)
			if err := ix.Walk(b.Context(), "live/cam1", func(*index.Entry) bool { return true }); err != nil {
				b.Fatal(err)
			}
			ix.Close()
		}
	})
	b.Run("Keys", func(b *testing.B) {
		for range b.N {
			st, ix := open2(b, data)
			for _, err := range st.Keys(b.Context(), "") {
				if err != nil {
					b.Fatal(err)
				}
			}
			ix.Close()
		}
	})
}

func open2(b *testing.B, data string) (*storedisk.Disk, *indexdisk.Disk) {
	st, err := storedisk.Open(data)
	if err != nil {
		b.Fatal(err)
	}
	ix, err := indexdisk.Open(filepath.Join(data, server.IndexDir))
	if err != nil {
		b.Fatal(err)
	}
	return st, ix
}
