// Package rtp makes packets of the RTP streams of one session: H.264, H.265, AV1,
// VP9, AAC, Opus, AC-3 and MP3.
package rtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/pion/rtp"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

// Bounds of the search for tracks.
const (
	probeTime  = time.Second // of arrival
	reportTime = 500 * time.Millisecond
	probeUnits = 256
	probeBytes = 4 << 20
	settledAt  = 16 // pictures that show whether they are reordered
)

// ErrMore is returned by Assembler.ReadPacket when it needs another RTP packet.
var ErrMore = errors.New("rtp: another packet is needed")

// Assembler makes packets of RTP packets. Give it one by Packet, then call
// ReadPacket until that returns ErrMore. Not safe for concurrent use.
//
// A track's timebase is its RTP clock. PTS is the timestamp without wraps, on the
// common timeline that sender reports make; without reports the tracks begin as
// they arrived. DTS are derived from PTS, and flagged so where pictures are
// reordered. Key, Open, Gradual, Leading and Disposable come from the bitstream.
// Of a loss the access unit that it hit is dropped, and the next is marked Corrupt.
type Assembler struct {
	formats []*track
	clock   clock
	tracks  []av.Track
	units   []unit // those before head are given
	head    int
	kept    int // bytes of units while not begun
	since   time.Time
	now     time.Time

	begun   bool
	changed bool // an ErrTracks is owed before the next packet
	ended   bool

	lost, bad, early int64
	unsupported      []string
	firstBad         error
}

// track is one format of the session.
type track struct {
	payload
	kind  av.Kind
	codec av.Codec
	rate  int64
	index int // in Assembler.tracks, -1 none
	insp  *codec.Inspector
	order reorder

	seen    bool
	seq     uint16  // of the last packet
	corrupt bool    // the next unit is
	shown   []int64 // PTS of the first pictures
}

// NewAssembler returns an Assembler of formats, in the order of a session's media.
// Those that are not known here are left out, and named by Warnings; their packets
// are passed over. The error wraps av.ErrUnsupported if none is left.
func NewAssembler(formats []format.Format) (*Assembler, error) {
	a := &Assembler{clock: clock{lead: -1}}
	for i, f := range formats {
		t, err := newTrack(f)
		if err != nil {
			a.unsupported = append(a.unsupported, err.Error())
			a.formats = append(a.formats, nil)
			a.clock.tracks = append(a.clock.tracks, trackClock{rate: 1})
			continue
		}
		if a.clock.lead < 0 || t.kind == av.Video && a.formats[a.clock.lead].kind != av.Video {
			a.clock.lead = i
		}
		a.formats = append(a.formats, t)
		a.clock.tracks = append(a.clock.tracks, trackClock{rate: t.rate})
	}
	if a.clock.lead < 0 {
		return nil, fmt.Errorf("rtp: %w: no track that is known here: %v", av.ErrUnsupported, a.unsupported)
	}
	return a, nil
}

// Tracks returns the tracks as of the last ErrTracks; do not modify.
func (a *Assembler) Tracks() []av.Track { return a.tracks }

// Warnings returns what was skipped so far, each kind once with its count.
func (a *Assembler) Warnings() []string {
	out := slices.Clone(a.unsupported)
	for _, w := range []struct {
		n    int64
		text string
	}{{a.lost, "RTP packets lost"}, {a.early, "access units before the first that can be described dropped"}} {
		if w.n > 0 {
			out = append(out, fmt.Sprintf("rtp: %d %s", w.n, w.text))
		}
	}
	if a.bad > 0 {
		out = append(out, fmt.Sprintf("rtp: %d payloads that are not valid dropped, the first: %v", a.bad, a.firstBad))
	}
	return out
}

// Report takes a sender report about a format: when it is on the sender's clock,
// as NTP writes it, and which timestamp that is.
func (a *Assembler) Report(i int, ntp uint64, ts uint32) {
	if i >= 0 && i < len(a.formats) && a.formats[i] != nil {
		a.clock.report(i, ntp, ts)
	}
}

// Packet takes an RTP packet of a format, in order but for those that are lost,
// whose memory it keeps. now is when it came.
func (a *Assembler) Packet(i int, p *rtp.Packet, now time.Time) {
	if i < 0 || i >= len(a.formats) || a.formats[i] == nil {
		return
	}
	t := a.formats[i]
	a.now = now
	if a.since.IsZero() {
		a.since = now
	}
	if n := p.SequenceNumber - t.seq - 1; t.seen && n != 0 {
		if n >= 1<<15 {
			return // a copy, or one that comes too late
		}
		a.lost += int64(n)
		t.corrupt = true
		if err := t.payload.reset(); err != nil {
			a.reject(err)
		}
	}
	t.seen, t.seq = true, p.SequenceNumber
	if len(p.Payload) == 0 {
		return // GStreamer's keep-alive
	}
	list, err := t.payload.decode(p)
	switch {
	case errors.Is(err, errMore):
		return
	case err != nil:
		t.corrupt = true
		a.reject(err)
		return
	case len(list) == 0:
		a.early++
		return
	}
	for _, u := range list {
		u.track, u.corrupt = i, t.corrupt
		t.corrupt = false
		u.time = a.clock.time(i, u.ts, now) + u.behind
		a.add(u)
	}
}

func (a *Assembler) reject(err error) {
	if a.bad++; a.firstBad == nil {
		a.firstBad = err
	}
}

func (a *Assembler) add(u unit) {
	if a.head > 0 && a.head == len(a.units) {
		a.units, a.head = a.units[:0], 0
	}
	if !a.begun {
		a.kept += u.size()
		if t := a.formats[u.track]; t.kind == av.Video && len(t.shown) < settledAt {
			t.shown = append(t.shown, u.time)
		}
	}
	a.units = append(a.units, u)
}

// ReadPacket returns the next packet, its payload copied into memory of mem;
// av.ErrTracks as av.Demuxer has it; ErrMore; or mem's error, after which it may be
// called again.
func (a *Assembler) ReadPacket(mem av.Allocator) (av.Packet, error) {
	if !a.begun {
		if !a.found() {
			return av.Packet{}, ErrMore
		}
		if err := a.begin(); err != nil {
			return av.Packet{}, err
		}
		return av.Packet{}, av.ErrTracks
	}
	for a.head < len(a.units) {
		u := &a.units[a.head]
		t := a.formats[u.track]
		if u.config != nil || t.index < 0 {
			if err := a.change(t, u.config); err != nil {
				a.reject(err)
				a.head++
				continue
			}
			u.config = nil
		}
		if a.changed {
			a.changed = false
			return av.Packet{}, av.ErrTracks
		}
		p, err := a.packet(t, u, mem)
		if err == nil {
			a.head++
		}
		return p, err
	}
	return av.Packet{}, ErrMore
}

// packet makes a packet of a unit.
func (a *Assembler) packet(t *track, u *unit, mem av.Allocator) (av.Packet, error) {
	data, err := mem.Alloc(t.index, u.size())
	if err != nil {
		return av.Packet{}, err
	}
	b := data
	for _, part := range u.parts {
		if u.nal {
			binary.BigEndian.PutUint32(b, uint32(len(part)))
			b = b[4:]
		}
		b = b[copy(b, part):]
	}
	p := av.Packet{Track: t.index, PTS: u.time, DTS: u.time, Dur: u.dur, Data: data, Flags: t.insp.Flags(data)}
	if t.codec == av.H264 || t.codec == av.H265 {
		if p.DTS = t.order.next(u.time); t.order.depth > 0 {
			p.Flags |= av.Derived
		}
	}
	if u.corrupt {
		p.Flags |= av.Corrupt
	}
	return p, nil
}

// found reports whether the tracks are known, and how they lie in time.
func (a *Assembler) found() bool {
	if len(a.units) == 0 {
		return false
	}
	waited := a.now.Sub(a.since)
	if a.ended || waited >= probeTime || len(a.units) >= probeUnits || a.kept >= probeBytes {
		return true
	}
	for i, t := range a.formats {
		if t != nil && (t.config() == nil || !a.clock.tracks[i].started || !t.settled()) {
			return false
		}
	}
	return a.clock.settled() || waited >= reportTime
}

// settled reports whether it is known how deep pictures are reordered.
func (t *track) settled() bool {
	if t.codec != av.H264 && t.codec != av.H265 {
		return true
	}
	info, err := codec.Describe(&av.Track{Kind: t.kind, Codec: t.codec, Config: t.config()})
	return err == nil && info.Reorder >= 0 || len(t.shown) == settledAt
}

// begin makes the tracks of the formats that have begun. Times are put right by
// the reports that came meanwhile.
func (a *Assembler) begin() error {
	a.begun = true
	first := make([]*unit, len(a.formats))
	for i := range a.units {
		u := &a.units[i]
		u.time = a.clock.tracks[u.track].passed(u.ts) + u.behind
		if first[u.track] == nil {
			first[u.track] = u
			u.config = nil // what is known by now includes it
		}
	}
	for i, t := range a.formats {
		if first[i] == nil {
			continue
		}
		if err := a.change(t, t.config()); err != nil {
			return &av.Error{Format: "rtp", Offset: -1, Field: t.codec.String(), Err: err}
		}
	}
	a.changed = false
	return nil
}

// passed is the time of a timestamp that has passed.
func (t *trackClock) passed(ts uint32) int64 { return t.ticks + int64(int32(ts-t.last)) + t.shift }

// change gives t a new av.Track.
func (a *Assembler) change(t *track, config []byte) error {
	if config == nil {
		config = t.config()
	}
	n := av.Track{Kind: t.kind, Codec: t.codec, Timebase: av.Timebase{Num: 1, Den: uint32(t.rate)}, Config: config}
	insp, err := codec.NewInspector(&n)
	if err != nil {
		return err
	}
	info, err := codec.Describe(&n)
	if err != nil {
		return err
	}
	t.insp = insp
	if !t.order.started {
		t.order.depth = min(max(info.Reorder, deepest(t.shown)), maxReorder)
		t.order.step = t.rate / 25
	} else if info.Reorder > t.order.depth {
		t.order.depth, t.order.started = min(info.Reorder, maxReorder), false
	}
	if r := info.FrameRate; r.Num > 0 && r.Den > 0 && int64(r.Num) <= 1000*int64(r.Den) {
		t.order.step = max(t.rate*int64(r.Den)/int64(r.Num), 1)
	}
	t.shown = nil
	a.tracks = slices.Clone(a.tracks)
	if t.index < 0 {
		t.index = len(a.tracks)
		a.tracks = append(a.tracks, n)
	} else {
		a.tracks[t.index] = n
	}
	a.changed = true
	return nil
}

// Finish says that no packet follows: tracks that were found by now are all. It
// returns false if there are none.
func (a *Assembler) Finish() bool {
	a.ended = true
	return a.begun || len(a.units) > 0
}

// Known reports whether a format can be read.
func Known(f format.Format) bool {
	_, err := newTrack(f)
	return err == nil
}
