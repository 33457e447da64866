// Package avtest checks what every av.Demuxer promises, and makes streams to test
// with. It is imported by tests only.
package avtest

import (
	"errors"
	"io"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// Generation is what a demuxer gave from one av.ErrTracks to the next.
type Generation struct {
	Tracks  []av.Track
	Packets []av.Packet
}

// ReadAll reads d to io.EOF, into heap memory. Any other error ends the test.
func ReadAll(tb testing.TB, d av.Demuxer) []Generation {
	tb.Helper()
	l, err := Read(d)
	if !errors.Is(err, io.EOF) {
		tb.Fatal(err)
	}
	return l
}

// Read reads d to its end, into heap memory, and returns the error that ended it.
func Read(d av.Demuxer) ([]Generation, error) {
	var l []Generation
	for {
		p, err := d.ReadPacket(av.Heap{})
		switch {
		case errors.Is(err, av.ErrTracks):
			l = append(l, Generation{Tracks: d.Tracks()})
		case err != nil:
			return l, err
		case len(l) == 0:
			return l, errors.New("avtest: a packet before the first av.ErrTracks")
		default:
			g := &l[len(l)-1]
			g.Packets = append(g.Packets, p)
		}
	}
}

// Of returns the packets of one track.
func (g Generation) Of(track int) []av.Packet {
	var l []av.Packet
	for _, p := range g.Packets {
		if p.Track == track {
			l = append(l, p)
		}
	}
	return l
}
