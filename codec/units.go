package codec

import (
	"github.com/cleave-video/cleave/codec/h264"
	"github.com/cleave-video/cleave/internal/nal"
)

// units walks the NAL units of a packet.
//
// Some phones put one length in front of a whole H.264 picture that begins with a
// prefix NAL unit, and start codes between the units behind it: a unit cannot
// hold a start code, so they can be told apart (ITU-T H.264 7.4.1).
type units struct {
	l    nal.Lengths
	avc  bool
	rest []byte // units in Annex B
}

// maxPrefix is how long a prefix NAL unit may be before others are looked for in
// it. ITU-T H.264 7.3.1, G.7.3.2.12
const maxPrefix = 12

func (i *Inspector) units(data []byte) units {
	return units{l: nal.Split(data, i.nalLen), avc: i.avc.NALLength > 0}
}

// next returns the next unit that is not empty.
func (w *units) next() (u []byte, ok bool) {
	for {
		if len(w.rest) > 0 {
			start, end, next := nal.Next(w.rest, 0)
			if start < 0 {
				w.rest = nil
				continue
			}
			u, w.rest = w.rest[start:end], w.rest[next:]
		} else if u, ok = w.l.Next(); !ok {
			return nil, false
		}
		if len(u) > maxPrefix && w.avc && h264.Type(u) == h264.TypePrefix {
			if at := nal.StartCode(u, 1); at > 0 {
				u, w.rest = u[:at], u[at:]
			}
		}
		if len(u) > 0 {
			return u, true
		}
	}
}
