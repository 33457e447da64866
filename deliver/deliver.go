// Package deliver has what deliveries have in common: how a viewer comes in.
package deliver

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

// Enter returns the stream called name for the viewer who sent r. One that a viewer
// starts is started and waited for, and runs as long as leave is not called, which must
// be, once. If there is nothing to watch, Enter answers, and returns nil: 404 for a name
// that nobody knows, 502 where a source has failed, and 503 where the same request may
// succeed later.
func Enter(w http.ResponseWriter, r *http.Request, hub *live.Hub, name string) (s *live.Stream, leave func()) {
	s, leave, err := hub.Await(r.Context(), name)
	if err == nil {
		return s, leave
	}
	code, text, after := Explain(err)
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	httpio.Fail(w, code, text)
	return nil, nil
}

// Encrypted is the answer where a stream that is Guarded would be sent as it came.
const Encrypted = "the stream is encrypted: it is played by HLS and DASH; this would be in the clear"

// Explain returns how an error of Hub.Await is answered, as a status of HTTP and a text for
// viewers, and when to ask again.
func Explain(err error) (code int, text string, after time.Duration) {
	var no *live.SourceError
	switch {
	case errors.Is(err, live.ErrNone):
		return http.StatusNotFound, "no such stream", 0
	case errors.As(err, &no) && no.Full:
		return http.StatusServiceUnavailable, "the source cannot be played: " + no.Reason, max(no.After, time.Second)
	case errors.As(err, &no):
		return http.StatusBadGateway, "the source cannot be played: " + no.Reason, max(no.After, time.Second)
	case errors.Is(err, live.ErrStarting):
		return http.StatusServiceUnavailable, "the source has not begun in time", time.Second
	case errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable, "the server stops", time.Second
	}
	return http.StatusServiceUnavailable, "the stream cannot be watched now", time.Second
}
