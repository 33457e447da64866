// Package annexb reads raw H.264 and H.265 byte streams: NAL units behind start
// codes, without a container. ITU-T H.264 annex B, ITU-T H.265 annex B
package annexb

import (
	"errors"
	"io"
	"io/fs"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/es"
)

// DefaultMaxUnit is the largest access unit that a Demuxer gathers.
const DefaultMaxUnit = 8 << 20

// Demuxer reads one video track.
//
// A byte stream has no times: all are Derived. Frames follow each other at the
// rate that the parameter sets declare, at 25 a second if they do not. A tick is
// one frame, or half a frame where the stream may hold fields. DTS count frames
// in decoding order from 0, PTS in output order from the depth of reordering, so
// that none is before its DTS. Not safe for concurrent use except Close and
// Progress.
type Demuxer struct {
	// MaxUnit bounds the bytes of one access unit, and of those that wait for
	// their place in output order; a larger one ends the stream. Set it before the
	// first ReadPacket; 0 is DefaultMaxUnit.
	MaxUnit int

	in    *es.Input
	codec av.Codec
	es    *codec.ByteStream // Scan and Write, of the unit that is returned
	codes []int             // start codes of that unit, reused
	split splitter
	order order
	err   error // of the input, once it ended

	tracks []av.Track
	insp   *codec.Inspector
	clock  clock

	// What Scan said of the first picture in order, until it is returned.
	scanned bool
	size    int
	changed bool // its configuration is new

	count [numWarnings]int64
}

var (
	_ av.Demuxer  = (*Demuxer)(nil)
	_ av.Progress = (*Demuxer)(nil)
	_ av.Warner   = (*Demuxer)(nil)
)

// NewDemuxer returns a Demuxer of av.H264 or av.H265 from r. Close closes r if it
// is an io.Closer.
func NewDemuxer(r io.Reader, c av.Codec) *Demuxer {
	d := &Demuxer{in: es.NewInput(r), codec: c, es: codec.NewByteStream(c)}
	d.split = splitter{in: d.in, codec: c, stream: codec.NewByteStream(c)}
	return d
}

// Tracks implements av.Demuxer.
func (d *Demuxer) Tracks() []av.Track { return d.tracks }

// Progress implements av.Progress; the total is unknown.
func (d *Demuxer) Progress() (done, total int64) { return d.in.Progress() }

// Close implements av.Demuxer.
func (d *Demuxer) Close() error { return d.in.Close() }

// ReadPacket implements av.Demuxer. It returns fs.ErrClosed after Close, the
// reader's error when that fails, and an *av.Error where the input has no
// pictures or exceeds a bound.
func (d *Demuxer) ReadPacket(a av.Allocator) (av.Packet, error) {
	for {
		switch {
		case d.in.Closed():
			return av.Packet{}, fs.ErrClosed
		case d.order.ready():
			if !d.scanned && !d.scan() {
				continue
			}
			if changed, err := d.retrack(); err != nil {
				return av.Packet{}, err
			} else if changed {
				return av.Packet{}, av.ErrTracks
			}
			return d.deliver(a)
		case d.err != nil:
			return av.Packet{}, d.end()
		default:
			d.advance()
		}
	}
}

// advance finds one more picture, or the end.
func (d *Demuxer) advance() {
	limit := int64(d.MaxUnit)
	if limit <= 0 {
		limit = DefaultMaxUnit
	}
	f, err := d.split.next(limit)
	d.count[warnJunk] = d.split.junk
	if err != nil {
		d.order.flush()
		d.err = err
		return
	}
	switch {
	case !f.slice:
		d.count[warnNoSlice]++
		return
	case f.placed:
	case d.order.begun:
		d.count[warnOrder]++
		f.place = codec.Place{Count: d.order.last}
	default:
		d.count[warnNoConfig]++
		d.pass(f.end)
		return
	}
	o := &d.order
	o.add(picture{start: f.start, end: f.end, place: f.place})
	for (o.full() || o.bytes() > limit) && !o.ready() {
		o.output()
	}
}

// end returns the error that ends the stream.
func (d *Demuxer) end() error {
	switch {
	case !errors.Is(d.err, io.EOF) || d.tracks != nil:
		return d.err
	case d.order.begun || d.count[warnNoConfig] > 0:
		return av.Errorf("annexb", d.in.Offset(), "seq_parameter_set", "%w: no picture has its parameter sets", av.ErrInvalid)
	}
	return av.Errorf("annexb", d.in.Offset(), "start_code_prefix", "%w: no picture", av.ErrTruncated)
}

// pass drops the input before end.
func (d *Demuxer) pass(end int64) { d.in.Skip(int(end - d.in.Offset())) }

// unit returns the bytes of a picture.
func (d *Demuxer) unit(p *picture) []byte {
	off := d.in.Offset()
	return d.in.Bytes()[p.start-off : p.end-off]
}

// scan looks at the first picture; false drops it.
func (d *Demuxer) scan() bool {
	p := &d.order.held[0]
	u := d.unit(p)
	d.codes = codec.StartCodes(d.codes[:0], u)
	size, changed, err := d.es.Scan(u, d.codes)
	switch {
	case err != nil:
		d.count[warnBadUnit]++
	case d.es.Config() == nil:
		d.count[warnNoConfig]++
	case size > 0:
		d.scanned, d.size, d.changed = true, size, d.changed || changed
		return true
	}
	d.pass(d.order.take().end)
	return false
}

// retrack makes a track of a new configuration, or of a timebase that has ticks for
// fields; true means that there is one.
func (d *Demuxer) retrack() (bool, error) {
	p := &d.order.held[0]
	field := p.time == fieldTime
	if !d.changed && d.tracks != nil && (!field || d.clock.perFrame == frameTime) {
		return false, nil
	}
	d.changed = false
	t := av.Track{Kind: av.Video, Codec: d.codec, Config: d.es.Config()}
	info, err := codec.Describe(&t)
	if err == nil {
		d.insp, err = codec.NewInspector(&t)
	}
	if err != nil {
		return false, &av.Error{Format: "annexb", Offset: d.in.Offset(), Field: "seq_parameter_set", Err: err}
	}
	d.clock.set(rate(info.FrameRate), field || fields(&t), p)
	t.Timebase = d.clock.tb
	d.tracks = []av.Track{t}
	return true, nil
}

// deliver makes a packet of the first picture.
func (d *Demuxer) deliver(a av.Allocator) (av.Packet, error) {
	data, err := a.Alloc(0, d.size)
	if err != nil {
		return av.Packet{}, err
	}
	p := d.order.take()
	d.es.Write(data, d.unit(&p))
	d.pass(p.end)
	d.scanned = false
	return av.Packet{
		DTS: d.clock.decoded(p.dts), PTS: d.clock.shown(p.pts), Dur: d.clock.ticks(p.time),
		Flags: d.insp.Flags(data) | av.Derived, Data: data,
	}, nil
}
