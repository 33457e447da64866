package server

import (
	"net/http"
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/verify"
)

// keepsRules watches what is at a URL for a time, and fails the test for each MUST that is
// broken.
func keepsRules(t *testing.T, url string, long time.Duration) *verify.Report {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections() // one that was never used would hold up the server's end
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	r, err := verify.Run(t.Context(), verify.Config{Input: url, For: long, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Severity == verify.Must {
			t.Errorf("%s: %s:%d: %s", f.Rule, f.File, f.Line, f.Text)
		}
	}
	return r
}

// TestServedStreamKeepsTheRules: a live stream, watched as a player would, breaks no
// MUST of HLS and low-latency HLS.
func TestServedStreamKeepsTheRules(t *testing.T) {
	need(t, "ffmpeg")
	s := start(t, live.Config{})
	stop := publish(t, s.rtmp+"/live/cam")
	defer stop()
	until(t, s.http+"/live/cam/index.m3u8", "#EXT-X-STREAM-INF")
	r := keepsRules(t, s.http+"/live/cam/index.m3u8", 12*time.Second)
	if len(r.Findings) == 0 {
		t.Error("not even a SHOULD was looked at") // one variant is one bit rate: A23
	}
}
