package cache

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/format/hls"
	"github.com/cleave-video/cleave/internal/pace"
)

// crowd is the players, and what they met.
type crowd struct {
	base   string
	client *http.Client

	mu sync.Mutex // guards what follows
	Report
	late []time.Duration // a playlist came after the part's time
}

// play has players come one after the other and play until the time is over.
func play(ctx context.Context, c Config, address string) *crowd {
	// Redirects are not followed: there must be none.
	client := &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 2*c.Players + 16, DisableCompression: true, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	w := &crowd{base: "http://" + address + "/" + stream + "/", client: client}
	ctx, cancel := context.WithTimeout(ctx, c.Join+c.For)
	defer cancel()
	var group sync.WaitGroup
	for i := range c.Players {
		group.Go(func() {
			if pace.Sleep(ctx, c.Join*time.Duration(i)/time.Duration(c.Players)) == nil {
				w.player(ctx, i%2 == 1)
			}
		})
	}
	group.Wait()
	return w
}

// fill says what players met.
func (w *crowd) fill(out *Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out.Asked, out.AskedCacheable, out.Stale, out.Redirects, out.Failed, out.FailedWhy = w.Asked, w.AskedCacheable, w.Stale, w.Redirects, w.Failed, w.FailedWhy
	slices.Sort(w.late)
	if n := len(w.late); n > 0 {
		out.Late = [2]time.Duration{w.late[n/2], w.late[n*99/100]}
	}
}

// player plays: every second one asks for delta updates. What fails it asks for again after
// a while, from the beginning.
func (w *crowd) player(ctx context.Context, skips bool) {
	for ctx.Err() == nil {
		if err := w.session(ctx, skips); err != nil && ctx.Err() == nil {
			w.mu.Lock()
			w.Failed++
			w.FailedWhy = err.Error()
			w.mu.Unlock()
			_ = pace.Sleep(ctx, time.Second)
		}
	}
}

// session begins with the playlists as they are, and goes on with each next part: its
// playlist and what is hinted at are asked for at the same time, and both wait.
func (w *crowd) session(ctx context.Context, skips bool) error {
	if _, err := w.get(ctx, "index.m3u8"); err != nil {
		return err
	}
	m, err := w.playlist(ctx, "")
	if err != nil {
		return err
	}
	if _, err := w.get(ctx, "video0/"+m.Map.URI); err != nil {
		return err
	}
	for ctx.Err() == nil {
		msn, part := next(m)
		var group sync.WaitGroup
		var hinted error
		for _, h := range m.Hints {
			if h.Type == "PART" {
				group.Go(func() { _, hinted = w.get(ctx, "video0/"+h.URI) })
			}
		}
		query := fmt.Sprintf("?_HLS_msn=%d&_HLS_part=%d", msn, part)
		if skips {
			query += "&_HLS_skip=YES"
		}
		m, err = w.playlist(ctx, query)
		group.Wait()
		if err != nil {
			return err
		}
		if hinted != nil && !strings.Contains(hinted.Error(), "404") { // a segment may end before a part that was hinted at
			return hinted
		}
		if n, p := next(m); n < msn || n == msn && p <= part {
			w.mu.Lock()
			w.Stale++
			w.mu.Unlock()
		}
	}
	return nil
}

// next is the place behind what a playlist has.
func next(m *hls.Media) (msn int64, part int) {
	n := len(m.Segments)
	msn = m.Sequence + m.Skipped + int64(n)
	if n > 0 && m.Segments[n-1].URI == "" {
		return msn - 1, len(m.Segments[n-1].Parts)
	}
	return msn, 0
}

func (w *crowd) playlist(ctx context.Context, query string) (*hls.Media, error) {
	b, err := w.get(ctx, "video0/index.m3u8"+query)
	if err != nil {
		return nil, err
	}
	m, err := new(hls.Reader).Media(b)
	if err == nil && query != "" {
		w.lateness(m)
	}
	return m, err
}

// lateness notes how long after its end the newest part is seen. The playlist says when its
// segment began.
func (w *crowd) lateness(m *hls.Media) {
	i := len(m.Segments) - 1
	if i < 0 || m.Segments[i].ProgramDateTime.IsZero() {
		return
	}
	s := &m.Segments[i]
	end := s.ProgramDateTime
	if s.URI != "" {
		end = end.Add(s.Span.Timebase.Duration(s.Span.Dur))
	} else {
		for _, p := range s.Parts {
			end = end.Add(p.Span.Timebase.Duration(p.Span.Dur))
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = append(w.late, time.Since(end))
}

func (w *crowd) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.base+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var b bytes.Buffer
	if strings.Contains(path, ".m3u8") {
		_, err = b.ReadFrom(res.Body)
	} else {
		_, err = io.Copy(io.Discard, res.Body)
	}
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.Asked++
	if cacheable(path) {
		w.AskedCacheable++
	}
	if res.StatusCode >= 300 && res.StatusCode < 400 {
		w.Redirects++
	}
	w.mu.Unlock()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, res.Status)
	}
	return b.Bytes(), nil
}
