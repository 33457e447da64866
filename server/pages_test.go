package server

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/live"
)

// Where to publish is where the server listens, by the name that the client knows it by.
func TestPublishURLs(t *testing.T) {
	a := Addrs{RTMP: &net.TCPAddr{Port: 19535}, HTTP: &net.TCPAddr{IP: net.IPv6loopback, Port: 80}, SRT: &net.UDPAddr{Port: 8890}}
	for host, want := range map[string][]string{
		"media.example:8080": {"rtmp://media.example:19535/live/NAME", "srt://media.example:8890?streamid=publish:live/NAME", "http://media.example:80/live/NAME.ts"},
		"[::1]:8080":         {"rtmp://[::1]:19535/live/NAME", "srt://[::1]:8890?streamid=publish:live/NAME", "http://[::1]:80/live/NAME.ts"},
		"":                   {"rtmp://THIS-HOST:19535/live/NAME", "srt://THIS-HOST:8890?streamid=publish:live/NAME", "http://THIS-HOST:80/live/NAME.ts"},
	} {
		if got := a.publish(host); !slices.Equal(got, want) {
			t.Errorf("%q: %q", host, got)
		}
	}
	if got := (&Addrs{}).publish("a"); got != nil {
		t.Errorf("%q", got)
	}
}

// The first page lists each stream with its state; no page lacks its icon.
func TestHomePage(t *testing.T) {
	t.Parallel()
	need(t, "ffmpeg")
	s := start(t, live.Config{Target: time.Second})
	if _, body := get(t, s.http+"/"); !strings.Contains(body, "No stream yet") || !strings.Contains(body, s.rtmp+"/live/NAME") {
		t.Errorf("%s", body)
	}
	if code, body := get(t, s.http+"/favicon.ico"); code != http.StatusOK || !strings.HasPrefix(body, "<svg") {
		t.Errorf("%d %s", code, body)
	}
	stop := publish(t, s.rtmp+"/live/cam")
	defer func() { stop() }()
	until(t, s.http+"/", "/live/cam/", ">live</span>", "h264 320 × 180", "aac")
	stop()
	until(t, s.http+"/", "/live/cam/", ">waits for its publisher</span>")
}
