package verify

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cleave-video/cleave/format/mp4"
)

// stream is a live presentation in CMAF as a server has it: two renditions v and w
// of the same pictures, segments of 2 s, and in low latency parts of 1 s. The zero
// stream keeps every rule; the functions break some.
type stream struct {
	low    bool
	window int           // segments; 0: 24
	ends   time.Duration // ENDLIST then; 0: never
	start  time.Time
	init   []byte
	media  []byte // of two seconds, from 0
	second int64  // where its second fragment begins
	http   bool   // without TLS

	clock    func(time.Duration) time.Duration // what the server takes for the time
	text     func(text string, at time.Duration) string
	answer   func(w http.ResponseWriter, r *http.Request, at time.Duration) bool // true: it has answered
	gone     bool                                                                // removed segments are deleted
	breakAt  int                                                                 // segment that begins with a discontinuity; 0: 4
	stuck    bool                                                                // DISCONTINUITY-SEQUENCE stays
	allParts bool                                                                // parts stay listed
	noBlock  bool                                                                // directives do not wait
	lenient  bool                                                                // wrong directives are answered
	strict   bool                                                                // old numbers are refused
	skip     int                                                                 // more segments than may be
	unheld   bool                                                                // a hinted part is 404 until it is there
	plain    bool                                                                // no gzip
}

func newStream(t testing.TB, s stream) *stream {
	f := vod(t, plan{}, plan{})
	s.init, s.media = f["v/init.mp4"], f["v/1.m4s"]
	nodes, err := mp4.Tree(s.media, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.second = nodes[3].Offset
	if s.window == 0 {
		s.window = 24
	}
	if s.breakAt == 0 {
		s.breakAt = 4
	}
	return &s
}

const (
	segmentDur = 2 * time.Second
	partDur    = time.Second
	lead       = 60 * time.Second // the stream ran so long before the watch
)

func (s *stream) at() time.Duration {
	d := time.Since(s.start) + lead
	if s.clock != nil {
		d = s.clock(d-lead) + lead
	}
	return d
}

// segment is segment n, or one of its parts.
func (s *stream) segment(n int64, part int) []byte {
	b := append([]byte(nil), s.media...)
	nodes, _ := mp4.Tree(b, 0)
	for i := range nodes {
		if x := nodes[i].First("traf", "tfdt"); x != nil {
			binary.BigEndian.PutUint64(x.Body[4:], binary.BigEndian.Uint64(x.Body[4:])+uint64(n)*50)
		}
	}
	switch part {
	case 0:
		return b[:s.second]
	case 1:
		return b[s.second:]
	}
	return b
}

func (s *stream) date(n int64) time.Time {
	return s.start.Add(-lead).Add(time.Duration(n) * segmentDur).UTC()
}

// playlist is what is there at a time; skip: as a delta update.
func (s *stream) playlist(at time.Duration, name string, skip bool) string {
	var b strings.Builder
	ended := s.ends > 0 && at-lead >= s.ends
	if ended {
		at = s.ends + lead
	}
	whole := int64(at / segmentDur)
	first := max(whole-int64(s.window), 0)
	version, sequence := 6, 0
	if s.low {
		version = 9
	}
	for n := int64(0); n < first; n++ {
		if n == s.breakPlace() && !s.stuck {
			sequence = 1
		}
	}
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:%d\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:2\n", version)
	if s.low {
		b.WriteString("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL=12.0,PART-HOLD-BACK=3.0\n#EXT-X-PART-INF:PART-TARGET=1.0\n")
	}
	fmt.Fprintf(&b, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", first, sequence)
	from := first
	if skip {
		if n := whole - 6 - first + int64(s.skip); n > 0 {
			from = first + n
			fmt.Fprintf(&b, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%d\n", n)
		}
	}
	b.WriteString("#EXT-X-MAP:URI=\"init.mp4\"\n")
	for n := from; n <= whole; n++ {
		s.writeSegment(&b, n, whole, at, ended)
	}
	if ended {
		b.WriteString("#EXT-X-ENDLIST\n")
	} else if s.low {
		p := int64(at / partDur)
		fmt.Fprintf(&b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%d.%d.m4s\"\n", p/2, p%2)
		other := map[string]string{"v": "w", "w": "v"}[name]
		msn, part := p/2, p%2-1
		if part < 0 {
			msn, part = msn-1, 1
		}
		fmt.Fprintf(&b, "#EXT-X-RENDITION-REPORT:URI=\"../%s/index.m3u8\",LAST-MSN=%d,LAST-PART=%d\n", other, msn, part)
	}
	if s.text != nil {
		return s.text(b.String(), at-lead)
	}
	return b.String()
}

// breakPlace is the number of the segment with EXT-X-DISCONTINUITY: it leaves the
// window of a short one within the watch.
func (s *stream) breakPlace() int64 {
	return int64(lead/segmentDur) - int64(s.window) + int64(s.breakAt)
}

func (s *stream) writeSegment(b *strings.Builder, n, whole int64, at time.Duration, ended bool) {
	open := n == whole
	parts := int64(2)
	if open {
		parts = int64(at/partDur) - 2*n
	}
	if open && (parts == 0 || !s.low || ended) {
		return
	}
	if n == s.breakPlace() {
		b.WriteString("#EXT-X-DISCONTINUITY\n")
	}
	fmt.Fprintf(b, "#EXT-X-PROGRAM-DATE-TIME:%s\n", s.date(n).Format("2006-01-02T15:04:05.000Z07:00"))
	if s.low && (n > whole-4 || s.allParts) {
		for k := range parts {
			fmt.Fprintf(b, "#EXT-X-PART:DURATION=1.0,URI=\"%d.%d.m4s\",INDEPENDENT=YES\n", n, k)
		}
	}
	if !open {
		fmt.Fprintf(b, "#EXTINF:2.0,\n%d.m4s\n", n)
	}
}

func (s *stream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := s.at()
	if s.answer != nil && s.answer(w, r, at-lead) {
		return
	}
	dir, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case dir == "index.m3u8":
		v := "#EXT-X-STREAM-INF:BANDWIDTH=100000,AVERAGE-BANDWIDTH=90000,CODECS=\"avc1.640028\",RESOLUTION=320x192,FRAME-RATE=25.000\n"
		s.send(w, r, "#EXTM3U\n"+v+"v/index.m3u8\n"+v+"w/index.m3u8\n")
	case file == "index.m3u8":
		s.servePlaylist(w, r, dir)
	case file == "init.mp4":
		w.Header().Set("Content-Type", "video/mp4")
		_, _ = w.Write(s.init)
	default:
		s.serveMedia(r.Context(), w, file, at)
	}
}

func (s *stream) send(w http.ResponseWriter, r *http.Request, text string) {
	w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
	if w.Header().Get("Cache-Control") == "" {
		w.Header().Set("Cache-Control", "max-age=1")
	}
	if s.plain || !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		_, _ = w.Write([]byte(text))
		return
	}
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
}

func (s *stream) servePlaylist(w http.ResponseWriter, r *http.Request, dir string) {
	q := r.URL.Query()
	msn, err := strconv.ParseInt(q.Get("_HLS_msn"), 10, 64)
	part, err2 := strconv.ParseInt(q.Get("_HLS_part"), 10, 64)
	ended := s.ends > 0 && s.at()-lead >= s.ends
	if s.low && !ended && !s.lenient {
		last := int64(s.at() / segmentDur)
		switch {
		case err2 == nil && err != nil, err == nil && msn > last+2:
			http.Error(w, "wrong directives", http.StatusBadRequest)
			return
		case err == nil && s.strict && msn < last-int64(s.window):
			http.Error(w, "too old", http.StatusBadRequest)
			return
		}
	}
	if s.low && err == nil && !s.noBlock {
		until := time.Duration(msn+1) * segmentDur
		if err2 == nil {
			until = time.Duration(msn)*segmentDur + time.Duration(part+1)*partDur
		}
		for !ended && s.at() < until {
			if !pause(r.Context(), 20*time.Millisecond) {
				return
			}
			ended = s.ends > 0 && s.at()-lead >= s.ends
		}
	}
	s.send(w, r, s.playlist(s.at(), dir, q.Get("_HLS_skip") != ""))
}

func (s *stream) serveMedia(ctx context.Context, w http.ResponseWriter, file string, at time.Duration) {
	var n int64
	part := -1
	if k, _ := fmt.Sscanf(file, "%d.%d.m4s", &n, &part); k < 1 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	// A hinted part is waited for.
	for end := time.Duration(n)*segmentDur + time.Duration(part+1)*partDur; s.low && !s.unheld && part >= 0 && s.at() < end && s.at() >= end-partDur; {
		if !pause(ctx, 20*time.Millisecond) {
			return
		}
		at = s.at()
	}
	whole := int64(at / segmentDur)
	there := n < whole || n == whole && part >= 0 && at >= time.Duration(n)*segmentDur+time.Duration(part+1)*partDur
	if !there || s.gone && n < whole-int64(s.window) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "video/mp4")
	_, _ = w.Write(s.segment(n, part))
}

// pipes is a listener without a network, so that a test's clock can stand for all.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- b:
		return a, nil
	case <-p.done:
		return nil, errors.New("the server is gone")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// watchStream watches what a handler serves, inside a synctest bubble.
func watchStream(t *testing.T, h http.Handler, plain bool, name string, d time.Duration) *Report {
	t.Helper()
	p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = p
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that hang up
	scheme := "https"
	if plain {
		scheme = "http"
		srv.Start()
	} else {
		srv.StartTLS()
	}
	client := srv.Client()
	client.Transport.(*http.Transport).DialContext = p.dial
	client.Timeout = time.Minute
	defer srv.Close()
	defer client.CloseIdleConnections()
	u := url.URL{Scheme: scheme, Host: "example.com", Path: name}
	r, err := Run(t.Context(), Config{Input: u.String(), For: d, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
