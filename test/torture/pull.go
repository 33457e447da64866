package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/internal/pace"
)

// declare has a server pull a URL, and returns the last error of the source; running: that
// it plays.
func (r *rig) declare(ctx context.Context, admin, name, url string) (status int, last string, running bool, err error) {
	b, err := json.Marshal(map[string]string{"name": name, "url": url})
	if err != nil {
		return 0, "", false, err
	}
	res, err := r.ask(ctx, http.MethodPost, admin, "/v1/streams", strings.NewReader(string(b)), "Content-Type", "application/json")
	if err != nil {
		return 0, "", false, err
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	res.Body.Close()
	if err != nil || res.StatusCode != http.StatusCreated {
		return res.StatusCode, strings.TrimSpace(string(text)), false, err
	}
	defer func() {
		if res, err := r.ask(context.WithoutCancel(ctx), http.MethodDelete, admin, "/v1/streams/"+name, nil); err == nil {
			res.Body.Close()
		}
	}()
	for began := time.Now(); time.Since(began) < 30*time.Second && ctx.Err() == nil; _ = pace.Sleep(ctx, 100*time.Millisecond) {
		s, err := r.source(ctx, admin, name)
		if err != nil || s.Live || s.Source.Error != "" {
			return res.StatusCode, s.Source.Error, s.Live, err
		}
	}
	return res.StatusCode, "", false, errors.New("no state but connecting for 30 s")
}

// source is a stream as /v1/streams has it.
type source struct {
	Name   string
	Live   bool
	Source struct {
		Error string `json:"last_error"`
	}
}

func (r *rig) source(ctx context.Context, admin, name string) (s source, err error) {
	res, err := r.ask(ctx, http.MethodGet, admin, "/v1/streams", nil)
	if err != nil {
		return s, err
	}
	defer res.Body.Close()
	var list []source
	if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
		return s, err
	}
	for _, s := range list {
		if s.Name == name {
			return s, nil
		}
	}
	return s, errors.New("the source is not listed")
}

// badURLs are what no server may pull that anybody can tell what to.
var badURLs = []string{
	"http://169.254.169.254/latest/meta-data/x.ts", "http://127.0.0.1:1/x.ts", "http://[::ffff:127.0.0.1]:1/x.ts", "http://[::1]:1/x.ts", "http://0.0.0.0:1/x.ts",
	"http://2130706433/x.ts", "http://0x7f.1/x.ts", "rtmp://127.0.0.1:1/a/b", "rtsp://127.0.0.1:1/a", "srt://127.0.0.1:1?streamid=a", "http://localhost:1/x.m3u8",
	"file:///etc/passwd", "gopher://127.0.0.1/x", "concat:a.ts|b.ts", "ftp://127.0.0.1/x.ts", "javascript:alert(1)", "http://10.0.0.1:1/x.ts", "http://[fe80::1]:1/x.ts",
}

func pullTrials() []trial {
	return []trial{{row: 61, sent: fmt.Sprintf("%d sources on this machine, private, link-local, by names and odd schemes", len(badURLs)), run: func(ctx context.Context, r *rig) (string, error) {
		codes := counts{}
		for i, url := range badURLs {
			status, last, running, err := r.declare(ctx, r.Admin, fmt.Sprintf("torture/pull%d", i), url)
			codes[status]++
			switch {
			case err != nil:
				return codes.String(), fmt.Errorf("%s: %w", url, err)
			case running:
				return codes.String(), fmt.Errorf("%s plays", url)
			case status == http.StatusCreated && strings.Contains(last, "refused") && !strings.Contains(last, "address"):
				return codes.String(), fmt.Errorf("%s was dialled: %s", url, last)
			}
		}
		return codes.String() + ", none was dialled", nil
	}}}
}

// playlistTrials are sources that this program serves to a server which may pull from
// here: none may be played, and nothing be asked for elsewhere.
func playlistTrials() []trial {
	head := "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
	vod := func(s string) string { return head + s + "#EXTINF:1,\nx.ts\n#EXT-X-ENDLIST\n" }
	var list []trial
	for i, p := range []struct {
		row        int
		sent, text string
		to         string // redirects there instead
	}{
		{62, "a playlist of 100 MB", head + strings.Repeat("#\n", 50<<20), ""},
		{62, "a playlist of 1,000,000 segments", head + strings.Repeat("#EXTINF:1,\nx\n", 1_000_000), ""},
		{62, "EXT-X-KEY and EXT-X-MAP of file:", vod("#EXT-X-KEY:METHOD=AES-128,URI=\"file:///etc/passwd\"\n#EXT-X-MAP:URI=\"file:///etc/passwd\"\n"), ""},
		{62, "segments of file: and concat:", head + "#EXTINF:1,\nfile:///etc/passwd\n#EXTINF:1,\nconcat:a|b\n#EXT-X-ENDLIST\n", ""},
		{62, "a multivariant playlist that names itself", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlist.m3u8\n", ""},
		{62, "a variant of gopher:", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ngopher://x/\n", ""},
		{62, "segments that are text", vod(""), ""},
		{61, "a redirect to file:", "", "file:///etc/passwd"},
		{61, "a redirect to gopher:", "", "gopher://127.0.0.1/x"},
		{61, "a redirect to 169.254.169.254", "", "http://169.254.169.254/x.m3u8"},
		{61, "a redirect that goes round", "", "list.m3u8"},
	} {
		list = append(list, trial{row: p.row, sent: p.sent, run: func(ctx context.Context, r *rig) (string, error) {
			var asked atomic.Int64
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return "", err
			}
			srv := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				asked.Add(1)
				switch {
				case p.to != "":
					w.Header().Set("Location", p.to)
					w.WriteHeader(http.StatusFound)
				case strings.HasSuffix(q.URL.Path, ".m3u8"):
					_, _ = io.WriteString(w, p.text) // it may hang up
				default:
					_, _ = io.WriteString(w, strings.Repeat("WEBVTT", 1000))
				}
			})}
			done := make(chan error, 1)
			go func() { done <- srv.Serve(l) }()
			defer func() { srv.Close(); <-done }()
			_, last, running, err := r.declare(ctx, r.PullAdmin, fmt.Sprintf("torture/list%d", i), "http://"+l.Addr().String()+"/list.m3u8")
			switch {
			case err != nil:
				return "", err
			case running:
				return "it plays", errors.New("it was to be refused")
			case asked.Load() > 20:
				return last, fmt.Errorf("it was asked %d times", asked.Load())
			}
			return fmt.Sprintf("%d requests, %s", asked.Load(), last[:min(len(last), 120)]), nil
		}})
	}
	return list
}
