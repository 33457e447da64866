package h264

import (
	"testing"

	"github.com/cleave-video/cleave/av/avtest"
)

// heads are slices of libx264 by the parameter sets of streams, as far as their headers go,
// and the size of those.
var heads = []struct {
	name, sps, pps, head string
	size                 int
}{
	{"IDR, CABAC", "6764000cacd941419f9f011000000300100000030320f1429960", "68ebe3cb22c0", "6588840033ff", 6},
	{"IDR, CAVLC", "6742c00bd902c4ec04400000fa40003a9803c50a92", "68cb83cb20", "65b8007bff", 5},
}

func TestHeaderSize(t *testing.T) {
	for _, test := range heads {
		var h Headers
		head := unhex(test.head)
		long := append(head, make([]byte, 1000)...)
		if _, ok := h.Size(long); ok {
			t.Errorf("%s: without parameter sets", test.name)
		}
		h.Set(unhex(test.sps))
		if _, ok := h.Size(long); ok {
			t.Errorf("%s: without PPS", test.name)
		}
		h.Set(unhex(test.pps))
		n, ok := h.Size(long)
		if !ok || n != test.size {
			t.Errorf("%s: %d bytes, %v; want %d", test.name, n, ok, test.size)
		}
		avtest.Prefixes(t, long[:40], func(b []byte) {
			if k, ok := h.Size(b); ok && k != n || ok && len(b) < n-1 || !ok && len(b) >= n {
				t.Errorf("%s: of %d bytes: %d, %v", test.name, len(b), k, ok)
			}
		})
		avtest.Prefixes(t, unhex(test.sps), func(b []byte) { new(Headers).Set(b) })
		avtest.Prefixes(t, unhex(test.pps), func(b []byte) { new(Headers).Set(b) })
		for _, kind := range []byte{0, 6, 7, 8, 9, 14, 19, 20, 31} {
			if _, ok := h.Size(append([]byte{0x60 | kind}, long[1:]...)); ok {
				t.Errorf("%s: NAL unit type %d has a slice header", test.name, kind)
			}
		}
	}
}

// FuzzHeaderSize: no parameter sets and no slice make it fail or read too far.
func FuzzHeaderSize(f *testing.F) {
	for _, s := range heads {
		f.Add(unhex(s.sps), unhex(s.pps), unhex(s.head))
	}
	f.Add(unhex(streams[2].sps), unhex(streams[2].pps), unhex("419a246c41ffffffffff"))
	f.Fuzz(func(t *testing.T, sps, pps, slice []byte) {
		var h Headers
		h.Set(sps)
		h.Set(pps)
		if n, ok := h.Size(slice); ok && (n < 2 || n > len(slice)) {
			t.Fatalf("a header of %d bytes in %d", n, len(slice))
		}
	})
}
