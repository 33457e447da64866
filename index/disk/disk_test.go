package disk

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/index"
	"github.com/cleave-video/cleave/index/indextest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, root string, opts ...Option) *Disk {
	t.Helper()
	d, err := Open(root, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// small has segments of few entries, so that tests meet many.
func small(d *Disk) { d.perSegment = index.PerBlock }

func TestDisk(t *testing.T) {
	for name, opts := range map[string][]Option{"as it is": {}, "small segments": {small, WithoutSync()}} {
		t.Run(name, func(t *testing.T) {
			indextest.Run(t, func(t *testing.T) (index.Index, func() index.Index) {
				root := filepath.Join(t.TempDir(), "index")
				d := open(t, root, opts...)
				return d, func() index.Index {
					if err := d.Close(); err != nil {
						t.Fatal(err)
					}
					d = open(t, root, opts...)
					return d
				}
			})
		})
	}
}
