package verify

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hintAnswer answers early requests for a hinted part once it is there; others are
// answered as usual.
func hintAnswer(s *stream, send func(w http.ResponseWriter, r *http.Request, part []byte)) func(http.ResponseWriter, *http.Request, time.Duration) bool {
	return func(w http.ResponseWriter, r *http.Request, at time.Duration) bool {
		var n int64
		var part int
		_, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if k, _ := fmt.Sscanf(file, "%d.%d.m4s", &n, &part); k < 2 {
			return false
		}
		end := time.Duration(n)*segmentDur + time.Duration(part+1)*partDur - lead
		if at >= end || at < end-partDur {
			return false
		}
		w.Header().Set("Content-Type", "video/mp4")
		send(w, r, s.segment(n, part))
		return true
	}
}

// rangeAnswer answers requests for the hinted range of a segment once, and while the
// part is not there.
func rangeAnswer(s *stream, send func(w http.ResponseWriter, r *http.Request, from, to int64, segment []byte)) func(http.ResponseWriter, *http.Request, time.Duration) bool {
	return func(w http.ResponseWriter, r *http.Request, at time.Duration) bool {
		var n int64
		_, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		if k, _ := fmt.Sscanf(file, "%d.m4s", &n); k < 1 || n != int64((at+lead)/segmentDur) {
			return false
		}
		k := int64((at+lead)/partDur) - 2*n
		from, to := s.part(k)
		w.Header().Set("Content-Type", "video/mp4")
		send(w, r, from, to, s.segment(n, -1))
		return true
	}
}

// Hints of ranges: of the first part of a segment and of the second, with the range's
// length and without it.
func TestHintedRange(t *testing.T) {
	partial := func(w http.ResponseWriter, from, to int64) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", from, to-1))
		w.WriteHeader(http.StatusPartialContent)
	}
	rest := func(r *http.Request) { pause(r.Context(), partDur) }
	for name, x := range map[string]struct {
		first bool // the hint is of a segment's first part
		form  ranged
		send  func(w http.ResponseWriter, r *http.Request, from, to int64, segment []byte)
		want  string // in the finding; empty: none
	}{
		"open":          {form: openRange},
		"open, first":   {form: openRange, first: true},
		"closed":        {form: closedRange},
		"closed, first": {form: closedRange, first: true},
		"the whole segment": {form: openRange, want: "is the whole", send: func(w http.ResponseWriter, r *http.Request, _, _ int64, segment []byte) {
			rest(r)
			_, _ = w.Write(segment)
		}},
		"other bytes": {form: closedRange, want: "is another", send: func(w http.ResponseWriter, r *http.Request, from, to int64, segment []byte) {
			rest(r)
			partial(w, from, to)
			_, _ = w.Write(segment[from-1 : to-1])
		}},
		"sent before it is whole": {form: closedRange, want: "before it was whole", send: func(w http.ResponseWriter, r *http.Request, from, to int64, segment []byte) {
			partial(w, from, to)
			_, _ = w.Write(segment[from : from+100])
			w.(http.Flusher).Flush()
			rest(r)
			_, _ = w.Write(segment[from+100 : to])
		}},
		"first, sent before it is whole": {form: openRange, first: true, want: "before it was whole", send: func(w http.ResponseWriter, r *http.Request, _, to int64, segment []byte) {
			_, _ = w.Write(segment[:100])
			w.(http.Flusher).Flush()
			rest(r)
			_, _ = w.Write(segment[100:to])
			w.(http.Flusher).Flush()
			rest(r)
			_, _ = w.Write(segment[to:])
		}},
		"first, held until the segment is whole": {form: openRange, first: true, want: "after it was listed", send: func(w http.ResponseWriter, r *http.Request, _, to int64, segment []byte) {
			rest(r)
			rest(r)
			_, _ = w.Write(segment)
		}},
		"no answer": {form: closedRange, want: "there is no answer", send: func(_ http.ResponseWriter, r *http.Request, _, _ int64, _ []byte) {
			<-r.Context().Done()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStream(t, stream{low: true, ranged: x.form})
			held := func(http.ResponseWriter, *http.Request, time.Duration) bool { return false }
			if x.send != nil {
				held = rangeAnswer(s, x.send)
			}
			s.answer = func(w http.ResponseWriter, r *http.Request, at time.Duration) bool {
				if x.first && r.URL.Query().Has("_HLS_skip") { // asked just before the hint is
					pause(r.Context(), partDur)
					return false
				}
				return held(w, r, at)
			}
			r := s.run(t, 30*time.Second)
			hints(t, r, x.want)
			for _, f := range r.Findings {
				if x.want == "" && f.Severity == Must {
					t.Errorf("%s: %s", f.Rule, f.Text)
				}
			}
		})
	}
}

// hints says whether a report that looked at hints has the finding that has want in it,
// or none if that is empty.
func hints(t *testing.T, r *Report, want string) {
	t.Helper()
	if r.Checked["L14"] == 0 {
		t.Fatal("no hint was looked at")
	}
	f := broken(r, "L14")
	switch {
	case want == "" && f != nil:
		t.Errorf("found: %s", f.Text)
	case want != "" && f == nil:
		t.Errorf("not found; found %s", listing(r))
	case want != "" && !strings.Contains(f.Text, want):
		t.Errorf("found: %s", f.Text)
	}
}

func TestHintedPart(t *testing.T) {
	rest := func(r *http.Request) { pause(r.Context(), partDur) } // until it is there
	for name, x := range map[string]struct {
		unheld bool
		send   func(w http.ResponseWriter, r *http.Request, part []byte)
		want   string // in the finding; empty: none
	}{
		"held":                        {},
		"not found until it is there": {unheld: true, want: "404"},
		"other bytes": {send: func(w http.ResponseWriter, r *http.Request, part []byte) {
			rest(r)
			_, _ = w.Write(part[:len(part)-1])
		}, want: "is another"},
		"sent before it is whole": {send: func(w http.ResponseWriter, r *http.Request, part []byte) {
			_, _ = w.Write(part[:100])
			w.(http.Flusher).Flush()
			rest(r)
			_, _ = w.Write(part[100:])
		}, want: "before it was whole"},
		"no answer": {send: func(_ http.ResponseWriter, r *http.Request, _ []byte) {
			<-r.Context().Done()
		}, want: "there is no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStream(t, stream{low: true, unheld: x.unheld})
			if x.send != nil {
				s.answer = hintAnswer(s, x.send)
			}
			r := s.run(t, 30*time.Second)
			hints(t, r, x.want)
		})
	}
}
