package server

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
)

// TestResponses: strategies come from the configuration and are changed while answers are
// under way; a feed that ends with its stream says in trailers what it was; who does not
// know a kind or a strategy is told.
func TestResponses(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	if err := (&Config{Responses: map[string]string{"feeds": "direct"}}).Validate(); err == nil || !strings.Contains(err.Error(), "feed") {
		t.Error(err)
	}
	cert, key := writePair(t, t.TempDir(), "localhost", time.Now())
	s := startWith(t, Config{
		Live: live.Config{Grace: 5 * time.Second}, Responses: map[string]string{"feed": "adaptive"}, WriteDeadline: 3 * time.Second, TLSCert: cert, TLSKey: key,
	})
	if code, body := ask(t, s, "GET", "/v1/responses", ""); code != 200 || body != `[{"kind":"feed","strategy":"adaptive"},{"kind":"frames","strategy":"direct"},{"kind":"parts","strategy":"direct"}]`+"\n" {
		t.Error(code, body)
	}
	for body, want := range map[string]int{
		`{"kind":"feeds","strategy":"direct"}`: 404, `{"kind":"feed","strategy":"eager"}`: 400, `{`: 400, `{"x":1}`: 400,
	} {
		if code, answer := ask(t, s, "POST", "/v1/responses", body); code != want {
			t.Errorf("%s: %d %s", body, code, answer)
		}
	}
	stop := publish(t, s.rtmp+"/live/cam")
	defer func() { stop() }()
	until(t, s.http+"/live/cam/index.m3u8", "#EXTM3U")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http+"/live/cam.flv?chunks=timed", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Want-Content-Digest", "sha-256=1")
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	sum := sha256.New()
	if _, err := io.CopyN(sum, res.Body, 50_000); err != nil {
		t.Fatal(err)
	}
	f := scrape(t, s)
	if value(f["cleave_http_response_strategy"], "kind", "feed", "strategy", "adaptive") != 1 || value(f["cleave_http_response_writes_total"], "kind", "feed", "cause", "at once") < 1 {
		t.Errorf("%v %v", f["cleave_http_response_strategy"], f["cleave_http_response_writes_total"])
	}
	second := secondFeed(t, s)
	if code, body := ask(t, s, "POST", "/v1/responses", `{"kind":"feed","strategy":"buffered"}`); code != 200 || !strings.Contains(body, `"buffered"`) {
		t.Error(code, body)
	}
	if _, err := io.CopyN(sum, res.Body, 200_000); err != nil {
		t.Fatal(err)
	}
	if f := scrape(t, s); value(f["cleave_http_response_writes_total"], "kind", "feed", "cause", "time")+value(f["cleave_http_response_writes_total"], "kind", "feed", "cause", "size") < 1 {
		t.Error("nothing waited:", f["cleave_http_response_writes_total"])
	}
	stop()
	if _, err := io.Copy(sum, res.Body); err != nil {
		t.Fatal(err)
	}
	if got, want := res.Trailer.Get("Content-Digest"), "sha-256=:"+base64.StdEncoding.EncodeToString(sum.Sum(nil))+":"; got != want {
		t.Errorf("digest %q, want %q", got, want)
	}
	if n, err := strconv.Atoi(res.Trailer.Get("X-Frames-Sent")); err != nil || n < 25 || res.Trailer.Get("X-Frames-Skipped") != "0" {
		t.Error(res.Trailer)
	}
	if trailer := <-second; trailer.Get("X-Frames-Skipped") != "0" || trailer.Get("X-Frames-Sent") == "" {
		t.Error("HTTP/2:", trailer)
	}
	if f := scrape(t, s); value(f["cleave_http_responses_ended_total"], "kind", "feed", "end", "whole") != 2 || value(f["cleave_tls_records_total"]) < 10 {
		t.Error(f["cleave_http_responses_ended_total"], f["cleave_tls_records_total"])
	}
}

// secondFeed watches the same by HTTP/2, and returns the trailers when it has ended, which
// is after a pause that is longer than a write may take.
func secondFeed(t *testing.T, s *running) <-chan http.Header {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	res, err := (&http.Client{Transport: tr}).Get("https://" + s.addrs.HTTPS.String() + "/live/cam.ts")
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan http.Header, 1)
	go func() {
		defer tr.CloseIdleConnections()
		defer res.Body.Close()
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.ProtoMajor != 2 {
			t.Error(res.Proto, err)
		}
		out <- res.Trailer
	}()
	return out
}
