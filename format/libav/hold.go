package libav

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// hold keeps pictures whose PTS is not told until their place in output order
// shows: a picture is output as the smallest picture order count of those that
// wait, once more wait than the depth of reordering (H.264 C.4.5.3).
type hold struct {
	pics []waiting
	dts  []int64 // of pictures, in decode order, that have not become a PTS
	last int64   // picture order count
}

type waiting struct {
	p     av.Packet
	place codec.Place
	shown bool
}

// add takes the next picture in decode order.
func (h *hold) add(d *Demuxer, t *times, p av.Packet, u unit) {
	if u.placed && u.place.Reset {
		h.flush(d, t)
	}
	if !u.placed {
		u.place.Count = h.last
	}
	h.last = u.place.Count
	h.pics = append(h.pics, waiting{p: p, place: u.place})
	h.dts = append(h.dts, p.DTS)
	for len(h.dts) > t.depth {
		h.output(t)
	}
	h.give(d)
}

// output gives the smallest picture its PTS.
func (h *hold) output(t *times) {
	least := -1
	for i := range h.pics {
		if w := &h.pics[i]; !w.shown && (least < 0 || w.place.Count < h.pics[least].place.Count) {
			least = i
		}
	}
	w := &h.pics[least]
	w.p.PTS, w.shown = t.wrap(h.dts[0]+t.frames(t.depth)), true
	h.dts = h.dts[:copy(h.dts, h.dts[1:])]
}

// give passes on the pictures at the front that have their times.
func (h *hold) give(d *Demuxer) {
	n := 0
	for n < len(h.pics) && h.pics[n].shown {
		d.ready = append(d.ready, item{p: h.pics[n].p})
		n++
	}
	h.pics = h.pics[:copy(h.pics, h.pics[n:])]
}

// flush outputs all: the sequence has ended.
func (h *hold) flush(d *Demuxer, t *times) {
	for len(h.dts) > 0 {
		h.output(t)
	}
	h.give(d)
}
