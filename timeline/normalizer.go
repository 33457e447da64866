package timeline

import (
	"errors"

	"github.com/cleave-video/cleave/av"
)

// Normalizer is a Demuxer whose packets have one continuous timeline: times are
// unwrapped, decode times rise in each track, a jump is marked by av.Discont on
// the first packet behind it, and what follows goes on behind what came before,
// moved by whole seconds. Up to two packets of a track are held back where one is
// stamped an hour or more away. It allocates nothing per packet.
type Normalizer struct {
	av.Demuxer
	l    line
	head int
	err  error
}

// New wraps d. If d is a Wrapper its times are unwrapped.
func New(d av.Demuxer, o Options) *Normalizer {
	o.defaults()
	n := &Normalizer{Demuxer: d, l: line{o: o}}
	if w, ok := d.(Wrapper); ok {
		n.l.bits = w.WrapBits()
	}
	return n
}

var (
	_ av.Demuxer    = (*Normalizer)(nil)
	_ av.Progress   = (*Normalizer)(nil)
	_ av.Durationer = (*Normalizer)(nil)
	_ av.Warner     = (*Normalizer)(nil)
)

// ReadPacket implements av.Demuxer.
func (n *Normalizer) ReadPacket(a av.Allocator) (av.Packet, error) {
	for {
		if n.head < len(n.l.out) {
			p := n.l.out[n.head]
			n.head++
			return p, nil
		}
		n.l.out, n.head = n.l.out[:0], 0
		if err := n.err; err != nil {
			if errors.Is(err, av.ErrTracks) {
				n.err = nil
				n.l.setTracks(n.Demuxer.Tracks())
			}
			return av.Packet{}, err
		}
		p, err := n.Demuxer.ReadPacket(a)
		if err != nil {
			n.err = err
			n.l.finish()
			continue
		}
		n.l.push(p)
	}
}

// Progress implements av.Progress; 0 of 0 if the input does not tell.
func (n *Normalizer) Progress() (done, total int64) {
	if p, ok := n.Demuxer.(av.Progress); ok {
		return p.Progress()
	}
	return 0, 0
}

// Duration implements av.Durationer.
func (n *Normalizer) Duration() (int64, av.Timebase, bool) {
	if d, ok := n.Demuxer.(av.Durationer); ok {
		return d.Duration()
	}
	return 0, av.Timebase{}, false
}

// Warnings implements av.Warner.
func (n *Normalizer) Warnings() []string {
	var out []string
	if w, ok := n.Demuxer.(av.Warner); ok {
		out = w.Warnings()
	}
	return append(out, n.l.warnings()...)
}
