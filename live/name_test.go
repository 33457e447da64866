package live

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	indexdisk "github.com/cleave-video/cleave/index/disk"
	"github.com/cleave-video/cleave/index/indextest"
)

// TestLongestName: what may be published has a place in the index on disk. A name that has
// none would leave its chunks where nothing finds them, and end the comparison of store and
// index for all others.
func TestLongestName(t *testing.T) {
	d, err := indexdisk.Open(filepath.Join(t.TempDir(), "index"), indexdisk.WithoutSync())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	longest := ""
	for n := 1; n <= 5*64+4; n++ {
		name := strings.Repeat(strings.Repeat("a", 64)+"/", 5)[:n]
		if strings.HasSuffix(name, "/") {
			continue
		}
		switch err := CheckName(name); {
		case err == nil:
			longest = name
		case !errors.Is(err, ErrName):
			t.Error(err)
		}
	}
	if len(longest) < 200 {
		t.Errorf("the longest name has %d bytes", len(longest))
	}
	if err := d.AddAll(t.Context(), longest, indextest.Entries(1, 3)); err != nil {
		t.Error(err)
	}
}
