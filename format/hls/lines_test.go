package hls

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// A list of a million attributes is read in one go, not compared each with each; one
// that stands twice is found among as many as a tag may have.
func TestManyAttributes(t *testing.T) {
	const n = 1_000_000
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "A%d=%d,", i, i)
	}
	list, err := ParseAttributes(b.String())
	if err != nil || len(list) != n || list.Get("A999999") != "999999" {
		t.Fatalf("%d attributes, %v", len(list), err)
	}
	for _, k := range []int{1, maxCompared - 1, n} {
		list, err := ParseAttributes(strings.Join(strings.SplitAfterN(b.String(), ",", k+1)[:k], "") + "A0=1")
		if !errors.Is(err, av.ErrInvalid) || len(list) != k {
			t.Errorf("A0 again behind %d attributes: %d, %v", k, len(list), err)
		}
	}
}
