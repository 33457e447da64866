package libav

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/format/libav/wire"
)

// batch is what the worker gave last. Payload is shared with it: copy, then look.
type batch struct {
	descs   [wire.DescsSize]byte // a copy
	n, at   int
	payload []byte
	slot    int // -1: none yet
}

// raw is a packet as libavformat gave it.
type raw struct {
	wire.Desc
	data  []byte // shared with the worker, or a copy in the queue
	extra []byte // new extradata, likewise
}

func (r *raw) hasPTS() bool { return r.PTS != wire.NoTime }
func (r *raw) hasDTS() bool { return r.DTS != wire.NoTime }

// ReadPacket implements av.Demuxer. It returns fs.ErrClosed after Close, the
// reader's error when that fails, a's error, after which it may be called again,
// and an *av.Error where the input cannot be read or its worker fails.
func (d *Demuxer) ReadPacket(a av.Allocator) (av.Packet, error) {
	if err := d.enter(); err != nil {
		return av.Packet{}, err
	}
	defer d.leave()
	if err := d.open(); err != nil && len(d.lanes) == 0 {
		return av.Packet{}, err
	}
	for {
		switch {
		case len(d.ready) > 0:
			i := d.ready[0]
			d.ready = d.ready[:copy(d.ready, d.ready[1:])]
			if i.tracks == nil {
				return i.p, nil
			}
			d.tracks = i.tracks
			return av.Packet{}, av.ErrTracks
		case d.probing:
			if err := d.probe(); err != nil {
				return av.Packet{}, err
			}
		case len(d.queue) > 0:
			if err := d.take(&d.queue[0], a); err != nil {
				return av.Packet{}, err
			}
			d.queue[0] = raw{}
			d.queue = d.queue[1:]
		case d.batch.at < d.batch.n:
			err := d.peek(&d.raw)
			if err == nil {
				err = d.take(&d.raw, a)
			}
			if err != nil {
				return av.Packet{}, err
			}
			d.batch.at++
		case d.err != nil:
			if !d.flush() {
				return av.Packet{}, d.err
			}
		default:
			d.more()
		}
	}
}

// peek puts the next packet of the batch in r.
func (d *Demuxer) peek(r *raw) (err error) {
	b := &d.batch
	var ok bool
	if r.Desc, ok = wire.ParseDesc(b.descs[b.at*wire.DescSize:], len(b.payload)); !ok {
		b.n = 0
		return d.fail(fmt.Errorf("%w", wire.ErrMessage))
	}
	end := r.Off + r.Size
	r.data, r.extra = b.payload[r.Off:end:end], b.payload[end:end+r.Extra]
	return nil
}

// more waits for the next batch, or sets err.
func (d *Demuxer) more() {
	if used := d.batch.slot; used >= 0 && d.ask(used) != nil {
		return
	}
	d.batch.slot = -1
	m, err := d.await()
	if err == nil && m.Op != wire.OpBatch {
		err = d.said(m)
	}
	if err == nil && (m.N > wire.MaxPackets || m.A != int64(d.next)) {
		err = wire.ErrMessage
	}
	switch {
	case errors.Is(err, errEnd):
		if d.fail(err) == errEnd { //nolint:errorlint // neither Close nor the reader ended it
			d.err = io.EOF
		}
		return
	case err != nil:
		_ = d.fail(err) // kept in err
		return
	}
	descs, payload := d.proc.slot(d.next)
	b := &d.batch
	b.n, b.at, b.payload, b.slot = int(m.N), 0, payload, d.next
	copy(b.descs[:], descs[:b.n*wire.DescSize])
	if d.in.file != nil {
		d.done.Store(m.B)
	}
	d.since = d.done.Load()
	d.next = (d.next + 1) % wire.Slots
}

// Bounds of the search for tracks: a whole GOP of most streams, or as much as
// libavformat was to look at.
const (
	probeBytes   = 8 << 20
	probeMost    = 80 << 20
	probePackets = 16384
)

func (d *Demuxer) probeLimit() int {
	return int(min(max(probeBytes, d.opened.Widened, d.o.ProbeSize), probeMost))
}

// probe reads until every track is known and copies what it reads.
func (d *Demuxer) probe() error {
	total := 0
	for d.err == nil && !d.settled() && total < d.probeLimit() && len(d.queue) < probePackets {
		if d.batch.at >= d.batch.n {
			d.more()
			continue
		}
		var r raw
		if err := d.peek(&r); err != nil {
			return err
		}
		d.batch.at++
		r.data, r.extra = append([]byte(nil), r.data...), append([]byte(nil), r.extra...)
		total += len(r.data) + len(r.extra)
		if l := d.lane(&r); l != nil {
			l.learn(&r)
		}
		d.queue = append(d.queue, r)
	}
	d.probing = false
	for _, l := range d.lanes {
		l.settle(d)
	}
	list := d.list()
	if len(list) > 0 {
		d.ready = append(d.ready, item{tracks: list})
		return nil
	}
	d.queue, d.batch.n = nil, 0
	err := d.err
	if err == nil || errors.Is(err, io.EOF) {
		err = d.nothing()
	}
	d.err = nil
	return d.fail(err)
}

// nothing says why there is no track.
func (d *Demuxer) nothing() error {
	if len(d.notes) == 0 {
		return fault("", "%w: no stream", av.ErrInvalid)
	}
	return fault("", "%w: no stream that can be used: %s", av.ErrUnsupported, strings.Join(d.notes, "; "))
}

// settled reports whether nothing more need be seen of any lane.
func (d *Demuxer) settled() bool {
	for _, l := range d.lanes {
		if !l.settled() {
			return false
		}
	}
	return true
}

// lane returns the lane of a packet, nil if it is left out.
func (d *Demuxer) lane(r *raw) *lane {
	if r.Stream >= len(d.lanes) {
		d.stats.add(warnLate, 1)
		return nil
	}
	if l := d.lanes[r.Stream]; !l.dropped {
		return l
	}
	return nil
}

// list makes the tracks anew: those who hold the old list keep it.
func (d *Demuxer) list() []av.Track {
	var list []av.Track
	for _, l := range d.lanes {
		if l.dropped {
			continue
		}
		l.index = len(list)
		list = append(list, l.track)
	}
	return list
}

// take makes packets of one of libavformat's. An error is a's; then nothing was
// done.
func (d *Demuxer) take(r *raw, a av.Allocator) error {
	l := d.lane(r)
	if l == nil {
		return nil
	}
	changed := l.reconfigure(d, r)
	u, err := l.payload(d, r, a)
	if err != nil || u.data == nil {
		return err
	}
	if changed || u.changed {
		d.ready = append(d.ready, item{tracks: d.list()})
	}
	l.deliver(d, r, u)
	return nil
}

// flush gives out what lanes still hold; false if that is nothing.
func (d *Demuxer) flush() bool {
	for _, l := range d.lanes {
		l.flush(d)
	}
	return len(d.ready) > 0
}
