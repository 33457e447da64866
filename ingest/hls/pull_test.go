package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/httpio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// packaged makes a folder of HLS by ffmpeg: three segments of a second.
func packaged(t *testing.T, args string) string {
	t.Helper()
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: foreign HLS is left out")
	}
	dir := t.TempDir()
	all := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=s=160x120:r=25:d=3 -f lavfi -i sine=r=48000:d=3 -c:v libx264 -preset ultrafast -bf 2 -g 25 " +
		"-keyint_min 25 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -f hls -hls_time 1 -hls_playlist_type vod " + args)
	cmd := exec.CommandContext(t.Context(), tool, all...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return dir
}

func pullFrom(t *testing.T, ctx context.Context, h http.Handler, path string) (*Pulled, error) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	c := s.Client()
	t.Cleanup(c.CloseIdleConnections)
	return Pull(ctx, c, u)
}

// counts are the packets of each kind, and how often tracks began.
func counts(t *testing.T, l []avtest.Generation) (video, audio int) {
	t.Helper()
	for _, g := range l {
		for _, p := range g.Packets {
			if g.Tracks[p.Track].Kind == av.Video {
				video++
			} else {
				audio++
			}
		}
	}
	return video, audio
}

func TestPull(t *testing.T) {
	for name, test := range map[string]struct{ args, path string }{
		"TS":             {"out.m3u8", "/out.m3u8"},
		"TS, ranges":     {"-hls_flags single_file out.m3u8", "/out.m3u8"},
		"fMP4":           {"-hls_segment_type fmp4 out.m3u8", "/out.m3u8"},
		"fMP4, ranges":   {"-hls_segment_type fmp4 -hls_flags single_file out.m3u8", "/out.m3u8"},
		"variants":       {"-hls_segment_type fmp4 -master_pl_name m.m3u8 -hls_fmp4_init_filename i%v.mp4 -var_stream_map v:0,agroup:a,name:v|a:0,agroup:a,name:a %v.m3u8", "/m.m3u8"},
		"variants of TS": {"-master_pl_name m.m3u8 -var_stream_map v:0,agroup:a,name:v|a:0,agroup:a,name:a %v.m3u8", "/m.m3u8"},
	} {
		t.Run(name, func(t *testing.T) {
			args := strings.ReplaceAll(test.args, "|", " ")
			if i := strings.Index(args, "-var_stream_map "); i >= 0 {
				args = args[:i] + "-map 0:v -map 1:a " + args[i:]
			}
			dir := packagedMap(t, args)
			d, err := pullFrom(t, t.Context(), http.FileServer(http.Dir(dir)), test.path)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			l, err := avtest.Read(d)
			if err != io.EOF || len(l) != 1 || len(l[0].Tracks) != 2 {
				t.Fatalf("%d sets, %v", len(l), err)
			}
			if v, a := counts(t, l); v != 75 || a < 140 {
				t.Errorf("%d pictures, %d frames of sound", v, a)
			}
			inOrder(t, l[0])
			if done, _ := d.Progress(); done == 0 {
				t.Error("no progress")
			}
		})
	}
}

// packagedMap is packaged where one argument holds a space.
func packagedMap(t *testing.T, args string) string {
	t.Helper()
	i := strings.Index(args, "-var_stream_map ")
	if i < 0 {
		return packaged(t, args)
	}
	tool, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not installed: foreign HLS is left out")
	}
	dir := t.TempDir()
	rest := strings.Fields(args[i+len("-var_stream_map "):])
	all := strings.Fields("-v error -nostdin -f lavfi -i testsrc2=s=160x120:r=25:d=3 -f lavfi -i sine=r=48000:d=3 -c:v libx264 -preset ultrafast -bf 2 -g 25 " +
		"-keyint_min 25 -sc_threshold 0 -pix_fmt yuv420p -c:a aac -f hls -hls_time 1 -hls_playlist_type vod " + args[:i])
	all = append(all, "-var_stream_map", strings.Join(rest[:len(rest)-1], " "), rest[len(rest)-1])
	cmd := exec.CommandContext(t.Context(), tool, all...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	return dir
}

// inOrder: decode times rise in each track, and tracks are interleaved.
func inOrder(t *testing.T, g avtest.Generation) {
	t.Helper()
	last := make([]int64, len(g.Tracks))
	at := make([]time.Duration, len(g.Tracks))
	for i := range last {
		last[i] = -1 << 62
	}
	for _, p := range g.Packets {
		if p.DTS <= last[p.Track] {
			t.Fatalf("track %d: %d behind %d", p.Track, p.DTS, last[p.Track])
		}
		last[p.Track] = p.DTS
		at[p.Track] = g.Tracks[p.Track].Timebase.Duration(p.DTS)
	}
	if len(at) == 2 && (at[0]-at[1] > time.Second || at[1]-at[0] > time.Second) {
		t.Errorf("the tracks end at %v", at)
	}
}

// grows is a live playlist that each request makes longer.
type grows struct {
	dir  string
	mu   sync.Mutex // guards n
	n    int
	list func(n int) string
}

func (g *grows) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, ".m3u8") {
		http.ServeFile(w, r, filepath.Join(g.dir, filepath.Base(r.URL.Path)))
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	io.WriteString(w, g.list(g.n))
	g.n++
}

// A live playlist is followed; a discontinuity begins the tracks anew.
func TestPullLive(t *testing.T) {
	g := &grows{dir: packaged(t, "out.m3u8"), list: func(n int) string {
		s := "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:7\n"
		for i := range min(n+2, 3) {
			s += fmt.Sprintf("#EXTINF:1,\nout%d.ts\n", i)
		}
		if n >= 2 {
			s += "#EXT-X-DISCONTINUITY\n#EXTINF:1,\nout0.ts\n#EXT-X-GAP\n#EXTINF:1,\nnone.ts\n#EXTINF:1,\nout2.ts\n"
		}
		if n >= 3 {
			s += "#EXT-X-ENDLIST\n"
		}
		return s
	}}
	d, err := pullFrom(t, t.Context(), g, "/live.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	l, err := avtest.Read(d)
	if err != io.EOF || len(l) != 3 {
		t.Fatalf("%d sets, %v", len(l), err)
	}
	if v, a := counts(t, l); v != 125 || a < 225 {
		t.Errorf("%d pictures, %d frames of sound", v, a)
	}
}

// HOSTILE: playlists that are too large, nested, encrypted, or lead elsewhere.
func TestPullRefuses(t *testing.T) {
	head := "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
	vod := func(s string) string { return head + s + "#EXTINF:1,\nx.ts\n#EXT-X-ENDLIST\n" }
	for name, test := range map[string]struct {
		text string
		want error
	}{
		"not a playlist": {"<html>", av.ErrInvalid},
		"nothing":        {"", av.ErrInvalid},
		"100 MB":         {head + strings.Repeat("#\n", 50<<20), av.ErrTooLarge},
		"1M entries":     {head + strings.Repeat("#EXTINF:1,\nx\n", 70000), av.ErrTooLarge},
		"AES-128":        {vod("#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n"), av.ErrEncrypted},
		"SAMPLE-AES":     {vod("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\",KEYFORMAT=\"com.apple.streamingkeydelivery\"\n"), av.ErrEncrypted},
		"file: MAP":      {vod("#EXT-X-MAP:URI=\"file:///etc/passwd\"\n"), av.ErrUnsupported},
		"file: segment":  {head + "#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", av.ErrUnsupported},
		"concat:":        {head + "#EXTINF:1,\nconcat:a.ts|b.ts\n#EXT-X-ENDLIST\n", av.ErrUnsupported},
		"I-frames only":  {vod("#EXT-X-I-FRAMES-ONLY\n"), av.ErrUnsupported},
		"nested":         {"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlist.m3u8\n", av.ErrInvalid},
		"gopher variant": {"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ngopher://x/\n", av.ErrUnsupported},
		"odd segment":    {vod(""), av.ErrUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := pullFrom(t, t.Context(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".m3u8") {
					io.WriteString(w, test.text)
				} else {
					io.WriteString(w, strings.Repeat("WEBVTT", 1000))
				}
			}), "/list.m3u8")
			if err == nil {
				_, err = avtest.Read(d)
				d.Close()
			}
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// A segment that is missing is skipped; too many end the stream.
func TestPullMissing(t *testing.T) {
	dir := packaged(t, "out.m3u8")
	missing := func(names ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, n := range names {
				if strings.HasSuffix(r.URL.Path, n) {
					http.NotFound(w, r)
					return
				}
			}
			http.ServeFile(w, r, filepath.Join(dir, filepath.Base(r.URL.Path)))
		}
	}
	d, err := pullFrom(t, t.Context(), missing("out1.ts"), "/out.m3u8")
	if err != nil {
		t.Fatal(err)
	}
	l, err := avtest.Read(d)
	d.Close()
	if v, _ := counts(t, l); err != io.EOF || len(l) != 2 || v != 50 {
		t.Errorf("%d sets, %d pictures, %v", len(l), v, err)
	}
	d, err = pullFrom(t, t.Context(), missing("out0.ts", "out1.ts", "out2.ts"), "/out.m3u8")
	if err == nil {
		_, err = avtest.Read(d)
		d.Close()
	}
	var no *httpio.StatusError
	if !errors.As(err, &no) {
		t.Errorf("%v", err)
	}
}

// The context's end and Close end a wait for the playlist.
func TestPullEnds(t *testing.T) {
	dir := packaged(t, "out.m3u8")
	live := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".m3u8") {
			io.WriteString(w, "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nout0.ts\n")
			return
		}
		http.ServeFile(w, r, filepath.Join(dir, filepath.Base(r.URL.Path)))
	}
	why := errors.New("the end")
	for name, want := range map[string]error{"context": why, "close": fs.ErrClosed} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			d, err := pullFrom(t, ctx, http.HandlerFunc(live), "/live.m3u8")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() {
				_, err := avtest.Read(d)
				ended <- err
			}()
			if name == "close" {
				if err := d.Close(); err == nil {
					err = <-ended
					if !errors.Is(err, want) {
						t.Errorf("%v, want %v", err, want)
					}
				}
				return
			}
			cancel(why)
			if err := <-ended; !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			d.Close()
		})
	}
}
