package verify

import (
	"fmt"
	"testing"

	"github.com/cleave-video/cleave/format/hls"
)

// The initialization section and the key of a segment are those of the last tags in
// front of it, in a playlist of any length: to look back for each would take hours.
func TestTagsInForce(t *testing.T) {
	const n, each = 1_000_000, 300_000
	p := &playlist{m: &hls.Media{Map: hls.Map{URI: "skipped"}, Segments: make([]hls.Segment, n)}}
	for i := each; i < n; i += each {
		p.m.Segments[i].Map.URI = fmt.Sprint("map", i/each)
		p.m.Segments[i+1].Keys = []hls.Key{{Method: fmt.Sprint("key", i/each)}}
	}
	for i := n - 1; i >= 0; i-- {
		m, k := "skipped", "NONE"
		if i >= each {
			m = fmt.Sprint("map", i/each)
		}
		if i > each {
			k = fmt.Sprint("key", (i-1)/each)
		}
		if p.mapOf(i).URI != m || p.keyOf(i) != k {
			t.Fatalf("segment %d: %q and %q, want %q and %q", i, p.mapOf(i).URI, p.keyOf(i), m, k)
		}
	}
	// A live one grows.
	p.m.Segments = append(p.m.Segments, hls.Segment{}, hls.Segment{Map: hls.Map{URI: "new"}})
	if p.mapOf(n).URI != "map3" || p.mapOf(n+1).URI != "new" || p.keyOf(n+1) != "key3" {
		t.Errorf("%q, %q, %q", p.mapOf(n).URI, p.mapOf(n+1).URI, p.keyOf(n+1))
	}
}
