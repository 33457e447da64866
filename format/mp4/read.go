package mp4

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cleave-video/cleave/av"
)

// fill plans the next samples, reads them and queues their packets.
func (d *Demuxer) fill(a av.Allocator) error {
	d.queue, d.head = d.queue[:0], 0
	end := d.plan()
	if err := d.place(a); err != nil {
		return err
	}
	if err := d.read(); err != nil {
		return err
	}
	for i := range d.batch {
		if p := &d.batch[i]; p.ok {
			d.queue = append(d.queue, d.packet(p))
			d.done.Add(int64(p.s.size))
		}
	}
	if errors.Is(end, errBatch) {
		return nil
	}
	return end // ReadPacket keeps it until the queue is empty
}

// errBatch ends a plan that goes on.
var errBatch = errors.New("mp4: batch is full")

// plan chooses the samples of the next batch, lowest decode time first.
func (d *Demuxer) plan() error {
	d.batch = d.batch[:0]
	for i := range d.sums {
		d.sums[i] = 0
	}
	total := 0
	for total < batchBytes && len(d.batch) < batchCount {
		if d.closed.Load() {
			return io.ErrClosedPipe
		}
		t, err := d.pick()
		if err != nil {
			return err
		}
		if t == nil {
			if len(d.batch) > 0 && d.size < 0 {
				return errBatch // the next fragment of a live stream may be a while
			}
			if err := d.nextFragment(); err != nil {
				return err
			}
			continue
		}
		if t.changes() {
			if len(d.batch) > 0 {
				return errBatch // what is planned belongs to the old track
			}
			if err := d.describe(t); err != nil {
				return err
			}
			return av.ErrTracks
		}
		t.peeked = false
		if ok, err := d.admit(t); err != nil {
			return err
		} else if ok {
			d.batch = append(d.batch, planned{t: t, s: t.s})
			d.sums[t.index] += int(t.s.size)
			total += int(t.s.size)
		}
	}
	return errBatch
}

// admit says whether the sample can be there; a track ends where the input does. The
// error is of an input whose tables say more than it can hold.
func (d *Demuxer) admit(t *track) (bool, error) {
	end := t.s.off + int64(t.s.size)
	switch {
	case t.s.size == 0:
		if d.warnings.empty++; d.warnings.empty > maxEmpty {
			return false, av.Errorf("mp4", t.s.off, "sample_size", "%w: more than %d samples without a byte", av.ErrTooLarge, maxEmpty)
		}
		return false, nil
	case t.s.size > maxSample:
		d.warnings.large++
		return false, nil
	case d.size >= 0 && end > d.size || end > d.eofAt:
		d.eofAt = min(d.eofAt, max(t.s.off, 0))
		d.warnings.beyond++
		t.done = true
		return false, nil
	}
	d.last = max(d.last, end)
	if d.total += int64(t.s.size); d.total > 2*d.last+1<<20 {
		return false, av.Errorf("mp4", t.s.off, "sample_size", "%w: samples of track %d lie over others: they are %d bytes, in the first %d of the input",
			av.ErrInvalid, t.id, d.total, d.last)
	}
	return true, nil
}

// maxEmpty bounds the samples without a byte, which cost the input nothing.
const maxEmpty = 1 << 20

// endTrack ends a track in whose tables a fault was found: the first is what the input
// ends with.
func (d *Demuxer) endTrack(t *track, err error) {
	if d.fault == nil {
		d.fault = err
	}
	d.warnings.fault(err)
	t.done = true
}

// pick returns the track whose next sample has the lowest decode time, nil if no
// track has one. A fault in one track's tables ends that track only.
func (d *Demuxer) pick() (*track, error) {
	var best *track
	for _, t := range d.movie.tracks {
		ok, err := t.peek()
		if err != nil {
			d.endTrack(t, err)
			continue
		}
		if ok && (best == nil || t.tb.Compare(t.s.dts+t.shift, best.tb, best.s.dts+best.shift) < 0) {
			best = t
		}
	}
	return best, nil
}

// place gives each sample its memory: the samples of a track in one piece.
func (d *Demuxer) place(a av.Allocator) error {
	for track, sum := range d.sums {
		if sum == 0 {
			continue
		}
		mem, err := a.Alloc(track, sum)
		if err != nil {
			return err
		}
		for i := range d.batch {
			p := &d.batch[i]
			if p.t.index == track {
				n := int(p.s.size)
				p.data, mem = mem[:n], mem[n:] // the capacity shows read what lies behind
			}
		}
	}
	return nil
}

// read fills the memory of the batch, one call for each run of samples that lie
// together in the input.
func (d *Demuxer) read() error {
	d.order = d.order[:0]
	sorted := true
	for i := range d.batch {
		d.order = append(d.order, i)
		sorted = sorted && (i == 0 || d.batch[i-1].s.off <= d.batch[i].s.off)
	}
	if !sorted {
		slices.SortFunc(d.order, func(x, y int) int { return cmp.Compare(d.batch[x].s.off, d.batch[y].s.off) })
	}
	for i := 0; i < len(d.order); {
		off := d.batch[d.order[i]].s.off
		end := off
		first := i
		d.bufs = d.bufs[:0]
		for i < len(d.order) && d.batch[d.order[i]].s.off == end {
			p := &d.batch[d.order[i]]
			d.bufs = appendBuf(d.bufs, p.data)
			end += int64(p.s.size)
			i++
		}
		n, err := d.readRun(off)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		for _, k := range d.order[first:i] {
			p := &d.batch[k]
			p.ok = p.s.off+int64(p.s.size) <= off+int64(n)
			if !p.ok {
				d.eofAt = min(d.eofAt, off+int64(n))
				d.warnings.beyond++
			}
		}
	}
	return nil
}

// appendBuf adds b, joined to the last one where memory continues.
func appendBuf(bufs [][]byte, b []byte) [][]byte {
	if n := len(bufs); n > 0 {
		last := bufs[n-1]
		if cap(last) > len(last) && &last[:len(last)+1][len(last)] == &b[0] {
			bufs[n-1] = last[:len(last)+len(b)]
			return bufs
		}
	}
	return append(bufs, b)
}

func (d *Demuxer) readRun(off int64) (int, error) {
	if d.vec != nil {
		return d.vec.ReadVAt(d.bufs, off)
	}
	total := 0
	for _, b := range d.bufs {
		n, err := readFull(d.r, b, off+int64(total))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (d *Demuxer) packet(p *planned) av.Packet {
	dts := p.s.dts + p.t.shift
	pkt := av.Packet{Track: p.t.index, DTS: dts - p.t.early, PTS: dts + int64(p.s.cts), Dur: int64(p.s.dur), Data: p.data[:len(p.data):len(p.data)]}
	switch {
	case p.t.inspect != nil:
		pkt.Flags = p.t.inspect.Flags(p.data)
		if pkt.Flags&av.Corrupt != 0 {
			d.warnings.corrupt++
		}
	case p.s.sync:
		pkt.Flags = av.Key
	}
	return pkt
}

// nextFragment gives tracks the cursors of the next moof; io.EOF when there is
// none, av.ErrTruncated if samples were missing. ISO 14496-12 8.8.4
func (d *Demuxer) nextFragment() error {
	for d.fragPos >= 0 {
		var head [16]byte
		n, err := readFull(d.r, head[:], d.fragPos)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return err
		}
		if n == 0 {
			break
		}
		kind, hl, size, err := header(head[:n], d.fragPos)
		if err != nil {
			d.fragPos = -1
			return err
		}
		pos := d.fragPos
		if size < 0 || size > 1<<62-pos {
			d.fragPos = -1
		} else {
			d.fragPos += size
		}
		if kind == cc("moof") {
			return d.readFragment(kind, pos, hl, size)
		}
	}
	d.fragPos = -1
	if d.eofAt != 1<<63-1 {
		return av.Errorf("mp4", d.eofAt, "mdat", "%w: the tracks go on behind the end of the input", av.ErrTruncated)
	}
	if d.fault != nil {
		return d.fault
	}
	return io.EOF
}

// maxTrafs bounds the traf boxes of a moof: many for each track.
const maxTrafs = 8 * maxTracks

func (d *Demuxer) readFragment(kind fourcc, pos int64, head int, size int64) error {
	moof, err := d.load(kind, pos, head, size, d.moof)
	if err != nil {
		return err
	}
	d.moof = moof.body[:0]
	prevEnd := pos
	trafs := 0
	for w := moof.children(0); ; {
		b, ok := w.next()
		if !ok {
			return w.err
		}
		if b.kind != cc("traf") {
			continue
		}
		if trafs++; trafs > maxTrafs {
			return av.Errorf("mp4", b.off, "moof.traf", "%w: more than %d", av.ErrTooLarge, maxTrafs)
		}
		t, c, err := readTraf(b, pos, prevEnd, d.byID, d.size)
		if err != nil {
			return err
		}
		if t == nil {
			continue
		}
		if t.cur == nil && t.frag == len(t.frags) {
			t.frags, t.frag = t.frags[:0], 0 // of the fragment before
		}
		t.frags = append(t.frags, c)
		var least int32
		if prevEnd, least, err = c.end(); err != nil {
			return err
		}
		if !t.fragmented {
			t.fragmented = true
			t.decodeEarlier(least)
		}
	}
}

// end returns where the data of the traf ends, which is where that of the next
// begins if it does not say, and the least composition offset. It costs what the traf has
// bytes, however many samples that are all alike it says there are.
func (c *fragCursor) end() (off int64, least int32, err error) {
	walk := *c
	var s sample
	for {
		b, ok := walk.runs.next()
		if !ok {
			return walk.off, least, walk.runs.err
		}
		if b.kind != cc("trun") {
			continue
		}
		if err := walk.nextRun(b); err != nil {
			return 0, 0, err
		}
		if len(walk.entries) == 0 {
			size := int64(walk.left) * int64(walk.def.size)
			if size < 0 || walk.off > 1<<62-size {
				return 0, 0, av.Errorf("mp4", b.off, "trun.sample_count", "%w: %d samples of %d bytes", av.ErrInvalid, walk.left, walk.def.size)
			}
			walk.off += size
			walk.left = 0
		}
		for walk.left > 0 {
			if _, err := walk.next(&s); err != nil {
				return 0, 0, err
			}
			least = min(least, s.cts)
		}
	}
}

func (d *Demuxer) byID(id uint32) *track {
	for _, t := range d.movie.tracks {
		if t.id == id {
			return t
		}
	}
	return nil
}

// warnings count what was skipped.
type warnings struct {
	empty, large, beyond, corrupt int
	faults                        []string
}

func (w *warnings) fault(err error) {
	if len(w.faults) < maxTracks {
		w.faults = append(w.faults, fmt.Sprintf("track ends early: %v", err))
	}
}

func (w *warnings) list(m *movie) []string {
	var out []string
	if m != nil {
		out = append(out, m.warnings...)
	}
	out = append(out, w.faults...)
	for _, c := range []struct {
		n    int
		text string
	}{
		{w.empty, "samples without a byte skipped"},
		{w.large, "samples larger than 64 MiB skipped"},
		{w.beyond, "samples beyond the end of the input"},
		{w.corrupt, "samples whose NAL unit lengths do not add up"},
	} {
		if c.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", c.n, c.text))
		}
	}
	return out
}
