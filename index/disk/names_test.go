package disk

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-video/cleave/index"
)

// TestNamesMadeUp: who asks for names that nothing is kept of costs no memory for ever.
func TestNamesMadeUp(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "index"), WithoutSync())
	if _, err := d.Last(t.Context(), "live/made-up"); !errors.Is(err, index.ErrNotFound) {
		t.Error("the last:", err)
	}
	if _, _, err := d.Seek(t.Context(), "live/made-up", time.Now()); !errors.Is(err, index.ErrNotFound) {
		t.Error("a key frame:", err)
	}
	if _, err := d.Find(t.Context(), "live/made-up", 1); !errors.Is(err, index.ErrNotFound) {
		t.Error("by number:", err)
	}
	if _, err := d.State(t.Context(), "live/made-up"); !errors.Is(err, index.ErrNotFound) {
		t.Error("the state:", err)
	}
	if err := d.Drop(t.Context(), "live/made-up", time.Now()); err != nil && !errors.Is(err, index.ErrNotFound) {
		t.Error("drop:", err)
	}
	if len(d.streams) > 0 {
		t.Errorf("%d streams are kept", len(d.streams))
	}
}
