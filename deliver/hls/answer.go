package hls

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cleave-video/cleave/live"
)

// multivariant answers with the multivariant playlist.
func (h *Handler) multivariant(w http.ResponseWriter, r *http.Request, s *live.Stream) {
	if e := h.ready(w, r, s); e != nil {
		h.text(w, r, e, "index", func() []byte { return multivariant(e) }, 0)
	}
}

// media answers with a rendition's playlist, or that of its key frames.
func (h *Handler) media(w http.ResponseWriter, r *http.Request, s *live.Stream, rend string, iframes bool) {
	if e := h.ready(w, r, s); e == nil {
		return
	} else if iframes {
		h.iframes(w, r, s, rend)
		return
	}
	e, d := h.await(w, r, s, rend)
	if e == nil {
		return
	}
	x := e.Rendition(rend)
	if x == nil {
		fail(w, http.StatusNotFound, "no such rendition")
		return
	}
	name, skip := rend, int64(0)
	if d.skip {
		if skip = skippable(e, x); skip > 0 {
			name = rend + " skip"
		}
	}
	h.text(w, r, e, name, func() []byte { return media(e, x, skip) }, keep(e, d))
}

// iframes answers with the playlist of a rendition's key frames. A request for a key
// frame waits for it.
func (h *Handler) iframes(w http.ResponseWriter, r *http.Request, s *live.Stream, rend string) {
	d, err := parseDirectives(r.URL.Query())
	e := s.Edge()
	if err != nil && !e.Ended {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	deadline := time.NewTimer(3 * time.Duration(e.TargetDuration) * time.Second)
	defer deadline.Stop()
	for {
		x := e.Rendition(rend)
		if x == nil || firstKeys(x) == nil {
			fail(w, http.StatusNotFound, "no such rendition, or one without key frames")
			return
		}
		last := lastKey(x)
		switch {
		case e.Ended, d.msn <= last:
			h.text(w, r, e, rend+" iframes", func() []byte { return iframes(e, x) }, keep(e, d))
			return
		case d.msn > last+2:
			fail(w, http.StatusBadRequest, fmt.Sprintf("key frame %d is too far ahead of %d", d.msn, last))
			return
		}
		select {
		case <-e.Changed():
			e = s.Edge()
		case <-deadline.C:
			busy(w, "the stream has not come to this key frame in time")
			return
		case <-r.Context().Done():
			busy(w, "the server stops")
			return
		}
	}
}

// keep is how long caches may keep the answer: that to a request for a place stays
// right, and every player asks for the same one; any other is old with the next part.
func keep(e *live.Edge, d directives) time.Duration {
	if e.Ended || d.msn < 0 {
		return 0
	}
	return 6 * time.Duration(e.TargetDuration) * time.Second
}

// text answers with a playlist, rendered and compressed at most once for this edge.
func (h *Handler) text(w http.ResponseWriter, r *http.Request, e *live.Edge, name string, build func() []byte, keep time.Duration) {
	b := e.Text(name, build)
	head := w.Header()
	head.Set("Content-Type", "application/vnd.apple.mpegurl")
	head.Set("Vary", "Accept-Encoding")
	head.Set("Cache-Control", "no-cache")
	if keep > 0 {
		head.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int64(keep/time.Second)))
	}
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		b = e.Text(name+" gzip", func() []byte { return h.zip.compress(b) })
		head.Set("Content-Encoding", "gzip")
	}
	head.Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method == http.MethodHead {
		return
	}
	defer expire(w, int64(len(b)))()
	_, _ = w.Write(b) // a client that is gone needs no answer
}

// A client must take what it asked for at slowest bytes a second, after patience:
// until then it holds what the memory of a stream is needed for.
const (
	slowest  = 32 << 10
	patience = 5 * time.Second
)

// expire bounds how long an answer of size bytes may take, up to the call of done,
// which sends the rest of it: the connection may be kept for requests that wait.
func expire(w http.ResponseWriter, size int64) (done func()) {
	c := http.NewResponseController(w)
	// What cannot have a deadline is a connection of a test.
	_ = c.SetWriteDeadline(time.Now().Add(patience + time.Duration(size)*time.Second/slowest))
	return func() {
		if c.Flush() == nil {
			_ = c.SetWriteDeadline(time.Time{})
		}
	}
}

// acceptsGzip reads Accept-Encoding (RFC 9110 12.5.3).
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if name = strings.TrimSpace(name); !strings.EqualFold(name, "gzip") && name != "*" {
			continue
		}
		q, found := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
		if v, err := strconv.ParseFloat(q, 64); !found || err == nil && v > 0 {
			return true
		}
		return false
	}
	return false
}

// zipper keeps compressors, which are large.
type zipper struct{ pool sync.Pool }

func (z *zipper) compress(b []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(b)/3 + 64)
	zw, ok := z.pool.Get().(*gzip.Writer)
	if !ok {
		zw, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that exists
	}
	zw.Reset(&out)
	_, _ = zw.Write(b) // to memory
	_ = zw.Close()
	z.pool.Put(zw)
	return out.Bytes()
}
