package hls

import (
	"fmt"
	"net/url"
	"testing"
)

// Whatever a client asks for: no place has two names, and directives are numbers.
func FuzzRequest(f *testing.F) {
	for _, s := range [][2]string{{"1-4.m4s", "_HLS_msn=4&_HLS_part=3"}, {"1-4.10", "_HLS_skip=v2"}, {"01-4", "_HLS_part=1"}, {"4294967296-1", "_HLS_msn=9223372036854775808"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, name, query string) {
		if p, ok := parsePlace(name); ok {
			want := fmt.Sprintf("%d-%d", p.epoch, p.msn)
			if p.part >= 0 {
				want += fmt.Sprintf(".%d", p.part)
			}
			if name != want {
				t.Errorf("%q is %q, too", name, want)
			}
		}
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		if d, err := parseDirectives(q); err == nil && (d.msn < -1 || d.part < -1 || d.part >= 0 && d.msn < 0) {
			t.Errorf("%q: %+v", query, d)
		}
	})
}
