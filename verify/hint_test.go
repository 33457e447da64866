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
			if r.Checked["L14"] == 0 {
				t.Fatal("no hint was looked at")
			}
			f := broken(r, "L14")
			switch {
			case x.want == "" && f != nil:
				t.Errorf("found: %s", f.Text)
			case x.want != "" && f == nil:
				t.Errorf("not found; found %s", listing(r))
			case x.want != "" && !strings.Contains(f.Text, x.want):
				t.Errorf("found: %s", f.Text)
			}
		})
	}
}
