package ts

import (
	"bytes"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/opus"
)

const (
	probeTicks = 90000   // media looked at for the tracks
	probeUnits = 256     // packets looked at for the tracks
	probeBytes = 4 << 20 // input kept meanwhile

	// streamEvery bounds the memory that a PMT which always changes can take:
	// one new stream in so many bytes of input.
	streamEvery = 2048
)

// readPAT takes the whole sections of PID 0.
func (d *Demuxer) readPAT() {
	for {
		sec, ok := d.pat.next()
		if !ok {
			return
		}
		t, err := parseTable(sec, tablePAT, "PAT")
		if err != nil {
			d.stats.add(warnBadPSI, 1)
			continue
		}
		if !t.notYetValid {
			d.usePAT(t)
		}
	}
}

// usePAT brings the list of programs up to date. A section of several adds to
// the list as long as the version stays the same.
func (d *Demuxer) usePAT(t table) {
	d.refs = parsePAT(d.refs[:0], t)
	refs := d.refs
	if d.patSeen && t.version == d.patVer && (t.lastNumber > 0 || d.samePrograms(refs)) {
		d.addPrograms(refs)
		return
	}
	if d.samePrograms(refs) {
		d.patVer = t.version
		return
	}
	number := -1
	if d.current >= 0 {
		number = int(d.programs[d.current].number)
	}
	for i := range d.programs {
		if slot := d.pids[d.programs[i].pid]; slot >= slotPMT && slot < slotStream {
			d.pids[d.programs[i].pid] = 0
		}
	}
	d.programs, d.current = d.programs[:0], -1
	d.patSeen, d.patVer = true, t.version
	d.addPrograms(refs)
	for i := range d.programs {
		if int(d.programs[i].number) == number {
			d.current = i
		}
	}
}

func (d *Demuxer) samePrograms(refs []programRef) bool {
	if len(refs) != len(d.programs) {
		return false
	}
	for i, r := range refs {
		if d.programs[i].programRef != r {
			return false
		}
	}
	return true
}

func (d *Demuxer) addPrograms(refs []programRef) {
	for _, r := range refs {
		if d.pids[r.pid] >= slotPMT && d.pids[r.pid] < slotStream || len(d.programs) >= maxPIDs/2 {
			continue // known, or one PID for two PMTs
		}
		d.pids[r.pid] = slotPMT + pidSlot(len(d.programs))
		d.programs = append(d.programs, programEntry{programRef: r})
	}
	d.many = len(d.programs)
}

// readPMT takes a packet of a PMT's PID.
func (d *Demuxer) readPMT(i int, h header) {
	e := &d.programs[i]
	e.psi.feed(h.payload, h.start)
	for {
		sec, ok := e.psi.next()
		if !ok {
			return
		}
		if bytes.Equal(sec, e.raw) && e.seen {
			d.choose(i)
			continue
		}
		t, err := parseTable(sec, tablePMT, "PMT")
		if err != nil || t.notYetValid || t.extension != e.number {
			if err != nil && sec[0] == tablePMT {
				d.stats.add(warnBadPSI, 1)
			}
			continue
		}
		e.raw = append(e.raw[:0], sec...)
		t.body = e.raw[8 : len(e.raw)-4]
		if err := e.pmt.parse(t); err != nil {
			d.stats.add(warnBadPSI, 1)
			e.raw = e.raw[:0]
			continue
		}
		e.seen = true
		d.choose(i)
	}
}

// choose decides by the PMT of program i whether it is the one to read.
func (d *Demuxer) choose(i int) {
	switch {
	case d.current == i:
	case d.current >= 0:
		return
	case d.programs[i].pmt.hasVideo():
		d.current = i
	default:
		d.current = d.firstIfAllSeen()
	}
	if d.current >= 0 {
		d.usePMT(&d.programs[d.current].pmt)
	}
}

// firstIfAllSeen returns 0 once every program showed that it has no video.
func (d *Demuxer) firstIfAllSeen() int {
	for i := range d.programs {
		if !d.programs[i].seen {
			return -1
		}
	}
	return 0
}

func (p *program) hasVideo() bool {
	for i := range p.streams {
		if k, _ := p.streams[i].identify(); k == av.Video {
			return true
		}
	}
	return false
}

// usePMT compares the program with the streams that are read. If they differ it
// ends the streams that are gone, then switchProgram takes over.
func (d *Demuxer) usePMT(p *program) {
	d.pcrPID = p.pcrPID
	if d.sameStreams(p) {
		return
	}
	if d.probing && d.anySeen() {
		d.endProbe() // the replay comes to this PMT again
		return
	}
	d.waiting = p
	for _, s := range d.streams {
		if !p.holds(s) {
			d.finals = append(d.finals, s)
		}
	}
}

// anySeen reports whether the search has found something.
func (d *Demuxer) anySeen() bool {
	for _, s := range d.streams {
		if !s.known() && s.probe.units > 0 {
			return true
		}
	}
	return false
}

func (d *Demuxer) sameStreams(p *program) bool {
	if len(p.streams) != len(d.streams) {
		return false
	}
	for i := range p.streams {
		if !p.streams[i].equal(&d.streams[i].esInfo) {
			return false
		}
	}
	return true
}

func (e *esInfo) equal(o *esInfo) bool {
	return e.pid == o.pid && e.typ == o.typ && bytes.Equal(e.desc, o.desc)
}

func (p *program) holds(s *stream) bool {
	for i := range p.streams {
		if p.streams[i].equal(&s.esInfo) {
			return true
		}
	}
	return false
}

// switchProgram replaces the streams by those of the waiting PMT; streams that
// stay keep what they gathered. New ones start a search for their tracks.
func (d *Demuxer) switchProgram() {
	p := d.waiting
	d.waiting = nil
	old := d.streams
	for _, s := range old {
		if d.pids[s.pid] >= slotStream {
			d.pids[s.pid] = 0
		}
	}
	d.streams = nil
	fresh := false
	for _, s := range old {
		d.removed = d.removed || s.known() && !p.holds(s)
	}
	for _, e := range p.streams {
		if d.pids[e.pid] != 0 {
			continue // a PID of PAT or PMT
		}
		if len(d.streams) == maxPIDs {
			d.stats.add(warnManyPIDs, 1)
			break
		}
		s := find(old, &e)
		if s == nil {
			e.desc = bytes.Clone(e.desc)
			s = newStream(e, &d.stats)
			d.setOpus(s)
			d.made++
			fresh = true
		}
		d.pids[e.pid] = slotStream + pidSlot(len(d.streams))
		d.streams = append(d.streams, s)
	}
	if fresh && d.probing && len(old) == 0 {
		d.kept.pushAll(&d.replay) // look at what came before the PMT too
		d.replay, d.kept = d.kept, backlog{}
	}
	if fresh && !d.probing {
		d.probing, d.flushed = true, false
		d.units, d.before = 0, d.stats
	}
	if !d.probing && d.removed {
		d.announce = true
	}
	if d.made > maxPIDs+d.src.offset()/streamEvery {
		d.err = av.Errorf("ts", d.src.offset(), "PMT", "%w: changes too often", av.ErrInvalid)
	}
	d.checkProbe()
}

func find(l []*stream, e *esInfo) *stream {
	for _, s := range l {
		if s.equal(e) {
			return s
		}
	}
	return nil
}

// setOpus reads the configuration of Opus, which only the PMT has.
func (d *Demuxer) setOpus(s *stream) {
	if s.codec != av.Opus {
		return
	}
	c, err := opus.ParseTSDescriptor(s.desc)
	if err != nil {
		d.stats.add(warnBadPSI, 1)
		s.kind, s.codec, s.config, s.ready = av.Data, av.Private, s.privateConfig(), true
		return
	}
	s.config = c.Append(nil)
}

// keep puts a packet aside while tracks are looked for.
func (d *Demuxer) keep(p []byte) error {
	d.kept.push(p)
	if d.kept.size < probeBytes {
		return nil
	}
	if d.current < 0 {
		d.chooseAny()
	}
	d.endProbe()
	if d.probing && d.src.offset() > maxSearch {
		return av.Errorf("ts", d.src.offset(), "PMT", "%w: no stream that can be read within %d bytes", av.ErrInvalid, maxSearch)
	}
	return nil
}

// chooseAny takes the first program that has a PMT.
func (d *Demuxer) chooseAny() {
	for i := range d.programs {
		if d.programs[i].seen && d.current < 0 {
			d.current = i
			d.usePMT(&d.programs[i].pmt)
		}
	}
}

// note takes a unit that was found while tracks are looked for.
func (d *Demuxer) note(s *stream, u *unit) {
	if u.config != nil && s.config == nil {
		s.config = append([]byte(nil), u.config...)
	}
	pr := &s.probe
	if pr.units == 0 {
		pr.first = u.dts
	}
	pr.last = u.dts
	pr.units++
	d.units++
	s.ready = s.config != nil && (s.kind != av.Video || s.settled(u))
	d.checkProbe()
	span := since(pr.last, pr.first)
	if d.probing && (d.units >= probeUnits || !u.noTime && (span >= probeTicks || span <= -probeTicks)) {
		d.endProbe()
	}
}

// settled reports whether it is known how the stream writes its times.
func (s *stream) settled(u *unit) bool {
	pr := &s.probe
	if pr.units == 1 {
		t := av.Track{Kind: s.kind, Codec: s.codec, Timebase: av.Clock90k, Config: s.config}
		pr.reorder = -1
		if i, err := codec.Describe(&t); err == nil {
			pr.reorder = i.Reorder
			s.video.times.setRate(i.FrameRate)
		}
	}
	return pr.see(u, pr.reorder, &s.video.times)
}

// checkProbe ends the search when no audio or video is missing.
func (d *Demuxer) checkProbe() {
	if !d.probing || len(d.streams) == 0 {
		return
	}
	for _, s := range d.streams {
		if !s.ready {
			return
		}
	}
	d.endProbe()
}

// endProbe ends the search if it found anything: the tracks are announced and
// the packets that were kept are read again. Else it goes on without them.
func (d *Demuxer) endProbe() {
	found := d.started
	for _, s := range d.streams {
		found = found || s.ready || s.config != nil && s.probe.units > 0
	}
	if !found {
		if d.kept.size >= probeBytes {
			d.before.add(warnQueue, int64(d.kept.size/packetSize))
			d.kept = backlog{}
		}
		return
	}
	d.kept.pushAll(&d.replay)
	d.replay, d.kept = d.kept, backlog{}
	d.probing = false
	d.cur, d.pending, d.finals = nil, false, d.finals[:0]
	d.stats = d.before
	d.pat.reset()
	for i := range d.programs {
		d.programs[i].psi.reset()
	}
	changed := !d.started || d.removed
	for _, s := range d.streams {
		if !s.known() {
			s.probe.finish(s.probe.reorder, &s.video.times)
			s.ready = s.config != nil && (s.ready || s.probe.units > 0)
			changed = changed || s.ready
			s.reset()
		}
	}
	d.announce, d.started = changed, true
}

// buildTracks makes the tracks of the streams that are ready.
func (d *Demuxer) buildTracks() {
	d.removed = false
	d.tracks = make([]av.Track, 0, len(d.streams))
	d.lead = nil
	for _, s := range d.streams {
		if !s.ready {
			continue
		}
		t := av.Track{
			Kind: s.kind, Codec: s.codec, Timebase: av.Clock90k, Config: s.config,
			Language: s.language(), ID: uint32(s.pid),
		}
		if s.codec == av.Private {
			t.Private = av.PrivateTS
		}
		if s.insp == nil || s.stale {
			s.insp, s.stale = s.inspector(&t), false
		}
		if d.lead == nil || s.kind < d.lead.kind {
			d.lead = s
			if !s.known() {
				d.clock = s.probe.first
			}
		}
		s.index = len(d.tracks)
		d.tracks = append(d.tracks, t)
	}
}

// backlog is a queue of packets in blocks, which are let go as they are read.
type backlog struct {
	blocks [][]byte
	at     int // read position in the first block
	size   int // bytes in it
}

const backlogBlock = 256 * packetSize

func (q *backlog) push(p []byte) {
	n := len(q.blocks)
	if n == 0 || len(q.blocks[n-1]) == cap(q.blocks[n-1]) {
		q.blocks = append(q.blocks, make([]byte, 0, backlogBlock))
		n++
	}
	q.blocks[n-1] = append(q.blocks[n-1], p...)
	q.size += packetSize
}

// pop returns the oldest packet, valid as long as it is referred to.
func (q *backlog) pop() ([]byte, bool) {
	if len(q.blocks) == 0 {
		return nil, false
	}
	b := q.blocks[0]
	p := b[q.at : q.at+packetSize : q.at+packetSize]
	q.at += packetSize
	q.size -= packetSize
	if q.at == len(b) {
		q.blocks, q.at = q.blocks[1:], 0
	}
	return p, true
}

// pushAll moves every packet of o to the end of q.
func (q *backlog) pushAll(o *backlog) {
	for {
		p, ok := o.pop()
		if !ok {
			return
		}
		q.push(p)
	}
}
