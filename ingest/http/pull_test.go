package http

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
)

func pull(t *testing.T, h http.HandlerFunc, idle time.Duration) (*Pulled, error) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL + "/live")
	if err != nil {
		t.Fatal(err)
	}
	c := s.Client()
	t.Cleanup(c.CloseIdleConnections)
	return Pull(t.Context(), c, u, idle)
}

func TestPull(t *testing.T) {
	for suffix, args := range formats {
		body := media(t, args...)
		d, err := pull(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(body) }, 0)
		if err != nil {
			t.Fatal(err)
		}
		l, err := avtest.Read(d)
		if err != io.EOF || len(l) != 1 || len(l[0].Packets) < 200 {
			t.Errorf("%s: %d sets, %v", suffix, len(l), err)
		}
		if done, _ := d.Progress(); done != int64(len(body)) {
			t.Errorf("%s: %d bytes of %d", suffix, done, len(body))
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestPullRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		h    http.HandlerFunc
		want error
	}{
		"not found":  {http.NotFound, nil},
		"web page":   {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<!DOCTYPE html>") }, av.ErrUnsupported},
		"playlist":   {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "#EXTM3U\n") }, av.ErrUnsupported},
		"nothing":    {func(http.ResponseWriter, *http.Request) {}, av.ErrUnsupported},
		"no content": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, nil},
		"silence": {func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := pull(t, test.h, 200*time.Millisecond)
			if err == nil {
				d.Close()
			}
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}

// Silence, Close and the end of the context end a read that waits.
func TestPullEnds(t *testing.T) {
	flv := media(t, formats[".flv"]...)
	why := errors.New("the end")
	for name, test := range map[string]struct {
		idle time.Duration
		end  func(*Pulled, context.CancelCauseFunc)
		want error
	}{
		"silence": {300 * time.Millisecond, func(*Pulled, context.CancelCauseFunc) {}, os.ErrDeadlineExceeded},
		"close":   {time.Minute, func(p *Pulled, _ context.CancelCauseFunc) { p.Close() }, os.ErrClosed},
		"context": {time.Minute, func(_ *Pulled, cancel context.CancelCauseFunc) { cancel(why) }, why},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Write(flv[:len(flv)/2])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}))
			defer s.Close()
			u, _ := url.Parse(s.URL)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			c := s.Client()
			defer c.CloseIdleConnections()
			d, err := Pull(ctx, c, u, test.idle)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			n := 0
			for {
				_, err = d.ReadPacket(av.Heap{})
				if n++; n == 20 {
					test.end(d, cancel)
				}
				if err != nil && !errors.Is(err, av.ErrTracks) {
					break
				}
			}
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
		})
	}
}
