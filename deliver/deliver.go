// Package deliver has what deliveries have in common: how a viewer comes in.
package deliver

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
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
	if hub.Lookup(name) == nil && hub.Known(name) {
		began := Wait(w, r, hub)
		if began == nil {
			return nil, nil
		}
		defer began()
	}
	s, leave, err := hub.Await(r.Context(), name)
	if err == nil {
		return s, leave
	}
	Refuse(w, err)
	return nil, nil
}

// Admit gives the viewer of packets who sent r its place, see live.Stream.Admit. If there
// is none, it answers, and returns nil.
func Admit(w http.ResponseWriter, r *http.Request, s *live.Stream, kind string) (leave func()) {
	leave, err := s.Admit(r.RemoteAddr, kind)
	if err != nil {
		Refuse(w, err)
		return nil
	}
	return leave
}

// Wait gives r a place among the requests that wait, see live.Hub.Wait. If there is none,
// it answers, and returns nil.
func Wait(w http.ResponseWriter, r *http.Request, hub *live.Hub) (leave func()) {
	leave, err := hub.Wait(r.RemoteAddr)
	if err != nil {
		Refuse(w, err)
		return nil
	}
	return leave
}

// Ready returns the first edge at which there is something to play of every rendition,
// for which r waits up to a time, in its place. If there is none, Ready answers, and
// returns nil.
func Ready(w http.ResponseWriter, r *http.Request, hub *live.Hub, s *live.Stream, most time.Duration) *live.Edge {
	if e := s.Edge(); e.Ready() {
		return e
	}
	leave := Wait(w, r, hub)
	if leave == nil {
		return nil
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), most)
	defer cancel()
	e, err := s.AwaitReady(ctx)
	if err != nil {
		httpio.Busy(w, "the stream has nothing to play yet")
		return nil
	}
	return e
}

// Refuse answers why there is nothing to watch.
func Refuse(w http.ResponseWriter, err error) {
	code, text, after := Explain(err)
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	httpio.Fail(w, code, text)
}

// Encrypted is the answer where a stream that is Guarded would be sent as it came.
const Encrypted = "the stream is encrypted: it is played by HLS and DASH; this would be in the clear"

// crowded is when a viewer for whom there is no place may ask again.
const crowded = 5 * time.Second

// Explain returns how an error of Hub.Await, Hub.Wait or Stream.Admit is answered, as a
// status of HTTP and a text for viewers, and when to ask again.
func Explain(err error) (code int, text string, after time.Duration) {
	var no *live.SourceError
	switch {
	case errors.Is(err, live.ErrAddress): // RFC 6585 4
		return http.StatusTooManyRequests, strings.TrimPrefix(err.Error(), "live: "), crowded
	case errors.Is(err, live.ErrViewers), errors.Is(err, live.ErrWaiting), errors.Is(err, live.ErrMemory):
		return http.StatusServiceUnavailable, strings.TrimPrefix(err.Error(), "live: "), crowded
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
