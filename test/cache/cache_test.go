package cache

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/format/hls"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNginx: through nginx every part and every playlist that waits comes to the server
// once, and players get what they wait for.
func TestNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed: its cache is left out")
	}
	dir, err := os.MkdirTemp("", "cache-*") // below t.TempDir nginx's workers cannot look
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "cleave")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../cmd/cleave").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r, err := Run(t.Context(), Config{Binary: binary, Nginx: nginx, Dir: dir, Players: 20, Join: time.Second, For: 5 * time.Second, Part: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Again > 0 || r.Stale > 0 || r.Redirects > 0 || r.Failed > 0 {
		t.Errorf("%d names again, %v; %d stale, %d redirects, %d failed: %s", r.Again, r.AgainNames, r.Stale, r.Redirects, r.Failed, r.FailedWhy)
	}
	// Each player asks for a playlist and a part each half second.
	if r.AskedCacheable < 20*5*2 || r.CameCacheable == 0 || r.CameCacheable > r.AskedCacheable/4 {
		t.Errorf("%d requests of players, of which %d came", r.AskedCacheable, r.CameCacheable)
	}
	var page bytes.Buffer
	if err := r.Print(&page, "here"); err != nil || !strings.Contains(page.String(), "proxy_cache_lock on;") {
		t.Error(err)
	}
}

// TestNext: where a playlist goes on.
func TestNext(t *testing.T) {
	parts := make([]hls.Part, 3)
	for _, c := range []struct {
		m    hls.Media
		msn  int64
		part int
	}{
		{hls.Media{Sequence: 7}, 7, 0},
		{hls.Media{Sequence: 7, Segments: []hls.Segment{{URI: "a"}, {URI: "b"}}}, 9, 0},
		{hls.Media{Sequence: 7, Segments: []hls.Segment{{URI: "a"}, {Parts: parts}}}, 8, 3},
		{hls.Media{Sequence: 7, Skipped: 5, Segments: []hls.Segment{{URI: "a"}, {Parts: parts}}}, 13, 3},
	} {
		if msn, part := next(&c.m); msn != c.msn || part != c.part {
			t.Errorf("%d.%d, want %d.%d", msn, part, c.msn, c.part)
		}
	}
}

// TestCacheable: what counts.
func TestCacheable(t *testing.T) {
	for uri, want := range map[string]bool{
		"/a/video0/1-2.m4s": true, "/a/video0/1-2.3.m4s": true, "/a/video0/init-0.mp4": true, "/a/video0/index.m3u8?_HLS_msn=1": true,
		"/a/video0/index.m3u8": false, "/a/index.m3u8": false, "/a.flv": false,
	} {
		if cacheable(uri) != want {
			t.Error(uri)
		}
	}
}
