package ts

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/internal/nal"
)

const (
	startCode  = 3        // bytes
	sliceHead  = 128      // bytes of a slice that decide whether it begins an access unit
	scanAtMost = 64 << 10 // bytes gathered before an endless PES packet is searched
)

// video finds the access units of a stream in Annex B.
type video struct {
	es      *codec.ByteStream // Scan and Write
	split   *codec.ByteStream // StartsAU: it runs ahead, and must not teach es the sets to come
	open    bool              // a unit has begun at head
	from    int               // where the last PES packet starts in the buffer
	decided bool              // its first slice was looked at
	cur     stamp             // of the open unit
	codes   []int             // where its start codes are in the buffer
	spare   []int             // codes of the unit before, which may still be read
	times   times
}

func (v *video) reset() {
	v.open, v.from, v.decided, v.cur = false, 0, false, stamp{}
	v.times.restart()
	v.es, v.split = nil, nil
}

// due reports whether it is worth while to look for units now: at the start of
// a PES packet, until its first slice is there, and now and then in a long one.
func (s *stream) due(start bool) bool {
	switch {
	case s.kind == av.Video:
		if start {
			s.video.decided = false
		}
		return !s.video.decided || len(s.buf)-s.scan >= scanAtMost
	case s.kind == av.Audio:
		return len(s.buf) >= s.audio.want
	}
	return start || s.left == 0 || inSections(s.typ)
}

// nextPicture returns the access unit at head once the next one has begun: one
// PES packet may hold several, and one may go on in the next PES packet.
func (s *stream) nextPicture(final bool) (unit, bool) {
	v := &s.video
	if v.es == nil {
		v.es, v.split = codec.NewByteStream(s.codec), codec.NewByteStream(s.codec)
	}
	for {
		i := nal.StartCode(s.buf, s.scan)
		if i < 0 {
			s.scan = max(len(s.buf)-2, s.scan)
			break
		}
		n, ok := s.nalHead(i+startCode, final)
		if !ok {
			s.scan = i
			break
		}
		s.scan = i + startCode
		starts := v.split.StartsAU(n)
		v.decided = v.decided || i >= v.from && isSlice(s.codec, n)
		if v.open && starts {
			return s.cutPicture(s.zeroByte(i), i), true
		}
		if !v.open {
			s.head, v.open = s.zeroByte(i), true
			v.cur = s.take(i)
			v.codes = v.codes[:0]
		}
		v.codes = codec.AddStartCode(v.codes, s.buf, i)
	}
	if !v.open {
		s.head = s.scan
	}
	if final && v.open && s.head < len(s.buf) {
		u := s.cutPicture(len(s.buf), len(s.buf))
		v.open, s.scan = false, len(s.buf)
		return u, true
	}
	return unit{}, false
}

// zeroByte returns where the start code at i begins when its zero_byte is counted.
func (s *stream) zeroByte(i int) int {
	if i > s.head && s.buf[i-1] == 0 {
		return i - 1
	}
	return i
}

// cutPicture ends the open unit at cut and opens the next, whose start code is at
// i. Its times are those of the PES packet that i is in: a zero byte at the end of
// the one before is more often padding than the zero_byte of this start code.
func (s *stream) cutPicture(cut, i int) unit {
	v := &s.video
	for k := range v.codes {
		v.codes[k] -= s.head
	}
	u := unit{data: s.buf[s.head:cut], codes: v.codes, hasPTS: v.cur.hasPTS, hasDTS: v.cur.hasDTS}
	s.stampPicture(&u, v.cur)
	broken := s.damage >= 0 && s.damage < cut
	if broken && s.damage > s.head {
		u.flags |= av.Corrupt
	}
	s.head = cut
	v.codes, v.spare = append(v.spare[:0], i), v.codes
	v.cur = s.take(i)
	if broken {
		s.damage = -1
		v.cur.discont = true
	}
	return u
}

// nalHead returns the NAL unit at n, or as much of a slice as StartsAU reads; ok
// is false if more bytes must come.
func (s *stream) nalHead(n int, final bool) (unit []byte, ok bool) {
	b := s.buf[n:]
	if len(b) == 0 {
		return nil, false
	}
	if isSlice(s.codec, b) {
		if len(b) >= sliceHead {
			return b[:sliceHead], true
		}
		return b, final
	}
	e := nal.StartCode(b, 0)
	if e < 0 {
		return b, final
	}
	for e > 1 && b[e-1] == 0 { // of no NAL unit
		e--
	}
	return b[:e], true
}

// isSlice reports whether a NAL unit is of a coded picture (H.264 table 7-1,
// H.265 table 7-1).
func isSlice(c av.Codec, unit []byte) bool {
	if c == av.H264 {
		t := unit[0] & 0x1F
		return t >= 1 && t <= 5
	}
	return unit[0]>>1&0x3F < 32
}
