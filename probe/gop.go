package probe

import "github.com/cleave-video/cleave/av"

// GOP is a key frame and what follows it.
type GOP struct {
	PTS     int64   `json:"pts"` // ticks of the first video track
	Seconds float64 `json:"time"`
	Length  float64 `json:"duration"` // seconds to the next key frame, or the end
	Frames  int     `json:"frames"`
	Bytes   int64   `json:"bytes"`
	Class   string  `json:"class"`             // "closed", "open" or "gradual"
	Types   string  `json:"types,omitempty"`   // of its first 64 frames, in decode order
	Leading int     `json:"leading,omitempty"` // pictures that need the GOP before

	open bool // leading pictures would refer back
}

// The classes of a GOP.
const (
	closedGOP  = "closed"
	openGOP    = "open"
	gradualGOP = "gradual"
)

// maxTypes is how many frame types of a GOP are kept.
const maxTypes = 64

// records bounds what is kept of each GOP and chunk: a few, and then as many as the input has
// bytes for, so that an input of tiny GOPs does not take many times its size. Real ones
// have more.
type records struct{ bytes int64 }

const (
	fewRecords  = 1 << 15
	recordBytes = 96
)

// room reports whether one more of a kind may be kept of which n are; all kinds together
// have share times the input's bytes.
func (r *records) room(n int, share int64) bool {
	return n < fewRecords || int64(n)*recordBytes*share < r.bytes
}

// gop follows the GOPs of the first video track.
func (p *prober) gop(s *trackState, pkt *av.Packet, kind byte) {
	if pkt.Flags&av.Key != 0 {
		if p.inGOP && pkt.Flags&av.Discont == 0 {
			g := &p.report.GOPs[len(p.report.GOPs)-1]
			g.Length = s.tb.Seconds(pkt.PTS - g.PTS)
			p.closeGOP(g)
		} else {
			p.endGOP()
		}
		class := closedGOP
		if pkt.Flags&av.Gradual != 0 {
			class = gradualGOP
		}
		if p.inGOP = p.records.room(len(p.report.GOPs), 2); !p.inGOP {
			p.moreGOPs++
			return
		}
		p.report.GOPs = append(p.report.GOPs, GOP{PTS: pkt.PTS, Seconds: s.tb.Seconds(pkt.PTS), Class: class, open: pkt.Flags&av.Open != 0})
	}
	if !p.inGOP {
		return // before the first key frame
	}
	g := &p.report.GOPs[len(p.report.GOPs)-1]
	g.Frames++
	g.Bytes += int64(len(pkt.Data))
	if g.Frames > 1 && pkt.PTS < g.PTS && (g.open || pkt.Flags&av.Leading != 0) {
		g.Leading++
		if g.Class == closedGOP {
			g.Class = openGOP
		}
	}
	if s.inspect != nil && len(p.types) < maxTypes {
		p.types = append(p.types, kind)
	}
}

// endGOP ends the GOP under way where its last picture ends: the input ends, its
// tracks change or its timeline breaks.
func (p *prober) endGOP() {
	if !p.inGOP {
		return
	}
	g, s := &p.report.GOPs[len(p.report.GOPs)-1], &p.tracks[p.video]
	g.Length = s.tb.Seconds(s.end - g.PTS)
	p.closeGOP(g)
	p.inGOP = false
}

func (p *prober) closeGOP(g *GOP) {
	g.Types = string(p.types)
	p.types = p.types[:0]
}
