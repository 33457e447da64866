package mp4

import "github.com/cleave-video/cleave/av"

// Sample is where one sample of a fragment lies, and when it is to be decoded.
type Sample struct {
	DTS, PTS     int64 // ticks of the track's timescale
	Dur          int64
	Sync         bool  // decoding can begin here
	Offset, Size int64 // from the first byte of moof
}

// MoofSize returns where the moof box in b begins and how long it is; size 0: there
// is none. It may be longer than b: then what is behind its header was not looked at.
func MoofSize(b []byte) (off, size int64) {
	for len(b) >= 8 {
		n := int64(be.Uint32(b))
		if string(b[4:8]) == "moof" && n >= 8 {
			return off, n
		}
		if n < 8 || n > int64(len(b)) {
			break
		}
		b, off = b[n:], off+n
	}
	return 0, 0
}

// AppendSamples appends the samples that moof, a whole box, says to be in its first
// track's run. size bounds what they and moof may occupy. It returns the track's ID.
// ISO 14496-12 8.8.4
func AppendSamples(dst []Sample, moof []byte, size int64) ([]Sample, uint32, error) {
	top := boxes{body: moof}
	b, ok := top.next()
	if !ok || b.kind != cc("moof") {
		return dst, 0, av.Errorf("mp4", 0, "moof", "%w: not there", av.ErrInvalid)
	}
	traf, ok := b.find(0, "traf")
	if !ok {
		return dst, 0, av.Errorf("mp4", 0, "moof", "%w: no traf", av.ErrInvalid)
	}
	var id uint32
	_, c, err := readTraf(traf, 0, 0, func(n uint32) *track { id = n; return &track{reach: reach{-reachTicks, reachTicks}} }, size)
	for err == nil {
		var s sample
		if ok, err = c.next(&s); !ok || err != nil {
			break
		}
		if s.off < 0 || s.off+int64(s.size) > size {
			return dst, id, av.Errorf("mp4", 0, "trun", "%w: a sample at %d of %d bytes in %d", av.ErrTruncated, s.off, s.size, size)
		}
		dst = append(dst, Sample{
			DTS: s.dts, PTS: s.dts + int64(s.cts), Dur: int64(s.dur), Sync: s.sync, Offset: s.off, Size: int64(s.size),
		})
	}
	return dst, id, err
}
