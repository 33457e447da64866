package frames

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/httpio"
	"github.com/cleave-video/cleave/live"
)

// wait is how long the next frame, or the first key frame, is waited for.
const wait = 10 * time.Second

// list answers with one frame, or with all as they come.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, s *live.Stream) error {
	w.Header().Add("Vary", "Accept")
	if _, err := video(s.Edge()); err != nil && s.Edge().Ready() {
		return err // not: it has just begun
	}
	q := r.URL.Query()
	switch payload := q.Get("payload"); {
	case len(q["payload"]) > 1 || q.Has("payload") && payload != "0" && payload != "1":
		return bad(fmt.Errorf("payload=%.40q: not 0 or 1", payload))
	case payload == "1":
		return h.stream(w, r, s, &multiplex{})
	case acceptsEvents(r.Header.Values("Accept")):
		return h.stream(w, r, s, &events{})
	}
	after, waits := int64(0), q.Has("after")
	if waits {
		var err error
		if after, err = strconv.ParseInt(q.Get("after"), 10, 64); err != nil || len(q["after"]) > 1 {
			return bad(fmt.Errorf("after=%.40q: not a PTS in ticks", q.Get("after")))
		}
	}
	leave := func() {}
	defer func() { leave() }()
	enter := func() error {
		place := deliver.Wait(w, r, h.cfg.Hub)
		if place == nil {
			return errPlace
		}
		leave = place
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	f := newFeed(s, live.CursorOptions{Oldest: waits})
	defer f.c.Close()
	p, err := f.one(ctx, after, waits, enter)
	switch {
	case errors.Is(err, errPlace):
		return nil // it was told
	case errors.Is(err, context.DeadlineExceeded):
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
		return nil
	case errors.Is(err, io.EOF):
		return missing("the stream has ended")
	case err != nil && ctx.Err() != nil:
		return later("the server stops")
	case err != nil:
		return err
	}
	body := append(line(f.frame(&p)), '\n')
	send := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		if r.Method != http.MethodHead {
			defer httpio.Expire(w, int64(len(body)))()
			_, _ = w.Write(body) // a client that is gone needs no answer
		}
	})
	Describe(send).ServeHTTP(w, r.WithContext(WithMeta(r.Context(), f.meta(&p))))
	return nil
}

// errPlace is returned for a request that there was no place for to wait, and that was told.
var errPlace = errors.New("frames: no place to wait")

// one returns the newest frame; or, if next, the one that was decoded after the frame
// with the PTS after, or the first one presented later if that frame is not there.
// Its Data is not to be used. It waits as long as there is none, if enter, which is called
// before that, once, returns nil.
func (f *feed) one(ctx context.Context, after int64, next bool, enter func() error) (av.Packet, error) {
	c := choice{after: after, next: next}
	now, stop := context.WithCancel(ctx)
	stop() // what is there is returned nevertheless
	for in := now; ; {
		list, err := f.next(in)
		var lag *live.LagError
		switch {
		case errors.Is(err, av.ErrTracks), errors.As(err, &lag):
			continue
		case err != nil && in == now && errors.Is(err, context.Canceled) && ctx.Err() == nil:
			in = ctx // all that was there has been looked at
			if !c.found() {
				if err := enter(); err != nil {
					return av.Packet{}, err
				}
			}
		case err != nil:
			return av.Packet{}, err
		}
		for i := range list {
			if c.look(&list[i]) {
				return list[i], nil
			}
		}
		if in == ctx && c.found() {
			return c.best, nil
		}
	}
}

// choice is which frame is the one asked for.
type choice struct {
	after int64
	next  bool

	best   av.Packet // of those that were looked at, unless the frame was passed
	have   bool
	passed bool // the frame with the PTS after
}

// found reports whether best is the one if nothing else is there.
func (c *choice) found() bool { return c.have && !c.passed }

// look reports whether p is the one for sure.
func (c *choice) look(p *av.Packet) bool {
	switch {
	case !c.next:
		c.best, c.have = *p, true
	case c.passed:
		return true
	case p.PTS == c.after:
		c.passed = true
	case p.PTS > c.after && !c.have:
		c.best, c.have = *p, true
	}
	return false
}

// acceptsEvents reports whether Accept names text/event-stream and likes nothing that
// is served as JSON better. RFC 9110 12.5.1
func acceptsEvents(headers []string) bool {
	events, plain := -1.0, -1.0
	for item := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		kind, params, _ := strings.Cut(item, ";")
		q := 1.0
		for param := range strings.SplitSeq(params, ";") {
			if v, found := strings.CutPrefix(strings.ToLower(strings.TrimSpace(param)), "q="); found {
				var err error
				if q, err = strconv.ParseFloat(v, 64); err != nil || !(q >= 0 && q <= 1) {
					q = 0
				}
			}
		}
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case "text/event-stream":
			events = max(events, q)
		case "application/json":
			plain = max(plain, q)
		}
	}
	return events > 0 && events >= plain
}
