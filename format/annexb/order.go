package annexb

import "github.com/cleave-video/cleave/codec"

// Times are counted in half frames: a frame lasts two, a field one.
const (
	frameTime = 2
	fieldTime = 1
)

// picture is an access unit that was found and not yet returned.
type picture struct {
	start, end int64 // in the input
	place      codec.Place
	time       int64 // how long it is shown
	dts        int64 // decoding time: of all pictures before, in decoding order
	pts        int64 // output time: delay, and that of all pictures before in output order
	shown      bool  // pts is known
}

// maxHeld bounds the pictures that wait for their place: 16 frames of two
// fields, and the newest.
const maxHeld = 40

// order gives pictures their output times. A picture is output as the smallest
// picture order count of those that wait, once these last longer than the depth
// of reordering (ITU-T H.264 C.4.5.3, H.265 C.5.2.4): so pts is never before dts,
// and each picture is shown when the one before it ends.
type order struct {
	held    [maxHeld]picture // in decoding order
	n       int
	waiting int64 // time of the held pictures that are not shown
	dts     int64 // of the next picture in decoding order
	pts     int64 // of the next in output order, without delay
	depth   int64
	delay   int64 // of the first picture
	last    int64 // picture order count
	begun   bool
}

// add takes the next picture in decoding order. There is room after each take
// of a ready one.
func (o *order) add(p picture) {
	if p.place.Reset || !o.begun {
		o.flush()
		o.depth = frameTime * int64(p.place.Depth)
		o.delay = max(o.delay, o.depth)
		o.begun = true
	}
	o.last = p.place.Count
	p.time = frameTime
	if p.place.Field {
		p.time = fieldTime
	}
	p.dts = o.dts
	o.dts += p.time
	o.held[o.n] = p
	o.n++
	o.waiting += p.time
	for o.waiting > o.depth {
		o.output()
	}
}

// output gives the smallest picture its time.
func (o *order) output() {
	least := -1
	for i := range o.n {
		if p := &o.held[i]; !p.shown && (least < 0 || p.place.Count < o.held[least].place.Count) {
			least = i
		}
	}
	p := &o.held[least]
	p.pts, p.shown = o.pts+o.delay, true
	o.pts += p.time
	o.waiting -= p.time
}

func (o *order) flush() {
	for o.waiting > 0 {
		o.output()
	}
}

// ready reports whether the first picture in decoding order has its times.
func (o *order) ready() bool { return o.n > 0 && o.held[0].shown }

func (o *order) full() bool { return o.n == maxHeld }

// bytes is what the held pictures take.
func (o *order) bytes() int64 {
	if o.n == 0 {
		return 0
	}
	return o.held[o.n-1].end - o.held[0].start
}

// take removes the first picture.
func (o *order) take() picture {
	p := o.held[0]
	o.n = copy(o.held[:], o.held[1:o.n])
	return p
}
