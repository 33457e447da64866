package ts

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"

	"github.com/cleave-video/cleave/av"
)

// DefaultMaxUnit is the largest access unit that a Demuxer gathers.
const DefaultMaxUnit = 8 << 20

// maxSearch is how much input is read in search of the first track.
const maxSearch = 64 << 20

// Demuxer reads one program of a transport stream: the first with video, else
// the first.
//
// Times are those of the stream: 90 kHz, 33 bits, wraps not undone. What the
// stream leaves out is derived, and flagged so. Tracks stand in the order of the
// PMT; audio and video become tracks once their configuration is known, data
// streams, which may stay silent for long, at once. Not safe for concurrent use
// except Close and Progress.
type Demuxer struct {
	// MaxUnit bounds the bytes of one access unit; a larger one ends the
	// stream. Set it before the first ReadPacket; 0 is DefaultMaxUnit.
	MaxUnit int
	// Patience is how many seconds of media are looked at for streams that the
	// PMT lists and that do not begin at once; 0 is 1. What is read meanwhile is
	// kept: 4 MiB at most. Set it before the first ReadPacket.
	Patience int

	r      io.Reader
	src    source
	done   atomic.Int64
	told   int64 // src.base when done was stored
	closed atomic.Bool
	stats  stats

	// Program tables.
	pat      sections
	refs     []programRef
	programs []programEntry
	patSeen  bool
	patVer   uint8
	current  int // index of the program that is read, -1 none yet
	many     int // programs that were on offer
	waiting  *program
	settling int // streams that get the rest of their picture before it takes over
	pids     [numPIDs]pidSlot
	streams  []*stream
	pcrPID   uint16
	tracks   []av.Track
	announce bool // ReadPacket owes an ErrTracks

	// What ReadPacket is at.
	cur     *stream // has units to give
	final   bool    // cur gives up its last bytes too
	finals  []*stream
	unit    unit // taken from cur, not yet returned
	pending bool
	clock   int64 // last DTS of lead: the time of what has none
	lead    *stream
	err     error // ends the stream once finals are empty

	// The search for tracks: packets are kept and read again when it is over.
	probing bool
	started bool  // a search has found tracks
	flushed bool  // the search has seen the end of the input
	removed bool  // a track is gone since ErrTracks
	before  stats // at the start of the search
	made    int64 // streams made so far
	videos  int64 // video streams among them
	units   int
	kept    backlog
	replay  backlog
	spare   spare
}

// pidSlot says who takes the packets of a PID: 0 nobody.
type pidSlot uint16

const (
	slotPAT    pidSlot = 1
	slotPMT    pidSlot = 0x1000 // plus the index in programs
	slotStream pidSlot = 0x2000 // plus the index in streams
	slotIndex  pidSlot = 0x0FFF
)

// programEntry is a program of the PAT.
type programEntry struct {
	programRef
	psi  sections
	seen bool
	raw  []byte // the PMT's section; pmt refers to it
	pmt  program
}

var (
	_ av.Demuxer  = (*Demuxer)(nil)
	_ av.Progress = (*Demuxer)(nil)
	_ av.Warner   = (*Demuxer)(nil)
)

// NewDemuxer returns a Demuxer that reads r in large blocks. Close closes r if
// it is an io.Closer.
func NewDemuxer(r io.Reader) *Demuxer {
	d := &Demuxer{r: r, src: newSource(r), current: -1, probing: true}
	d.pids[pidPAT] = slotPAT
	return d
}

// WrapBits is the width of the timestamps.
func (d *Demuxer) WrapBits() int { return wrapBits }

// Tracks implements av.Demuxer.
func (d *Demuxer) Tracks() []av.Track { return d.tracks }

// Progress implements av.Progress; the total is unknown.
func (d *Demuxer) Progress() (done, total int64) { return d.done.Load(), 0 }

// Warnings implements av.Warner.
func (d *Demuxer) Warnings() []string {
	l := d.stats.lines()
	if n := d.src.resyncs; n > 0 {
		l = append(l, fmt.Sprintf("ts: %d times the packets' sync was lost", n))
	}
	if n := d.src.skipped; n > 0 {
		l = append(l, fmt.Sprintf("ts: %d bytes outside whole packets skipped", n))
	}
	if d.many > 1 && d.current >= 0 {
		l = append(l, fmt.Sprintf("ts: program %d of %d programs is read, the others are left out",
			d.programs[d.current].number, d.many))
	}
	return l
}

// Close implements av.Demuxer.
func (d *Demuxer) Close() error {
	if d.closed.Swap(true) {
		return nil
	}
	if c, ok := d.r.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// ReadPacket implements av.Demuxer. It returns fs.ErrClosed after Close, the
// reader's error when that fails, and an *av.Error where the input is no
// transport stream or exceeds a bound.
func (d *Demuxer) ReadPacket(a av.Allocator) (av.Packet, error) {
	for {
		switch {
		case d.announce:
			d.announce = false
			d.buildTracks()
			return av.Packet{}, av.ErrTracks
		case d.pending:
			if p, ok, err := d.deliver(a); ok || err != nil {
				return p, err
			}
		case d.cur != nil:
			d.pull()
		case len(d.finals) > 0:
			d.cur, d.final = d.finals[0], true
			d.finals = d.finals[1:]
			d.cur.endPES()
		case d.err != nil:
			return av.Packet{}, d.err
		case d.waiting != nil && d.settling == 0:
			d.switchProgram()
		default:
			if err := d.step(); err != nil {
				d.fail(err)
			}
		}
	}
}

// fail ends the stream after what was gathered; damage ends it at once.
func (d *Demuxer) fail(err error) {
	if d.closed.Load() {
		err = fs.ErrClosed
	}
	var bad *av.Error
	damaged := errors.As(err, &bad)
	if d.settling > 0 && !damaged {
		d.settled()
		return // the source says it again
	}
	if d.probing && !d.flushed && !damaged {
		d.flushed = true
		for _, s := range d.streams {
			if !s.known() {
				d.finals = append(d.finals, s)
			}
		}
		return // the source says it again
	}
	if d.probing {
		d.endProbe()
		if !d.probing {
			return
		}
		if errors.Is(err, io.EOF) {
			err = av.Errorf("ts", d.src.offset(), "PMT", "%w: no stream that can be read", av.ErrInvalid)
		}
	}
	d.err = err
	if !errors.Is(err, fs.ErrClosed) && !damaged {
		d.finals = append(d.finals[:0], d.streams...)
	}
}

// step takes one packet.
func (d *Demuxer) step() error {
	if d.closed.Load() {
		return fs.ErrClosed
	}
	p, replayed := d.replay.pop(&d.spare)
	if !replayed {
		var err error
		if p, err = d.src.next(); err != nil {
			d.done.Store(d.src.offset())
			return err
		}
		if d.src.base != d.told {
			d.told = d.src.base
			d.done.Store(d.src.offset())
		}
	}
	if d.probing {
		if err := d.keep(p); err != nil {
			return err
		}
	}
	h, v := parseHeader(p)
	slot := d.pids[h.pid]
	if d.settling > 0 && !d.completes(slot, h, v) {
		d.putAside(p)
		return nil
	}
	if slot == 0 {
		return nil
	}
	if v != packetOK {
		d.damaged(slot, v)
		return nil
	}
	switch {
	case slot >= slotStream:
		return d.feed(d.streams[slot&slotIndex], h)
	case slot == slotPAT:
		if h.payload != nil {
			d.pat.feed(h.payload, h.start)
			d.readPAT()
		}
	case h.payload != nil:
		d.readPMT(int(slot&slotIndex), h)
	}
	return nil
}

// damaged counts a packet that cannot be used.
func (d *Demuxer) damaged(slot pidSlot, v verdict) {
	switch v {
	case packetError:
		d.stats.add(warnTransportError, 1)
	case packetScrambled:
		d.stats.add(warnScrambled, 1)
	default:
		d.stats.add(warnAdaptation, 1)
	}
	if slot >= slotStream {
		s := d.streams[slot&slotIndex]
		if d.probing && s.known() {
			return
		}
		s.lost(false)
		s.cc = -1
	}
}

// feed gives a packet to its stream.
func (d *Demuxer) feed(s *stream, h header) error {
	if d.probing && s.known() {
		return nil // read when the search is over
	}
	if h.discont {
		s.broke, s.cc = true, -1
		if s.pid == d.pcrPID {
			d.breakAll()
		}
	}
	if h.payload == nil {
		return nil
	}
	if s.cc >= 0 && !d.follows(s, h) {
		return nil
	}
	s.cc, s.print = int8(h.cc), fingerprint(h.payload)
	s.feed(h)
	if len(s.buf)-s.head > d.maxUnit() {
		return av.Errorf("ts", d.src.offset(), "PES_packet_data_byte", "PID %d: access unit: %w: more than %d bytes",
			s.pid, av.ErrTooLarge, d.maxUnit())
	}
	if !d.probing && d.replay.empty() {
		d.feedPlain(s)
	}
	if s.due(h.start) {
		d.cur, d.final = s, false
	}
	return nil
}

// feedPlain gives the packets that follow to the same stream as long as each is
// what most are: the next of its PID, with nothing but 184 bytes of payload.
// step would do the same, at five times the cost.
func (d *Demuxer) feedPlain(s *stream) {
	if s.kind != av.Video || s.cc < 0 || s.skipping || s.inHeader || !s.video.decided {
		return
	}
	most := min(s.scan+scanAtMost, s.head+d.maxUnit()-packetSize)
	for len(s.buf) < most {
		before := len(s.buf)
		var cc uint8
		s.buf, cc = d.src.appendPlain(s.buf, most, s.pid, uint8(s.cc))
		if n := len(s.buf) - before; n > 0 {
			s.cc, s.dup, s.print = int8(cc), false, fingerprint(s.buf[len(s.buf)-(packetSize-headerSize):])
			if s.left > 0 {
				s.left = max(s.left-n, 0)
			}
		}
		if cap(s.buf)-len(s.buf) >= packetSize-headerSize {
			return
		}
		s.grow(packetSize)
	}
}

func (d *Demuxer) maxUnit() int {
	if d.MaxUnit > 0 {
		return d.MaxUnit
	}
	return DefaultMaxUnit
}

// breakAll marks that the program's clock changed (ISO 13818-1 2.4.3.5).
func (d *Demuxer) breakAll() {
	for _, s := range d.streams {
		if !d.probing || !s.known() {
			s.broke = true
		}
	}
}

// follows checks the continuity_counter; false means that the packet is a copy
// of the one before, which may be sent twice (ISO 13818-1 2.4.3.3).
func (d *Demuxer) follows(s *stream, h header) bool {
	last := uint8(s.cc)
	if h.cc == last && !s.dup && s.print == fingerprint(h.payload) {
		s.dup = true
		d.stats.add(warnDuplicate, 1)
		return false
	}
	s.dup = false
	if h.cc != (last+1)&maskCC {
		d.stats.add(warnContinuity, 1)
		s.lost(h.start)
	}
	return true
}

// fingerprint tells payloads apart well enough to know a copy.
func fingerprint(p []byte) [2]uint64 {
	if len(p) < 8 {
		return [2]uint64{}
	}
	return [2]uint64{binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[len(p)-8:])}
}
