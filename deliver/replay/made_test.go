package replay_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/deliver/replay"
	"github.com/cleave-video/cleave/format/mp4"
	indexmem "github.com/cleave-video/cleave/index/mem"
	"github.com/cleave-video/cleave/live"
	"github.com/cleave-video/cleave/stage"
	storemem "github.com/cleave-video/cleave/store/mem"
)

// same makes a rendition that is the video again, of all chunks but the third.
type same struct{}

func (same) Makes(string, []av.Track) []stage.Rendition {
	return []stage.Rendition{{Name: "same"}}
}

func (same) Run(_ context.Context, o *stage.Object) error {
	if o.Chunk.Seq == 2 {
		return errors.New("not this one")
	}
	m := stage.Made{Name: "same", Track: o.Chunk.Tracks[0]}
	m.Track.Rotation = 90 // so that it has a header of its own
	m.Packets = append(m.Packets, o.Chunk.Runs[0]...)
	o.Made = append(o.Made, m)
	return nil
}

// late makes what same does, but of the first chunks nothing.
type late struct{ same }

func (l late) Run(ctx context.Context, o *stage.Object) error {
	if o.Chunk.Seq < 4 {
		return errors.New("not yet")
	}
	return l.same.Run(ctx, o)
}

// TestMadeLate: that a rendition begins is no discontinuity, of which the live playlist
// knows nothing: it would count those before the first to less than none.
func TestMadeLate(t *testing.T) {
	st, ix := storemem.New(storemem.Config{MaxBytes: 64 << 20}), indexmem.New()
	defer st.Close()
	synctest.Test(t, func(t *testing.T) {
		hub, err := live.NewHub(live.Config{
			Store: st, Index: ix, Part: -1, Window: 6 * time.Second, Stages: []stage.Stage{late{}}, Retention: func(string) *live.Retention { return &live.Retention{} },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer hub.Close()
		source := avtest.Pace(avtest.NewSynthetic(avtest.Spec{Video: avtest.Video{Frames: 1000, GOPs: []int{25}, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600}}))
		if err := hub.Publish(t.Context(), "cam", source); err != nil {
			t.Fatal(err)
		}
		h := replay.New(replay.Config{Hub: hub, Index: ix, Store: st})
		e := hub.Lookup("cam").Edge()
		for i := range e.Renditions {
			r := &e.Renditions[i]
			past, err := h.History(t.Context(), "cam", r.Name, time.Time{}, r.Segments[0].MSN, e.TargetDuration)
			if err != nil || len(past.Segments) < 8 || past.Discontinuities > r.Discontinuities {
				t.Errorf("%s: %d segments, %d discontinuities, %d in all: %v", r.Name, len(past.Segments), past.Discontinuities, r.Discontinuities, err)
			}
		}
		if len(e.Renditions) != 2 {
			t.Errorf("%d renditions", len(e.Renditions))
		}
	})
}

// TestMade: a file has what was received, whatever was made of it: two pictures at a time
// would be shown.
func TestMade(t *testing.T) {
	st, ix := storemem.New(storemem.Config{MaxBytes: 64 << 20}), indexmem.New()
	defer st.Close()
	synctest.Test(t, func(t *testing.T) {
		hub, err := live.NewHub(live.Config{
			Store: st, Index: ix, Part: -1, Stages: []stage.Stage{same{}}, Retention: func(string) *live.Retention { return &live.Retention{} },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer hub.Close()
		source := avtest.Pace(avtest.NewSynthetic(avtest.Spec{
			Video: avtest.Video{Frames: 500, GOPs: []int{25}, Timebase: av.Timebase{Num: 1, Den: 90000}, FrameDur: 3600},
			Audio: avtest.Audio{Frames: 20 * 48000 / 1024},
		}))
		if err := hub.Publish(t.Context(), "cam", source); err != nil {
			t.Fatal(err)
		}
		h := replay.New(replay.Config{Hub: hub, Index: ix, Store: st})
		from := hub.Now().Add(-13500 * time.Millisecond)
		for _, query := range []string{"?from=" + stamp(from) + "&to=" + stamp(from.Add(5*time.Second)), "?from=" + stamp(from) + "&to=" + stamp(from.Add(5*time.Second)) + "&exact=1"} {
			w := ask(t, h, "/cam.mp4"+query)
			d := mp4.New(bytes.NewReader(w.Body.Bytes()), int64(w.Body.Len()))
			frames := make(map[int]int)
			for {
				p, err := d.ReadPacket(av.Heap{})
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil && !errors.Is(err, av.ErrTracks) {
					t.Fatal(query, w.Code, err)
				}
				if err == nil {
					frames[p.Track]++
				}
			}
			if n := len(d.Tracks()); n != 2 || frames[0] < 125 {
				t.Errorf("%s: %d tracks, frames %v", query, n, frames)
			}
			d.Close()
		}
	})
}
