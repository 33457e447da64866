package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os/exec"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/av/avtest"
	"github.com/cleave-video/cleave/format/ts"
	"github.com/cleave-video/cleave/internal/pace"
	"github.com/cleave-video/cleave/proto/rtmp"
	"github.com/cleave-video/cleave/test/child"
)

// streams is how many names honest publishers take turns at.
const streams = 6

// name is that of a place: some share one, and take it over from each other.
func name(n int) string { return fmt.Sprintf("soak/%d", n%streams) }

// camera gives 1.6 Mbit/s, with jumps and changes of size if it is odd.
func camera(a *act, odd bool) av.Demuxer {
	const frames = 25 * 60
	spec := func(width int, at time.Duration) avtest.Spec {
		return avtest.Spec{
			Video: avtest.Video{Frames: frames, GOPs: []int{25}, Timebase: av.Timebase{Num: 1, Den: 1000}, FrameDur: 40, Size: 7500, Width: width},
			Audio: avtest.Audio{Frames: frames * 48000 / 25 / 1024},
			Start: at,
		}
	}
	if !odd {
		return avtest.NewSynthetic(spec(320, 0))
	}
	s := spec(320, 0)
	for at := 3 * time.Second; at < time.Minute; at += 6 * time.Second {
		by := time.Duration(a.random.IntN(8000)-4000) * time.Second
		s.Jumps = append(s.Jumps, avtest.Jump{At: at, By: by})
	}
	return avtest.NewSynthetic(s)
}

// publishers are those that there may be.
func (r *rig) publishers() []kind {
	list := []kind{
		{"RTMP in", func(ctx context.Context, r *rig, n int, a *act) error {
			return ended(ctx, child.Publish(ctx, r.rtmp(name(n)), camera(a, false), 1))
		}},
		{"RTMP in, times jump", func(ctx context.Context, r *rig, n int, a *act) error {
			return ended(ctx, child.Publish(ctx, r.rtmp(name(n)), &timeless{Demuxer: camera(a, true)}, math.Inf(1)))
		}},
		{"RTMP in, stalls", stalls},
		{"RTMP in, lies", lies},
		{"FLV in", func(ctx context.Context, r *rig, n int, a *act) error {
			return r.put(ctx, name(n)+".flv", func(w io.Writer) error { return child.WriteFLV(ctx, w, camera(a, false)) })
		}},
		{"TS in", func(ctx context.Context, r *rig, n int, a *act) error {
			return r.put(ctx, name(n)+".ts", func(w io.Writer) error { return writeTS(ctx, w, camera(a, false)) })
		}},
		{"names without end", func(ctx context.Context, r *rig, n int, a *act) error {
			for ctx.Err() == nil {
				within, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				_ = r.put(within, fmt.Sprintf("soak/x%d.flv", a.random.Uint64()), func(w io.Writer) error { return child.WriteFLV(within, w, camera(a, false)) })
				cancel()
			}
			return nil
		}},
	}
	if r.file == "" {
		return list
	}
	return append(list,
		kind{"RTSP in", func(ctx context.Context, r *rig, n int, _ *act) error {
			return r.ffmpeg(ctx, "-f", "rtsp", "-rtsp_transport", "tcp", "rtsp://"+r.server.RTSP+"/"+name(n))
		}},
		kind{"SRT in", func(ctx context.Context, r *rig, n int, _ *act) error {
			return r.ffmpeg(ctx, "-f", "mpegts", "srt://"+r.server.SRT+"?streamid=publish:"+name(n))
		}},
	)
}

func (r *rig) rtmp(name string) string { return "rtmp://" + r.server.RTMP + "/" + name }

// ended tells a refusal from any other end.
func ended(ctx context.Context, err error) error {
	var no *rtmp.Refused
	if ctx.Err() == nil && errors.As(err, &no) {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

// timeless is a Demuxer whose packets are due one after the other, whatever their times:
// they are read as fast as a camera gives them.
type timeless struct {
	av.Demuxer
	began time.Time
	video int64
}

// ReadPacket implements av.Demuxer.
func (t *timeless) ReadPacket(a av.Allocator) (av.Packet, error) {
	p, err := t.Demuxer.ReadPacket(a)
	if err == nil && p.Track == 0 {
		if t.video == 0 {
			t.began = time.Now()
		}
		t.video++
		_ = pace.Sleep(context.Background(), time.Until(t.began.Add(time.Duration(t.video)*40*time.Millisecond)))
	}
	return p, err
}

// stalls publishes for a second, says nothing for up to 12 s, and goes on.
func stalls(ctx context.Context, r *rig, n int, a *act) error {
	c, err := rtmp.Dial(ctx, r.rtmp(name(n)))
	if err != nil {
		return ended(ctx, err)
	}
	defer c.Close()
	d := camera(a, false)
	for ctx.Err() == nil {
		for range 75 {
			p, err := d.ReadPacket(av.Heap{})
			switch {
			case errors.Is(err, av.ErrTracks):
				err = c.WriteTracks(d.Tracks())
			case err == nil:
				err = c.WritePacket(p)
			}
			if err != nil {
				return err
			}
		}
		_ = pace.Sleep(ctx, time.Duration(a.random.IntN(12000))*time.Millisecond)
	}
	return nil
}

// lies connects and sends noise, before the handshake or behind it, or half of what it
// begins, and hangs up or waits.
func lies(ctx context.Context, r *rig, _ int, a *act) error {
	for ctx.Err() == nil {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.server.RTMP)
		if err != nil {
			return err
		}
		b := make([]byte, 1+1536*2+a.random.IntN(8000))
		for i := range b {
			b[i] = byte(a.random.Uint32())
		}
		if b[0] = 3; a.random.IntN(4) == 0 {
			b[0] = byte(a.random.Uint32())
		}
		_, _ = conn.Write(b[:1+a.random.IntN(len(b)-1)])
		_ = pace.Sleep(ctx, time.Duration(a.random.IntN(700))*time.Millisecond)
		conn.Close()
	}
	return nil
}

// put publishes what write writes as a body, until ctx ends.
func (r *rig) put(ctx context.Context, path string, write func(w io.Writer) error) error {
	in, out := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = out.CloseWithError(write(out))
	}()
	defer func() { in.Close(); <-done }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+r.server.HTTP+"/"+path, in)
	if err != nil {
		return err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return err
	}
	res.Body.Close()
	if res.StatusCode >= 400 {
		return fmt.Errorf("%w: %s", errRefused, res.Status)
	}
	return nil
}

// writeTS writes d as a transport stream in real time.
func writeTS(ctx context.Context, w io.Writer, d av.Demuxer) error {
	var m *ts.Muxer
	var b []byte
	began := time.Now()
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			if m, err = ts.NewMuxer(d.Tracks()); err != nil {
				return err
			}
			b = m.AppendHeader(b[:0])
		case err != nil:
			return err
		default:
			tb, to := d.Tracks()[p.Track].Timebase, av.Timebase{Num: 1, Den: 90000}
			if err := pace.Sleep(ctx, time.Until(began.Add(tb.Duration(p.DTS)))); err != nil {
				return err
			}
			b = m.AppendPacket(b[:0], p, tb.Rescale(p.DTS, to), tb.Rescale(p.PTS, to))
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
}

// ffmpeg publishes the file again and again until ctx ends, which kills it.
func (r *rig) ffmpeg(ctx context.Context, to ...string) error {
	args := append([]string{"-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", r.file, "-c", "copy"}, to...)
	out, err := exec.CommandContext(ctx, "ffmpeg", args...).CombinedOutput()
	if ctx.Err() == nil && err != nil {
		return fmt.Errorf("%w: %w: %s", errRefused, err, out)
	}
	return err
}
