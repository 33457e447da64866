// Package httpio has what all answers over HTTP have in common: methods and
// cross-origin headers, errors that no cache keeps, deadlines, compression.
package httpio

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Methods lets GET and HEAD through and answers the others. Pages of any origin may
// read what is served, with whatever headers browsers ask leave for.
func Methods(w http.ResponseWriter, r *http.Request) bool {
	head := w.Header()
	head.Set("Access-Control-Allow-Origin", "*")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		head.Set("Access-Control-Expose-Headers", "Age, Content-Length, Content-Range, Date, Etag")
		head.Set("Timing-Allow-Origin", "*")
		return true
	case http.MethodOptions:
		head.Set("Access-Control-Allow-Methods", "GET, HEAD")
		head.Set("Access-Control-Allow-Headers", "Range, If-None-Match, Cache-Control")
		head.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	default:
		head.Set("Allow", "GET, HEAD, OPTIONS")
		Fail(w, http.StatusMethodNotAllowed, "only GET and HEAD")
	}
	return false
}

// Fail answers with an error that no cache keeps.
func Fail(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, code)
}

// Busy answers that the same request may succeed later.
func Busy(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", "1")
	Fail(w, http.StatusServiceUnavailable, text)
}

// Text is an answer of text, whose gzip form is made when somebody wants it.
type Text struct {
	Type, CacheControl string
	Plain              []byte
	Zip                func() []byte
}

// WriteText answers with t.
func WriteText(w http.ResponseWriter, r *http.Request, t Text) {
	b, head := t.Plain, w.Header()
	head.Set("Content-Type", t.Type)
	head.Set("Vary", "Accept-Encoding")
	head.Set("Cache-Control", t.CacheControl)
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		b = t.Zip()
		head.Set("Content-Encoding", "gzip")
	}
	head.Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method == http.MethodHead {
		return
	}
	defer Expire(w, int64(len(b)))()
	_, _ = w.Write(b) // a client that is gone needs no answer
}

// StreamText answers with what write writes, compressed if the client wants that, as it
// comes: t has no text of its own. Where write fails before it has written anything, its
// error is returned and nothing is answered; what fails later is cut off.
func StreamText(w http.ResponseWriter, r *http.Request, t Text, z *Zipper, write func(io.Writer) error) error {
	s := &textStream{w: w, r: r, t: t, z: z}
	defer s.close()
	err := write(s)
	switch {
	case !s.begun:
		return err
	case err != nil:
		abort(r)
	}
	return nil
}

// textStream is an answer of text under way.
type textStream struct {
	w     http.ResponseWriter
	r     *http.Request
	t     Text
	z     *Zipper
	begun bool
	gz    *gzip.Writer // nil: not compressed
}

// Write sends some of the text.
func (s *textStream) Write(b []byte) (int, error) {
	if !s.begun {
		s.begin()
	}
	if s.r.Method == http.MethodHead {
		return len(b), nil
	}
	// A deadline for each piece: how long all of it is nobody knows.
	Limit(s.w, int64(len(b)))
	if s.gz != nil {
		return s.gz.Write(b)
	}
	return s.w.Write(b)
}

func (s *textStream) begin() {
	s.begun = true
	head := s.w.Header()
	head.Set("Content-Type", s.t.Type)
	head.Set("Vary", "Accept-Encoding")
	head.Set("Cache-Control", s.t.CacheControl)
	if acceptsGzip(s.r.Header.Get("Accept-Encoding")) {
		head.Set("Content-Encoding", "gzip")
		s.gz = s.z.take(s.w)
	}
}

// close ends the text.
func (s *textStream) close() {
	if s.gz != nil {
		if s.r.Method != http.MethodHead {
			_ = s.gz.Close() // a client that is gone needs no end
		}
		s.z.pool.Put(s.gz)
	}
	if s.begun {
		c := http.NewResponseController(s.w)
		if c.Flush() == nil {
			_ = c.SetWriteDeadline(time.Time{})
		}
	}
}

// A client must take what it asked for at slowest bytes a second, after patience:
// until then it holds what the memory of a stream is needed for.
const (
	slowest  = 32 << 10
	patience = 5 * time.Second
)

// Expire bounds how long an answer of size bytes may take, up to the call of done,
// which sends the rest of it: the connection may be kept for requests that wait.
func Expire(w http.ResponseWriter, size int64) (done func()) {
	Limit(w, size)
	return func() {
		c := http.NewResponseController(w)
		if c.Flush() == nil {
			_ = c.SetWriteDeadline(time.Time{})
		}
	}
}

// Limit is Expire for an answer behind which its handler, within Bounded, returns at once.
func Limit(w http.ResponseWriter, size int64) {
	// What cannot have a deadline is a connection of a test.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience + time.Duration(size)*time.Second/slowest))
}

// Bounded returns h with a bound for how long what net/http writes behind it may take: of
// short answers all, and the end of those without a length. net/http takes it away.
func Bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		if _, err := w.Write(nil); !errors.Is(err, http.ErrHijacked) { // a connection that is another's
			Limit(w, 0)
		}
	})
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

// Zipper keeps compressors, which are large.
type Zipper struct{ pool sync.Pool }

// take returns a compressor that writes to w.
func (z *Zipper) take(w io.Writer) *gzip.Writer {
	zw, ok := z.pool.Get().(*gzip.Writer)
	if !ok {
		zw, _ = gzip.NewWriterLevel(nil, gzip.BestSpeed) // a level that exists
	}
	zw.Reset(w)
	return zw
}

// Compress returns b as gzip has it.
func (z *Zipper) Compress(b []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(b)/3 + 64)
	zw := z.take(&out)
	_, _ = zw.Write(b) // to memory
	_ = zw.Close()
	z.pool.Put(zw)
	return out.Bytes()
}
