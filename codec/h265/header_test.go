package h265

import (
	"testing"

	"github.com/cleave-video/cleave/av/avtest"
)

// TestHeaderSize: heads of slices by the first of streams. More of them, of all
// kinds, are compared with another parser in test/seal.
func TestHeaderSize(t *testing.T) {
	for name, test := range map[string]struct {
		head string
		size int
	}{
		"IDR": {"2801af1d80", 5},
	} {
		var h Headers
		long := append(unhex(test.head), make([]byte, 1000)...)
		if _, ok := h.Size(long); ok {
			t.Errorf("%s: without parameter sets", name)
		}
		h.Set(unhex(streams[0].sps))
		h.Set(unhex(streams[0].pps))
		n, ok := h.Size(long)
		if !ok || n != test.size {
			t.Errorf("%s: %d bytes, %v; want %d", name, n, ok, test.size)
		}
		avtest.Prefixes(t, long[:40], func(b []byte) {
			if k, ok := h.Size(b); ok && k != n || !ok && len(b) >= n {
				t.Errorf("%s: of %d bytes: %d, %v", name, len(b), k, ok)
			}
		})
		for _, head := range []string{"4401", "2a09", "2901"} { // a PPS, layers above the first
			if _, ok := h.Size(append(unhex(head), long[2:]...)); ok {
				t.Errorf("%s: %s has a header that is known", name, head)
			}
		}
	}
	for _, s := range streams {
		avtest.Prefixes(t, unhex(s.sps), func(b []byte) { new(Headers).Set(b) })
		avtest.Prefixes(t, unhex(s.pps), func(b []byte) { new(Headers).Set(b) })
	}
}

// FuzzHeaderSize: no parameter sets and no slice make it fail or read too far.
func FuzzHeaderSize(f *testing.F) {
	for _, s := range streams {
		f.Add(unhex(s.sps), unhex(s.pps), unhex("2801af1d80ffff"))
		f.Add(unhex(s.sps), unhex(s.pps), unhex("0201d0097eb7ffffffff"))
	}
	f.Fuzz(func(t *testing.T, sps, pps, slice []byte) {
		var h Headers
		h.Set(sps)
		h.Set(pps)
		if n, ok := h.Size(slice); ok && (n < 3 || n > len(slice)) {
			t.Fatalf("a header of %d bytes in %d", n, len(slice))
		}
	})
}
