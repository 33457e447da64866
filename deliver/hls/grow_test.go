package hls

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/live"
)

// arrivals is a body that notes when it came.
type arrivals struct {
	*httptest.ResponseRecorder
	at    []time.Duration
	began time.Time
}

func (a *arrivals) Write(b []byte) (int, error) {
	a.at = append(a.at, time.Since(a.began))
	return a.ResponseRecorder.Write(b)
}

// A segment that is open is sent part by part, as they come, and is what it is when it
// is whole. The one after it is waited for.
func TestOpenSegmentGrows(t *testing.T) {
	for name, first := range map[string]time.Duration{"1-4": 0, "1-5": time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, live.Config{})
			defer r.end()
			r.at()
			if name == "1-5" {
				time.Sleep(time.Second) // the segment before it ends within the second
			}
			a := &arrivals{ResponseRecorder: httptest.NewRecorder(), began: time.Now()}
			r.h.ServeHTTP(a, httptest.NewRequestWithContext(t.Context(), http.MethodGet, video+name+".m4s", nil))
			if a.Code != 200 || !a.Flushed || a.Header().Get("Content-Length") != "" || a.Header().Get("Content-Type") != "video/mp4" {
				t.Fatalf("%s: %d %v", name, a.Code, a.Header())
			}
			for i := range a.at {
				if gap := a.at[i] - a.at[max(i, 1)-1]; gap > 300*time.Millisecond {
					t.Errorf("%s: part %d came %v after the one before it", name, i, gap)
				}
			}
			if n := len(a.at); n < 8 || a.at[0] > first || a.at[n-1] < time.Second {
				t.Errorf("%s: parts came after %v", name, a.at)
			}
			whole := r.get(video + name + ".m4s")
			if whole.Code != 200 || !bytes.Equal(whole.Body.Bytes(), a.Body.Bytes()) || whole.Header().Get("Content-Length") == "" {
				t.Errorf("%s: it grew to %d bytes, and has %d", name, a.Body.Len(), whole.Body.Len())
			}
			if again := r.get(video+name+".m4s", "If-None-Match", a.Header().Get("Etag")); again.Code != http.StatusNotModified {
				t.Errorf("%s: it is %d by the tag that it had as it grew", name, again.Code)
			}
			for _, head := range []string{"Cache-Control"} {
				if whole.Header().Get(head) != a.Header().Get(head) {
					t.Errorf("%s: %s %q, and when it is whole %q", name, head, a.Header().Get(head), whole.Header().Get(head))
				}
			}
		})
	}
}

// HEAD is answered at once; what nobody announced is not there; without parts nothing
// grows.
func TestOpenSegmentHead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.at()
		if a := r.do(http.MethodHead, video+"1-4.m4s"); a.Code != 200 || a.took != 0 || a.Body.Len() != 0 || a.Header().Get("Etag") == "" {
			t.Errorf("HEAD: %d after %v, %v", a.Code, a.took, a.Header())
		}
		for _, name := range []string{"1-7.m4s", "2-4.m4s", "2-5.m4s", "1-99.m4s"} {
			if a := r.get(video + name); a.Code != 404 || a.took != 0 {
				t.Errorf("%s: %d after %v", name, a.Code, a.took)
			}
		}
		// A range is ignored: the size is not known.
		if a := r.get(video+"1-4.m4s", "Range", "bytes=0-9"); a.Code != 200 || a.Body.Len() < 1000 {
			t.Errorf("a range: %d, %d bytes", a.Code, a.Body.Len())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{Part: -1})
		defer r.end()
		r.at()
		if a := r.get(video + "1-99.m4s"); a.Code != 404 {
			t.Errorf("%d", a.Code)
		}
	})
}

// A segment that stops growing is cut off: nobody takes what came for all of it.
func TestOpenSegmentIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, live.Config{})
		defer r.end()
		r.stall, r.until = make(chan struct{}), 6500*time.Millisecond
		r.at()
		l := &pipes{ch: make(chan net.Conn), done: make(chan struct{})}
		srv := &http.Server{Handler: r.h}
		var wg sync.WaitGroup
		wg.Go(func() { _ = srv.Serve(l) })
		defer wg.Wait()
		defer srv.Close()
		tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			l.ch <- server
			return client, nil
		}}
		defer tr.CloseIdleConnections()
		began := time.Now()
		res, err := (&http.Client{Transport: tr}).Get("http://x" + video + "1-4.m4s")
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil || len(b) == 0 || res.ContentLength != -1 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		if took := time.Since(began); took != 6*time.Second {
			t.Errorf("after %v", took)
		}
		// The next one, which never begins, is waited for as long.
		began = time.Now()
		if a := r.get(video + "1-5.m4s"); a.Code != 503 || time.Since(began) != 6*time.Second {
			t.Errorf("%d after %v", a.Code, time.Since(began))
		}
	})
}
