package mp4

import "github.com/cleave-video/cleave/av"

// sample is where one sample lies and when it is shown.
type sample struct {
	off  int64
	size uint32
	dur  uint32
	dts  int64 // media time, before the edit list
	cts  int32
	desc uint32 // sample_description_index, from 1
	sync bool
}

// cursor yields the samples of one track in decode order.
type cursor interface {
	// next returns false after the last sample, or with an error.
	next(s *sample) (bool, error)
}

// tables are the boxes of stbl, kept as the file has them: they are the one thing
// whose size grows with the length of the input. ISO 14496-12 8.6, 8.7
type tables struct {
	stts, ctts, stsc, stsz, stco, stss []byte // entries only
	off                                struct{ stsc, stco int64 }
	count                              uint32 // samples
	fixed                              uint32 // sample_size if not 0
	bits                               uint8  // of an stsz entry: 32, or stz2's field_size
	wide                               bool   // co64
	hasSync                            bool
	group                              uint32 // samples of uncompressed sound that make one packet; 0: one
}

func (t *tables) read(stbl box) error {
	w := stbl.children(0)
	for {
		b, ok := w.next()
		if !ok {
			return w.err
		}
		f := &fields{b: b}
		switch b.kind {
		case cc("stts"):
			f.full()
			t.stts = f.table(f.u32("entry_count"), 8, "entry_count")
		case cc("ctts"):
			f.full()
			t.ctts = f.table(f.u32("entry_count"), 8, "entry_count")
		case cc("stsc"):
			f.full()
			t.stsc = f.table(f.u32("entry_count"), 12, "entry_count")
			t.off.stsc = b.off
		case cc("stsz"), cc("stz2"):
			t.readSizes(f)
		case cc("stco"), cc("co64"):
			f.full()
			size := 4
			if t.wide = b.kind == cc("co64"); t.wide {
				size = 8
			}
			t.stco = f.table(f.u32("entry_count"), size, "entry_count")
			t.off.stco = b.off
		case cc("stss"):
			f.full()
			t.stss = f.table(f.u32("entry_count"), 4, "entry_count")
			t.hasSync = true
		}
		if f.err != nil {
			return f.err
		}
	}
}

// readSizes reads stsz or stz2. ISO 14496-12 8.7.3
func (t *tables) readSizes(f *fields) {
	f.full()
	if f.b.kind == cc("stsz") {
		t.bits = 32
		t.fixed = f.u32("sample_size")
	} else {
		f.take(3, "reserved")
		t.bits = f.u8("field_size")
		if f.err == nil && t.bits != 4 && t.bits != 8 && t.bits != 16 {
			f.err = av.Errorf("mp4", f.b.off, "stz2.field_size", "%w: %d", av.ErrInvalid, t.bits)
		}
	}
	t.count = f.u32("sample_count")
	if t.fixed == 0 && f.err == nil {
		need := (int64(t.count)*int64(t.bits) + 7) / 8
		if need > int64(len(f.b.body)-f.pos) {
			f.err = av.Errorf("mp4", f.b.off, f.b.kind.String()+".sample_count",
				"%w: %d samples declared, room for %d", av.ErrTruncated, t.count, int64(len(f.b.body)-f.pos)*8/int64(max(t.bits, 1)))
			return
		}
		t.stsz = f.take(int(need), "entry_size")
	}
}

func (t *tables) size(i uint32) uint32 {
	switch {
	case t.fixed != 0:
		return t.fixed
	case t.bits == 32:
		return be.Uint32(t.stsz[4*i:])
	case t.bits == 16:
		return uint32(be.Uint16(t.stsz[2*i:]))
	case t.bits == 8:
		return uint32(t.stsz[i])
	case i&1 == 0:
		return uint32(t.stsz[i/2] >> 4)
	}
	return uint32(t.stsz[i/2] & 15)
}

// tableCursor walks the tables without expanding them.
type tableCursor struct {
	t *tables
	i uint32 // next sample

	stts, ctts         []byte // entries not used up
	sttsLeft, cttsLeft uint32
	delta              uint32
	cts                int32
	dts                int64

	stss []byte

	stsc     []byte // entries whose first_chunk is still ahead
	chunk    uint32 // current chunk, from 1
	perChunk uint32
	desc     uint32
	inChunk  uint32 // samples left in the current chunk
	off      int64
}

func (t *tables) cursor() *tableCursor {
	return &tableCursor{t: t, stts: t.stts, ctts: t.ctts, stss: t.stss, stsc: t.stsc}
}

func (c *tableCursor) next(s *sample) (bool, error) {
	t := c.t
	if c.i >= t.count {
		return false, nil
	}
	for c.inChunk == 0 {
		if ok, err := c.nextChunk(); !ok {
			return false, err
		}
	}
	c.advanceTimes()
	if t.group > 0 {
		c.nextGroup(s)
		return true, nil
	}
	*s = sample{off: c.off, size: t.size(c.i), dur: c.delta, dts: c.dts, cts: c.cts, desc: c.desc, sync: true}
	c.i++
	if t.hasSync {
		for len(c.stss) >= 4 && be.Uint32(c.stss) < c.i {
			c.stss = c.stss[4:]
		}
		s.sync = len(c.stss) >= 4 && be.Uint32(c.stss) == c.i
	}
	c.dts += int64(c.delta)
	c.off += int64(s.size)
	c.inChunk--
	return true, nil
}

// nextGroup yields up to group samples of uncompressed sound as one: a packet for
// each would be one of four bytes.
func (c *tableCursor) nextGroup(s *sample) {
	n := min(c.t.group, c.inChunk, c.t.count-c.i, max(c.sttsLeft+1, 1))
	*s = sample{off: c.off, size: c.t.fixed * n, dur: c.delta * n, dts: c.dts, desc: c.desc, sync: true}
	c.i += n
	c.inChunk -= n
	c.sttsLeft -= min(n-1, c.sttsLeft)
	c.off += int64(s.size)
	c.dts += int64(s.dur)
}

// advanceTimes brings delta and cts to the next sample. Samples beyond the end of
// stts keep the last distance. ISO 14496-12 8.6.1
func (c *tableCursor) advanceTimes() {
	for c.sttsLeft == 0 && len(c.stts) >= 8 {
		c.sttsLeft, c.delta = be.Uint32(c.stts), be.Uint32(c.stts[4:])
		c.stts = c.stts[8:]
	}
	if c.sttsLeft > 0 {
		c.sttsLeft--
	}
	for c.cttsLeft == 0 && len(c.ctts) >= 8 {
		// Version 0 is unsigned, but writers put negative offsets there, too.
		c.cttsLeft, c.cts = be.Uint32(c.ctts), int32(be.Uint32(c.ctts[4:]))
		c.ctts = c.ctts[8:]
	}
	if c.cttsLeft > 0 {
		c.cttsLeft--
	} else {
		c.cts = 0
	}
}

// nextChunk enters the next chunk of the file; false when there is none left.
func (c *tableCursor) nextChunk() (bool, error) {
	t := c.t
	c.chunk++
	width := 4
	if t.wide {
		width = 8
	}
	if int64(c.chunk) > int64(len(t.stco)/width) {
		return false, av.Errorf("mp4", t.off.stco, "stco.entry_count", "%w: %d chunks for %d samples, %d placed",
			av.ErrTruncated, len(t.stco)/width, t.count, c.i)
	}
	for len(c.stsc) >= 12 && be.Uint32(c.stsc) <= c.chunk {
		c.perChunk, c.desc = be.Uint32(c.stsc[4:]), be.Uint32(c.stsc[8:])
		c.stsc = c.stsc[12:]
	}
	if c.perChunk == 0 && len(c.stsc) < 12 {
		return false, av.Errorf("mp4", t.off.stsc, "stsc.samples_per_chunk", "%w: no samples in chunk %d", av.ErrInvalid, c.chunk)
	}
	at := t.stco[int(c.chunk-1)*width:]
	if t.wide {
		c.off = int64(be.Uint64(at))
	} else {
		c.off = int64(be.Uint32(at))
	}
	if c.off < 0 {
		return false, av.Errorf("mp4", t.off.stco, "co64.chunk_offset", "%w: chunk %d", av.ErrInvalid, c.chunk)
	}
	c.inChunk = c.perChunk
	return true, nil
}

// leastOffset returns the most negative composition offset, or 0.
func (t *tables) leastOffset() int32 {
	var least int32
	for b := t.ctts; len(b) >= 8; b = b[8:] {
		least = min(least, int32(be.Uint32(b[4:])))
	}
	return least
}
