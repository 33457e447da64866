package verify

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestStreamWatched: a transport stream that has no end is read for as long as asked, and
// one that has, to its end; by its type or, if that says nothing, its first bytes.
func TestStreamWatched(t *testing.T) {
	body := streamBase(t)[transport]
	for name, x := range map[string]struct {
		kind    string
		endless bool
	}{"type, endless": {"video/mp2t", true}, "bytes": {"application/octet-stream", false}, "bytes, endless": {"", true}} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Content-Type"] = []string{x.kind}
				_, _ = w.Write(body)
				if x.endless {
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}
			}))
			defer s.Close()
			r, err := Run(t.Context(), Config{Input: s.URL + "/live/cam", For: 500 * time.Millisecond, Client: s.Client()})
			if err != nil {
				t.Fatal(err)
			}
			if r.Kind != "ts" || r.Bytes != int64(len(body)) || r.Watched <= 0 || r.Checked["T4"] == 0 || r.Checked["T8"] == 0 {
				t.Errorf("%+v", r)
			}
			for _, f := range r.Findings {
				if f.Rule != "A33" {
					t.Errorf("%s %s: %s", f.Rule, f.Place, f.Text)
				}
			}
			s.CloseClientConnections()
		})
	}
}

// TestStreamCancelled: who stops waiting gets an error, not half a report.
func TestStreamCancelled(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "video/mp2t")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if r, err := Run(ctx, Config{Input: s.URL + "/live/cam.ts", Client: s.Client()}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", r, err)
	}
}
