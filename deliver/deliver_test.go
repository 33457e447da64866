package deliver_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/deliver"
	"github.com/cleave-video/cleave/live"
	storemem "github.com/cleave-video/cleave/store/mem"
)

// door is a Demand of the name "cam" that answers err.
type door struct {
	err     error
	viewers int
}

func (d *door) Has(name string) bool { return name == "cam" }

func (d *door) Visit(name string) (leave func()) {
	d.viewers++
	return func() { d.viewers-- }
}

func (d *door) Start(context.Context, string) error { return d.err }

func TestEnter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, err := live.NewHub(live.Config{Store: storemem.New(storemem.Config{MaxBytes: 16 << 20})})
		if err != nil {
			t.Fatal(err)
		}
		d := &door{}
		hub.SetDemand(d)
		for _, test := range []struct {
			err         error
			code        int
			after, text string
		}{
			{live.ErrNone, 404, "", "no such stream"},
			{nil, 404, "", "no such stream"}, // it has gone just now
			{live.ErrStarting, 503, "1", "in time"},
			{&live.SourceError{Reason: "its host hid", After: 1500 * time.Millisecond}, 502, "2", "its host hid"},
			{&live.SourceError{Reason: "no room", Full: true}, 503, "1", "no room"},
			{context.Canceled, 503, "1", "the server stops"},
			{errors.New("rtsp://secret"), 503, "1", "cannot be watched now"},
		} {
			d.err = test.err
			w := httptest.NewRecorder()
			s, _ := deliver.Enter(w, httptest.NewRequestWithContext(t.Context(), "GET", "/cam/index.m3u8", nil), hub, "cam")
			head := w.Header()
			if s != nil || w.Code != test.code || head.Get("Retry-After") != test.after || !strings.Contains(w.Body.String(), test.text) {
				t.Errorf("%v: %d %v %s", test.err, w.Code, head, w.Body)
			}
			if head.Get("Cache-Control") != "no-store" || d.viewers != 0 {
				t.Errorf("%v: %v, %d viewers are left", test.err, head, d.viewers)
			}
		}
		d.err = nil
		ended := make(chan error, 1)
		camera := avtest.Pace(avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 100, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600, Size: 100}}))
		go func() { ended <- hub.Publish(t.Context(), "cam", camera) }()
		synctest.Wait()
		w := httptest.NewRecorder()
		s, leave := deliver.Enter(w, httptest.NewRequestWithContext(t.Context(), "GET", "/cam/index.m3u8", nil), hub, "cam")
		if s == nil || d.viewers != 1 {
			t.Fatalf("%d %s, %d viewers", w.Code, w.Body, d.viewers)
		}
		leave()
		camera.Close()
		<-ended
		_ = hub.Close()
	})
}
