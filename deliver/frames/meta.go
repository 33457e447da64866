package frames

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/cleave-video/cleave/av"
)

// Meta describes the first frame of a body: a part, a key frame, a GOP.
type Meta struct {
	PTS, DTS, Dur int64 // ticks of Timebase; Dur 0: not known
	Timebase      av.Timebase
	Key           bool
	Codec         string // RFC 6381: "avc1.64001f"
}

// The response headers. Times are in nanoseconds, and beside them in ticks of
// X-Frame-Timebase, which lose nothing.
const (
	headerPTS       = "X-Frame-Pts"
	headerDTS       = "X-Frame-Dts"
	headerDur       = "X-Frame-Duration"
	headerKey       = "X-Frame-Key"
	headerCodec     = "X-Frame-Codec"
	headerTimebase  = "X-Frame-Timebase"
	headerPTSTicks  = "X-Frame-Pts-Ticks"
	headerDTSTicks  = "X-Frame-Dts-Ticks"
	headerDurTicks  = "X-Frame-Duration-Ticks"
	exposedHeader   = "Access-Control-Expose-Headers"
	exposedByFrames = "X-Frame-PTS, X-Frame-DTS, X-Frame-Duration, X-Frame-Key, X-Frame-Codec, X-Frame-Timebase, " +
		"X-Frame-PTS-Ticks, X-Frame-DTS-Ticks, X-Frame-Duration-Ticks"
)

// metaKey is the type of the key under which a context carries a Meta.
type metaKey struct{}

// WithMeta returns a context that carries m.
func WithMeta(ctx context.Context, m Meta) context.Context {
	return context.WithValue(ctx, metaKey{}, m)
}

// MetaFrom returns the Meta that ctx carries; ok is false if there is none.
func MetaFrom(ctx context.Context) (m Meta, ok bool) {
	m, ok = ctx.Value(metaKey{}).(Meta)
	return m, ok
}

// Describe is middleware: it sets the headers of the Meta that a request's context
// carries, before next answers. Scripts of any page that may read the body may read
// them, too. Without a Meta it changes nothing.
func Describe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m, ok := MetaFrom(r.Context()); ok {
			m.SetHeader(w.Header())
		}
		next.ServeHTTP(w, r)
	})
}

// SetHeader sets the headers that describe the frame, and exposes them beside those
// that are exposed already. A duration that is not known is left out.
func (m Meta) SetHeader(h http.Header) {
	number := func(name string, v int64) { h.Set(name, strconv.FormatInt(v, 10)) }
	number(headerPTS, int64(m.Timebase.Duration(m.PTS)))
	number(headerDTS, int64(m.Timebase.Duration(m.DTS)))
	number(headerPTSTicks, m.PTS)
	number(headerDTSTicks, m.DTS)
	if m.Dur > 0 {
		number(headerDur, int64(m.Timebase.Duration(m.Dur)))
		number(headerDurTicks, m.Dur)
	}
	h.Set(headerKey, strconv.FormatBool(m.Key))
	h.Set(headerCodec, m.Codec)
	h.Set(headerTimebase, m.Timebase.String())
	switch exposed := h.Get(exposedHeader); {
	case exposed == "":
		h.Set(exposedHeader, exposedByFrames)
	case !strings.Contains(exposed, exposedByFrames):
		h.Set(exposedHeader, exposed+", "+exposedByFrames)
	}
}
