package avtest

import (
	"io"
	"sync"
	"time"

	"github.com/cleave-video/cleave/av"
)

// Paced gives the packets of a Demuxer out when they are due by their DTS, as a
// camera does. In a synctest bubble that takes no time.
type Paced struct {
	av.Demuxer
	// Change, if not nil, may change a packet; false leaves it out.
	Change func(*av.Packet) bool

	start time.Time
	first time.Duration
	begun bool
	stop  chan struct{}
	once  sync.Once
}

// Pace returns a Paced of d.
func Pace(d av.Demuxer) *Paced { return &Paced{Demuxer: d, stop: make(chan struct{})} }

// ReadPacket implements av.Demuxer. After Close it returns io.ErrClosedPipe.
func (p *Paced) ReadPacket(a av.Allocator) (av.Packet, error) {
	for {
		pkt, err := p.Demuxer.ReadPacket(a)
		if err != nil {
			return pkt, err
		}
		at := p.Tracks()[pkt.Track].Timebase.Duration(pkt.DTS)
		if !p.begun {
			p.begun, p.start, p.first = true, time.Now(), at
		}
		due := time.NewTimer(time.Until(p.start.Add(at - p.first)))
		select {
		case <-due.C:
		case <-p.stop:
			due.Stop()
			return pkt, io.ErrClosedPipe
		}
		if p.Change == nil || p.Change(&pkt) {
			return pkt, nil
		}
	}
}

// Close implements av.Demuxer.
func (p *Paced) Close() error {
	p.once.Do(func() { close(p.stop) })
	return nil
}
