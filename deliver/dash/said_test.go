package dash

import "testing"

func TestTell(t *testing.T) {
	for _, c := range []struct {
		name  string
		said  []entry
		x     entry
		joins bool
		want  entry
	}{
		{"the first", nil, entry{5, 100, 50}, false, entry{5, 100, 50}},
		{"again", []entry{{5, 100, 50}}, entry{5, 100, 50}, false, entry{5, 100, 50}},
		{"some ticks later", []entry{{5, 100, 50}}, entry{5, 102, 51}, false, entry{5, 100, 50}},
		{"much longer than foretold", []entry{{5, 100, 50}}, entry{5, 101, 80}, false, entry{5, 100, 81}},
		{"elsewhere", []entry{{5, 100, 50}}, entry{5, 200, 50}, false, entry{5, 200, 50}},
		{"follows on", []entry{{5, 100, 50}}, entry{6, 152, 50}, true, entry{6, 150, 52}},
		{"overlaps", []entry{{5, 100, 50}}, entry{6, 130, 50}, true, entry{6, 150, 30}},
		{"a hole", []entry{{5, 100, 50}}, entry{6, 170, 50}, true, entry{6, 170, 50}},
		{"another Period", []entry{{5, 100, 50}}, entry{6, 120, 50}, false, entry{6, 120, 50}},
		{"a number is missing", []entry{{5, 100, 50}}, entry{9, 151, 50}, true, entry{9, 151, 50}},
	} {
		r := row{entries: append([]entry(nil), c.said...)}
		if got := r.tell(c.x, c.joins, 5); got != c.want || *r.find(c.x.msn) != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	r := row{entries: []entry{{5, 0, 1}, {6, 1, 1}, {7, 2, 1}}}
	if r.forget(7); len(r.entries) != 1 || r.find(6) != nil || r.find(7) == nil || r.find(8) != nil {
		t.Errorf("%+v", r.entries)
	}
}
