package torture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/test/child"
)

// canaryName is the healthy stream.
const canaryName = "torture/canary"

// tick is the frame time of the healthy stream.
const tick = 40 * time.Millisecond

// pause is how long its viewer may be without a frame.
const pause = 5 * time.Second

// Canary is what the viewer of the healthy stream saw.
type Canary struct {
	Frames  int
	Missing int
	Longest time.Duration // without a frame
	Fault   string        // empty: none
}

// canary publishes and watches.
type canary struct {
	cancel context.CancelFunc
	group  sync.WaitGroup
	seen   Canary
	faults [2]error
}

// watch begins to publish the healthy stream by RTMP, or by HTTP if there is none, and to
// watch it, and returns when its first frame has come.
func (r *rig) watch(ctx context.Context) (*canary, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &canary{cancel: cancel}
	if r.HTTP == "" {
		return c, nil // nobody can watch
	}
	c.group.Go(func() { c.faults[0] = r.sing(ctx) })
	var body io.ReadCloser
	for began := time.Now(); body == nil; {
		res, err := r.get(ctx, "/"+canaryName+".flv")
		switch {
		case err == nil && res.StatusCode == http.StatusOK:
			body = res.Body
		case time.Since(began) > 10*time.Second || ctx.Err() != nil:
			cancel()
			c.group.Wait()
			return nil, errors.Join(errors.New("nobody can watch it"), err, c.faults[0])
		default:
			if err == nil {
				res.Body.Close()
			}
			_ = pace.Sleep(ctx, 100*time.Millisecond)
		}
	}
	first := make(chan struct{})
	c.group.Go(func() {
		defer body.Close()
		c.faults[1] = c.listen(ctx, body, first)
	})
	<-first
	return c, nil
}

// healthy is a stream with a key frame a second.
func healthy(frames int) avtest.Spec {
	return avtest.Spec{
		Video: avtest.Video{Frames: frames, GOPs: []int{25}, Timebase: av.Timebase{Num: 1, Den: 1000}, FrameDur: tick.Milliseconds(), Size: 2000},
		Audio: avtest.Audio{Frames: frames * 48000 / 25 / 1024},
	}
}

// sing publishes in real time until ctx is done.
func (r *rig) sing(ctx context.Context) error {
	d := avtest.NewSynthetic(healthy(1 << 20))
	var err error
	if r.RTMP != "" {
		err = r.send(ctx, canaryName, d, 1)
	} else {
		in, out := io.Pipe()
		stop := context.AfterFunc(ctx, func() { out.CloseWithError(io.EOF) })
		defer stop()
		go func() { _ = out.CloseWithError(child.WriteFLV(ctx, out, d)) }()
		_, _, err = r.put(ctx, canaryName+".flv", in)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// send publishes d by RTMP, so many times as fast as time.
func (r *rig) send(ctx context.Context, name string, d av.Demuxer, speed float64) error {
	return child.Publish(ctx, "rtmp://"+r.RTMP+"/"+name, d, speed)
}

// listen reads frames; the first closes first, and so does the end.
func (c *canary) listen(ctx context.Context, body io.Reader, first chan struct{}) error {
	var once sync.Once
	defer once.Do(func() { close(first) })
	d := flv.NewDemuxer(body)
	last, at := int64(-1), time.Now()
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			continue
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case d.Tracks()[p.Track].Kind != av.Video:
			continue
		}
		once.Do(func() { close(first) })
		now := time.Now()
		if last >= 0 {
			c.seen.Longest = max(c.seen.Longest, now.Sub(at))
			c.seen.Missing += int((p.DTS-last)/tick.Milliseconds()) - 1
		}
		last, at = p.DTS, now
		c.seen.Frames++
	}
}

// end ends it.
func (c *canary) end() Canary {
	c.cancel()
	c.group.Wait()
	if err := errors.Join(c.faults[:]...); err != nil {
		c.seen.Fault = err.Error()
	} else if c.seen.Missing != 0 || c.seen.Longest > pause {
		c.seen.Fault = fmt.Sprintf("%d frames are missing, the longest pause is %v", c.seen.Missing, c.seen.Longest)
	}
	return c.seen
}
