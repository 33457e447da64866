package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/flv"
	"github.com/cleave-video/cleave/proto/rtmp"
)

// mark begins what is added to each picture: the UUID of an SEI message that is
// user's data. H.264 D.1.7
const mark = "cleave-bench-sei"

// digits is the length of what follows it: the time in ns, in hexadecimal.
const digits = 16

// publisher sends a file again and again, at the speed at which it plays.
type publisher struct {
	client  *rtmp.Client
	tracks  []av.Track
	packets []av.Packet
	length  time.Duration // of a turn
	rate    float64       // Mbit/s
	frames  atomic.Int64  // pictures sent

	cancel context.CancelFunc
	done   sync.WaitGroup
	err    atomic.Pointer[error]
}

// publish connects and begins to send.
func publish(ctx context.Context, address, file string) (*publisher, error) {
	p := new(publisher)
	if err := p.read(file); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	ctx, p.cancel = context.WithCancel(ctx)
	var err error
	if p.client, err = rtmp.Dial(ctx, address); err != nil {
		p.cancel()
		return nil, err
	}
	p.done.Go(func() {
		defer p.client.Close()
		if err := p.send(ctx); err != nil && ctx.Err() == nil {
			p.err.Store(&err)
		}
	})
	return p, nil
}

func (p *publisher) stop() {
	p.cancel()
	p.done.Wait()
}

func (p *publisher) failed() error {
	if err := p.err.Load(); err != nil {
		return *err
	}
	return nil
}

// read takes the whole file into memory.
func (p *publisher) read(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	d := flv.NewDemuxer(f)
	defer d.Close()
	bytes := 0
	for {
		pkt, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			p.tracks = d.Tracks()
			continue
		case errors.Is(err, io.EOF):
			p.rate = float64(bytes) * 8 / 1e6 / p.length.Seconds()
			return nil
		case err != nil:
			return err
		}
		bytes += len(pkt.Data)
		p.packets = append(p.packets, pkt)
		p.length = max(p.length, p.tracks[pkt.Track].Timebase.Duration(pkt.DTS)+time.Second/30)
	}
}

// send sends until ctx is done.
func (p *publisher) send(ctx context.Context) error {
	if err := p.client.WriteTracks(p.tracks); err != nil {
		return err
	}
	start := time.Now()
	var buf []byte
	for turn := time.Duration(0); ; turn++ {
		for _, pkt := range p.packets {
			base := p.tracks[pkt.Track].Timebase
			due := turn*p.length + base.Duration(pkt.DTS)
			if wait := due - time.Since(start); wait > 0 {
				pause(ctx, wait)
			}
			shift := av.Millisecond.Rescale((turn * p.length).Milliseconds(), base)
			pkt.DTS += shift
			pkt.PTS += shift
			video := p.tracks[pkt.Track].Kind == av.Video
			if video {
				buf = append(appendMark(buf[:0], time.Now()), pkt.Data...)
				pkt.Data = buf
			}
			if err := p.client.WritePacket(pkt); err != nil {
				return err
			}
			if video {
				p.frames.Add(1)
			}
		}
	}
}

// appendMark appends an SEI NAL unit behind its length.
func appendMark(b []byte, now time.Time) []byte {
	const payload = len(mark) + digits
	b = append(b, 0, 0, 0, byte(3+payload+1), 6, 5, byte(payload)) // SEI, user_data_unregistered
	b = append(b, mark...)
	return append(fmt.Appendf(b, "%0*x", digits, now.UnixNano()), 0x80)
}
