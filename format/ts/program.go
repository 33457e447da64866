package ts

import (
	"bytes"

	"github.com/cleave-video/cleave/av"
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
// ends the streams that are gone, lets the others have the rest of the picture that
// has begun, then switchProgram takes over.
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
		} else if s.settling = s.known() && s.video.open && !d.probing; s.settling {
			d.settling++
		}
	}
}

// completes reports whether a packet goes on with a picture of the set of tracks that
// ends. The start of a PES packet does not: it is the picture's end.
func (d *Demuxer) completes(slot pidSlot, h header, v verdict) bool {
	if slot < slotStream || v != packetOK {
		return false
	}
	s := d.streams[slot&slotIndex]
	if !s.settling {
		return false
	}
	if !h.start || h.payload == nil {
		return true
	}
	s.settling = false
	d.settling--
	d.finals = append(d.finals, s)
	return false
}

// putAside keeps a packet for the set of tracks to come.
func (d *Demuxer) putAside(p []byte) {
	if d.kept.push(p, &d.spare); d.settling == 0 || d.kept.size >= probeBytes {
		d.settled()
	}
}

// settled has what was put aside read again. A picture without an end by now has it.
func (d *Demuxer) settled() {
	for _, s := range d.streams {
		if s.settling {
			s.settling = false
			d.finals = append(d.finals, s)
		}
	}
	d.settling = 0
	d.kept.pushAll(&d.replay)
	d.replay, d.kept = d.kept, backlog{}
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

// chooseAny takes the first program that has a PMT.
func (d *Demuxer) chooseAny() {
	for i := range d.programs {
		if d.programs[i].seen && d.current < 0 {
			d.current = i
			d.usePMT(&d.programs[i].pmt)
		}
	}
}
