package ts

import (
	"bytes"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
)

const (
	sliceHead  = 128      // bytes of a slice that decide whether it begins an access unit
	scanAtMost = 64 << 10 // bytes gathered before an endless PES packet is searched
)

var startCode = []byte{0, 0, 1}

// video finds the access units of a stream in Annex B.
type video struct {
	es      *codec.ByteStream
	open    bool  // a unit has begun at head
	from    int   // where the last PES packet starts in the buffer
	decided bool  // its first slice was looked at
	cur     stamp // of the open unit
	times   times
}

func (v *video) reset(c av.Codec) {
	v.open, v.from, v.decided, v.cur = false, 0, false, stamp{}
	v.times.restart()
	v.es = nil
	if c == av.H264 || c == av.H265 {
		v.es = codec.NewByteStream(c)
	}
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
	for {
		i := bytes.Index(s.buf[s.scan:], startCode)
		if i < 0 {
			s.scan = max(len(s.buf)-2, s.scan)
			break
		}
		i += s.scan
		n, ok := s.nalHead(i+len(startCode), final)
		if !ok {
			s.scan = i
			break
		}
		s.scan = i + len(startCode)
		starts := v.es.StartsAU(n)
		v.decided = v.decided || i >= v.from && isSlice(s.codec, n)
		if !v.open {
			s.head, v.open = s.zeroByte(i), true
			v.cur = s.take(i)
			continue
		}
		if starts {
			return s.cutPicture(s.zeroByte(i), i), true
		}
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

// cutPicture ends the open unit at cut and opens the next, whose start code is at i.
func (s *stream) cutPicture(cut, i int) unit {
	v := &s.video
	u := unit{data: s.buf[s.head:cut], hasPTS: v.cur.hasPTS, hasDTS: v.cur.hasDTS}
	s.stampPicture(&u, v.cur)
	broken := s.damage >= 0 && s.damage < cut
	if broken && s.damage > s.head {
		u.flags |= av.Corrupt
	}
	s.head = cut
	v.cur = s.take(i)
	if broken {
		s.damage = -1
		v.cur.discont = true
	}
	return u
}

// nalHead returns the NAL unit at n, or as much of a slice as StartsAU reads; ok
// is false if more bytes must come.
func (s *stream) nalHead(n int, final bool) (nal []byte, ok bool) {
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
	if e := bytes.Index(b, startCode); e >= 0 {
		return b[:e], true
	}
	return b, final
}

// isSlice reports whether a NAL unit is of a coded picture (H.264 table 7-1,
// H.265 table 7-1).
func isSlice(c av.Codec, nal []byte) bool {
	if c == av.H264 {
		t := nal[0] & 0x1F
		return t >= 1 && t <= 5
	}
	return nal[0]>>1&0x3F < 32
}
