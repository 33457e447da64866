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
	ranged   ranged                                                              // how parts are named
	iframes  bool                                                                // v has an I-frame playlist
	farParts bool                                                                // parts far ahead are waited for
	busy     bool                                                                // 503 after three target durations
}

// ranged says how parts are named: as resources of their own, or as ranges of the
// segment, hinted with the range's length or without it.
type ranged int

const (
	ownURI ranged = iota
	openRange
	closedRange
)

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

// part is the range of a part in its segment.
func (s *stream) part(k int64) (from, to int64) {
	if k == 0 {
		return 0, s.second
	}
	return s.second, int64(len(s.media))
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
		b.WriteString(s.hint(p/2, p%2))
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

// hint is the EXT-X-PRELOAD-HINT of part k of segment n.
func (s *stream) hint(n, k int64) string {
	if s.ranged == ownURI {
		return fmt.Sprintf("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%d.%d.m4s\"\n", n, k)
	}
	from, to := s.part(k)
	text := fmt.Sprintf("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%d.m4s\"", n)
	if from > 0 {
		text += fmt.Sprintf(",BYTERANGE-START=%d", from)
	}
	if s.ranged == closedRange {
		text += fmt.Sprintf(",BYTERANGE-LENGTH=%d", to-from)
	}
	return text + "\n"
}

// keys is v's I-frame playlist at a time: a key frame begins each part of each whole
// segment.
func (s *stream) keys(at time.Duration) string {
	var b strings.Builder
	n := int64(at / segmentDur)
	first := max(n-int64(s.window), 0)
	b.WriteString("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-I-FRAMES-ONLY\n")
	if s.low {
		b.WriteString("#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES\n")
	}
	sequence := 0
	if first > s.breakPlace() {
		sequence = 1
	}
	fmt.Fprintf(&b, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n#EXT-X-MAP:URI=\"init.mp4\"\n", 2*first, sequence)
	for ; first < n; first++ {
		if first == s.breakPlace() {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		for k := range int64(2) {
			from, _ := s.part(k)
			fmt.Fprintf(&b, "#EXT-X-PROGRAM-DATE-TIME:%s\n#EXTINF:1.0,\n#EXT-X-BYTERANGE:600@%d\n%d.m4s\n", s.date(first).Add(time.Duration(k)*partDur).Format("2006-01-02T15:04:05.000Z07:00"), from, first)
		}
	}
	if s.text != nil {
		return s.text(b.String(), at-lead)
	}
	return b.String()
}

// serveKeys answers with the I-frame playlist; a request for a key frame waits for it.
func (s *stream) serveKeys(w http.ResponseWriter, r *http.Request) {
	msn, err := strconv.ParseInt(r.URL.Query().Get("_HLS_msn"), 10, 64)
	switch {
	case err == nil && msn >= int64(s.at()/segmentDur)*2+6, err != nil && r.URL.Query().Has("_HLS_part"):
		http.Error(w, "wrong directives", http.StatusBadRequest)
		return
	case err == nil && s.low && !s.noBlock:
		for s.at() < time.Duration(msn/2+1)*segmentDur {
			if !pause(r.Context(), 20*time.Millisecond) {
				return
			}
		}
	}
	s.send(w, r, s.keys(s.at()))
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
			if from, to := s.part(k); s.ranged != ownURI {
				fmt.Fprintf(b, "#EXT-X-PART:DURATION=1.0,URI=\"%d.m4s\",BYTERANGE=\"%d@%d\",INDEPENDENT=YES\n", n, to-from, from)
			} else {
				fmt.Fprintf(b, "#EXT-X-PART:DURATION=1.0,URI=\"%d.%d.m4s\",INDEPENDENT=YES\n", n, k)
			}
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
		i := ""
		if s.iframes {
			i = "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=50000,CODECS=\"avc1.640028\",RESOLUTION=320x192,URI=\"v/iframes.m3u8\"\n"
		}
		s.send(w, r, "#EXTM3U\n"+v+"v/index.m3u8\n"+v+"w/index.m3u8\n"+i)
	case file == "index.m3u8":
		s.servePlaylist(w, r, dir)
	case file == "iframes.m3u8":
		s.serveKeys(w, r)
	case file == "init.mp4":
		w.Header().Set("Content-Type", "video/mp4")
		_, _ = w.Write(s.init)
	case s.ranged != ownURI && !strings.Contains(file, "no-such"):
		s.serveRange(w, r, file)
	default:
		s.serveMedia(r.Context(), w, file, at)
	}
}

// serveRange answers a request for a segment, or a range of it, with each part as soon
// as that is whole.
func (s *stream) serveRange(w http.ResponseWriter, r *http.Request, file string) {
	var n int64
	_, _ = fmt.Sscanf(file, "%d.m4s", &n)
	b := s.segment(n, -1)
	if n > int64(s.at()/segmentDur) {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	from, to := int64(0), int64(len(b))
	w.Header().Set("Content-Type", "video/mp4")
	if v, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		var last int64
		if k, _ := fmt.Sscanf(v, "%d-%d", &from, &last); k == 2 {
			to = min(to, last+1)
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/*", from, to-1))
		w.WriteHeader(http.StatusPartialContent)
	}
	for k := range int64(2) {
		x, y := s.part(k)
		if y <= from || x >= to {
			continue
		}
		for s.at() < time.Duration(n)*segmentDur+time.Duration(k+1)*partDur {
			if !pause(r.Context(), 20*time.Millisecond) {
				return
			}
		}
		_, _ = w.Write(b[max(x, from):min(y, to)])
		_ = http.NewResponseController(w).Flush()
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
		case err == nil && err2 == nil && !s.farParts && msn*2+part > int64(s.at()/partDur)+3:
			http.Error(w, "too many parts ahead", http.StatusBadRequest)
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
		for began := time.Now(); !ended && s.at() < until; {
			if s.busy && time.Since(began) >= 3*segmentDur {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
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
	defer srv.CloseClientConnections() // also one that was dialled for nobody at the end
	defer client.CloseIdleConnections()
	u := url.URL{Scheme: scheme, Host: "example.com", Path: name}
	r, err := Run(t.Context(), Config{Input: u.String(), For: d, Client: client})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
