package server

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	dto "github.com/prometheus/client_model/go"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/proto/rtmp"
	"github.com/cleave-video/cleave/store/s3"
)

// bucket is a service in this process, which can be down.
type bucket struct {
	config s3.Config
	down   atomic.Bool
}

func newBucket(t *testing.T) *bucket {
	backend := s3mem.New()
	if err := backend.CreateBucket("chunks"); err != nil {
		t.Fatal(err)
	}
	h := gofakes3.New(backend, gofakes3.WithLogger(gofakes3.StdLog(log.New(io.Discard, "", 0)))).Server()
	b := &bucket{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	b.config = s3.Config{Endpoint: srv.Listener.Addr().String(), Bucket: "chunks", Prefix: "cleave/", AccessKey: "tester", SecretKey: "testertester", PathStyle: true}
	return b
}

// chunks returns how many chunks the bucket has.
func (b *bucket) chunks(t *testing.T) (n int) {
	t.Helper()
	s, err := s3.New(b.config)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(info.Key, ".chunk") {
			n++
		}
	}
	return n
}

// send publishes so many seconds at once, and stays until the test ends.
func send(t *testing.T, address string, seconds int) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	c, err := rtmp.Dial(ctx, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the server may be gone
	err = c.Publish(avtest.NewSynthetic(avtest.Spec{
		Video: avtest.Video{Frames: 25*seconds + 1, GOPs: []int{25}, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600, Size: 2000},
		Audio: avtest.Audio{Frames: 48000 * seconds / 1024},
	}))
	if err != nil {
		t.Fatal(err)
	}
}

// segmentsOf reads all segments of a playlist, which has n of them and none missing.
func segmentsOf(t *testing.T, url string, n int) *hls.Media {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		code, body := get(t, url+"index.m3u8")
		m, err := new(hls.Reader).Media([]byte(body))
		if code != http.StatusOK || err != nil || strings.Count(body, "#EXTINF") < n {
			if time.Now().After(deadline) {
				t.Fatal(code, err, body)
			}
			continue
		}
		for _, s := range m.Segments {
			if s.URI == "" {
				continue
			}
			if code, body := get(t, url+s.URI); code != http.StatusOK || s.Gap {
				t.Errorf("%s: %d %.80s", s.URI, code, body)
			}
		}
		return m
	}
	return nil
}

// TestSpool keeps chunks in a bucket that is down when the stream begins: nobody notices,
// and they are there when it is up. A server that is started while it is down goes on.
func TestSpool(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	data := t.TempDir()
	cfg := Config{Data: data, S3: &b.config, Live: live.Config{Target: time.Second}}
	b.down.Store(true)
	s := startWith(t, cfg)
	send(t, s.rtmp+"/live/cam", 10)
	m := segmentsOf(t, s.http+"/live/cam/video0/", 8)
	f := scrapeUntil(t, s, "all are in the spool", func(f map[string]*dto.MetricFamily) bool { return value(f["cleave_spool_objects"]) >= 8 })
	if n := value(f["cleave_stream_unstored_chunks_total"], "stream", "live/cam"); n != 0 {
		t.Errorf("%v chunks are not stored", n)
	}
	s.stop() // they stay in the spool

	s = startWith(t, cfg)
	again := segmentsOf(t, s.http+"/live/cam/video0/", 8)
	if again.Sequence != m.Sequence || again.Segments[0].URI != m.Segments[0].URI {
		t.Errorf("it goes on with %d, %s", again.Sequence, again.Segments[0].URI)
	}
	b.down.Store(false)
	scrapeUntil(t, s, "the spool is drained", func(f map[string]*dto.MetricFamily) bool { return value(f["cleave_spool_objects"]) == 0 })
	if n := b.chunks(t); n < 9 {
		t.Errorf("%d chunks in the bucket", n)
	}
	segmentsOf(t, s.http+"/live/cam/video0/", 8)
	if left, err := filepath.Glob(filepath.Join(data, SpoolDir, "live", "cam", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left in the spool: %q, %v", left, err)
	}
	s.stop()

	b.down.Store(true)
	s = startWith(t, cfg)
	send(t, s.rtmp+"/live/cam", 5)
	next := segmentsOf(t, s.http+"/live/cam/video0/", 3)
	if last := m.Sequence + int64(len(m.Segments)); next.Sequence < last || next.DiscontinuitySequence < 1 {
		t.Errorf("with the bucket down it goes on with %d after %d, discontinuity %d", next.Sequence, last, next.DiscontinuitySequence)
	}
	s.stop()
}

func TestStoreConfig(t *testing.T) {
	name := filepath.Join(t.TempDir(), "cleave.yaml")
	text := "data: /d\nspool: /fast\nspool_free: 1GiB\ns3:\n  endpoint: minio:9000\n  bucket: b\n  prefix: p/\n  region: eu\n  insecure: true\n  path_style: true\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "key")
	t.Setenv("AWS_SESSION_TOKEN", "")
	f, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Spool: "/faster"}
	f.Apply(&c)
	want := s3.Config{Endpoint: "minio:9000", Bucket: "b", Prefix: "p/", Region: "eu", AccessKey: "id", SecretKey: "key", PathStyle: true}
	if c.S3 == nil || *c.S3 != want || c.Spool != "/faster" || c.SpoolFree != 1<<30 {
		t.Errorf("%+v, %+v", c, c.S3)
	}
	for _, c := range []Config{{S3: &s3.Config{Bucket: "b"}, Data: t.TempDir()}, {Data: "x", Spool: "./x"}} {
		if err := Run(t.Context(), c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
