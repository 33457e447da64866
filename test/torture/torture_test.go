package torture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/test/child"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestOwn: rows that take no time, against a server of ours.
func TestOwn(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "cleave")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/cleave").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s, err := child.Start(t.Context(), binary, filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	target := Target{HTTP: s.HTTP, RTMP: s.RTMP, RTSP: s.RTSP, SRT: s.SRT, Admin: s.Admin}
	rows := []int{3, 5, 6, 7, 9, 10, 11, 14, 17, 18, 26, 33, 36, 43, 45, 49, 52, 59, 61, 64}
	report, err := Run(t.Context(), target, rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range report.Results {
		if !x.OK {
			t.Errorf("%d %s: %s", x.Row, x.Sent, x.Came)
		}
	}
	if len(report.Results) < 40 || report.Canary.Fault != "" || report.Canary.Frames == 0 || report.Failed() > 0 {
		t.Errorf("%d results, %+v, %+v", len(report.Results), report.Canary, report.Memory)
	}
	var page bytes.Buffer
	if err := report.Print(&page, "here"); err != nil || strings.Contains(page.String(), "**not**") {
		t.Errorf("%v %s", err, &page)
	}
	if log, err := s.Stop(); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
}

// TestBad: a server that takes everything, closes nothing and answers all with 200 fails.
func TestBad(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			go func() {
				_, _ = conn.Write(make([]byte, 1+2*1536)) // S0, S1, S2
				_, _ = io.Copy(io.Discard, conn)
			}()
		}
	}()
	defer func() { cancel(); l.Close(); <-ended }()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("#EXTM3U\n")) }))
	defer web.Close()
	r := &rig{Target: Target{HTTP: web.Listener.Addr().String(), RTMP: l.Addr().String()}, client: web.Client()}
	var group sync.WaitGroup
	defer group.Wait()
	for _, list := range [][]trial{rtmpTrials(), flvTrials(), httpTrials()} {
		for i := range list {
			if x := &list[i]; contains([]int{10, 17, 59, 72}, x.row) && !strings.Contains(x.sent, "300") {
				group.Go(func() {
					within, cancel := context.WithTimeout(ctx, 6*time.Second)
					defer cancel()
					if res := r.try(within, x); res.OK {
						t.Errorf("%d %s: %s", res.Row, res.Sent, res.Came)
					}
				})
			}
		}
	}
}

// TestRanges: many ranges are refused, or all of the segment is sent; nothing else will do.
func TestRanges(t *testing.T) {
	for code, good := range map[int]bool{200: true, 206: false, 404: false, 416: true, 500: false} {
		web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			switch {
			case strings.HasSuffix(req.URL.Path, ".m3u8"):
				_, _ = io.WriteString(w, "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:1\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:1,\n1.m4s\n")
				return
			case req.Header.Get("Range") != "":
				w.WriteHeader(code)
			}
			_, _ = io.WriteString(w, "segment")
		}))
		r := &rig{Target: Target{HTTP: web.Listener.Addr().String()}, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
		if came, err := ranges(t.Context(), r); (err == nil) != good {
			t.Errorf("%d: %s, %v", code, came, err)
		}
		web.Close()
	}
}

// TestLocal: only addresses of the loopback are safe to try.
func TestLocal(t *testing.T) {
	for address, remote := range map[string]bool{"127.0.0.1:1935": false, "[::1]:1": false, "": false, "192.0.2.1:80": true, "0.0.0.0:80": true, "[2001:db8::1]:1": true} {
		if err := (&Target{SRT: address}).Local(t.Context()); errors.Is(err, ErrRemote) != remote {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := (&Target{HTTP: "localhost"}).Local(t.Context()); err == nil {
		t.Error("an address without a port")
	}
}
