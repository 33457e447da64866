package mp4

import "github.com/cleave-video/cleave/av"

// trex are a track's defaults for fragments. ISO 14496-12 8.8.3
type trex struct{ desc, dur, size, flags uint32 }

// fragCursor walks the runs of one traf. ISO 14496-12 8.8.6-8.8.8
type fragCursor struct {
	runs     boxes // of traf, from the first trun not begun
	def      trex  // of trex, overridden by tfhd
	off      int64 // where the next sample lies
	base     int64 // data offsets count from here
	dts      int64
	left     uint32 // samples of the current run
	entries  []byte
	flags    uint32 // of the current trun
	first    uint32 // first_sample_flags
	useFirst bool
	maxOff   int64 // size of the input, or -1
}

// trun flags. ISO 14496-12 8.8.8
const (
	trunDataOffset = 0x1
	trunFirstFlags = 0x4
	trunDuration   = 0x100
	trunSize       = 0x200
	trunFlags      = 0x400
	trunCTS        = 0x800
)

// tfhd flags. ISO 14496-12 8.8.7
const (
	tfhdBaseOffset = 0x1
	tfhdDesc       = 0x2
	tfhdDuration   = 0x8
	tfhdSize       = 0x10
	tfhdFlags      = 0x20
	tfhdBaseIsMoof = 0x20000
)

// sampleIsNonSync is in the flags of a sample. ISO 14496-12 8.8.3.1
const sampleIsNonSync = 0x10000

// maxEmptySamples bounds runs of samples without a byte, in the table or the data.
const maxEmptySamples = 1 << 16

// readTraf reads one traf. prevEnd is where the data of the traf before ended.
// dts is used if there is no tfdt.
func readTraf(traf box, moofOff, prevEnd int64, find func(id uint32) *track, size int64) (*track, fragCursor, error) {
	var none fragCursor
	head, ok := traf.find(0, "tfhd")
	if !ok {
		return nil, none, av.Errorf("mp4", traf.off, "traf", "%w: no tfhd", av.ErrInvalid)
	}
	f := &fields{b: head}
	_, flags := f.full()
	id := f.u32("track_ID")
	t := find(id)
	if f.err != nil || t == nil {
		return nil, none, f.err // a track that was left out: its fragments, too
	}
	c := fragCursor{runs: traf.children(0), def: t.trex, base: prevEnd, dts: t.fragEnd, maxOff: size}
	if flags&tfhdBaseIsMoof != 0 {
		c.base = moofOff
	}
	c.override(f, flags)
	if f.err != nil {
		return nil, none, f.err
	}
	c.off = c.base
	w := traf.children(0)
	for {
		b, ok := w.next()
		if !ok {
			return t, c, w.err
		}
		if b.kind != cc("tfdt") {
			continue
		}
		f := &fields{b: b}
		version, _ := f.full()
		d := f.u32or64(version, "baseMediaDecodeTime")
		if f.err == nil && (d > reachTicks || !t.reach.has(int64(d))) {
			f.err = av.Errorf("mp4", b.off, "tfdt.baseMediaDecodeTime", "%w: %d", av.ErrInvalid, d)
		}
		if f.err != nil {
			return nil, none, f.err
		}
		c.dts = int64(d)
	}
}

func (c *fragCursor) override(f *fields, flags uint32) {
	if flags&tfhdBaseOffset != 0 {
		c.base = int64(f.u64("base_data_offset"))
		if f.err == nil && c.base < 0 {
			f.err = av.Errorf("mp4", f.b.off, "tfhd.base_data_offset", "%w: %d", av.ErrInvalid, c.base)
		}
	}
	if flags&tfhdDesc != 0 {
		c.def.desc = f.u32("sample_description_index")
	}
	if flags&tfhdDuration != 0 {
		c.def.dur = f.u32("default_sample_duration")
	}
	if flags&tfhdSize != 0 {
		c.def.size = f.u32("default_sample_size")
	}
	if flags&tfhdFlags != 0 {
		c.def.flags = f.u32("default_sample_flags")
	}
}

func (c *fragCursor) next(s *sample) (bool, error) {
	for c.left == 0 {
		b, ok := c.runs.next()
		if !ok {
			return false, c.runs.err
		}
		if b.kind != cc("trun") {
			continue
		}
		if err := c.nextRun(b); err != nil {
			return false, err
		}
	}
	c.left--
	*s = sample{dts: c.dts, dur: c.def.dur, size: c.def.size, desc: c.def.desc}
	flags := c.def.flags
	if c.flags&trunDuration != 0 {
		s.dur = c.u32()
	}
	if c.flags&trunSize != 0 {
		s.size = c.u32()
	}
	if c.flags&trunFlags != 0 {
		flags = c.u32()
	}
	if c.useFirst {
		flags, c.useFirst = c.first, false
	}
	if c.flags&trunCTS != 0 {
		s.cts = int32(c.u32())
	}
	s.off = c.off
	s.sync = flags&sampleIsNonSync == 0
	c.off += int64(s.size)
	c.dts += int64(s.dur)
	return true, nil
}

func (c *fragCursor) u32() uint32 {
	v := be.Uint32(c.entries)
	c.entries = c.entries[4:]
	return v
}

// nextRun begins the next trun and checks that its entries are there and that
// its samples can be in the input.
func (c *fragCursor) nextRun(b box) error {
	f := &fields{b: b}
	_, c.flags = f.full()
	count := f.u32("sample_count")
	if c.flags&trunDataOffset != 0 {
		c.off = c.base + int64(int32(f.u32("data_offset")))
		if f.err == nil && c.off < 0 {
			return av.Errorf("mp4", b.off, "trun.data_offset", "%w: points before the start of the input", av.ErrInvalid)
		}
	}
	if c.useFirst = c.flags&trunFirstFlags != 0; c.useFirst {
		c.first = f.u32("first_sample_flags")
	}
	width := 0
	for _, bit := range []uint32{trunDuration, trunSize, trunFlags, trunCTS} {
		if c.flags&bit != 0 {
			width += 4
		}
	}
	c.entries = f.table(count, width, "sample_count")
	if f.err != nil {
		return f.err
	}
	if width == 0 && (c.def.size == 0 && count > maxEmptySamples ||
		c.maxOff >= 0 && c.def.size > 0 && int64(count) > c.maxOff/int64(c.def.size)+1) {
		return av.Errorf("mp4", b.off, "trun.sample_count", "%w: %d samples of %d bytes are not in this input", av.ErrInvalid, count, c.def.size)
	}
	c.left = count
	return nil
}
