package annexb

import (
	"errors"
	"io"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/codec/es"
	"github.com/cleave-video/cleave/internal/nal"
)

const (
	startCode = 3   // bytes
	sliceHead = 128 // bytes of a slice that decide whether it begins an access unit
)

// found is an access unit in the input.
type found struct {
	start, end int64
	slice      bool // it has one
	placed     bool // which was read
	place      codec.Place
}

// splitter finds the access units of a byte stream. All positions are the input's.
type splitter struct {
	in     *es.Input
	codec  av.Codec
	stream *codec.ByteStream // StartsAU and Place: it runs ahead of what is returned

	open  bool  // a unit has begun
	cur   found // the unit
	inNAL bool  // a start code was found at at
	at    int64
	look  int64 // where the search for the next start code goes on
	final bool  // nothing follows
	ended bool  // the last unit was returned
	junk  int64 // bytes before the first start code
}

// next returns the next access unit; the input keeps it until it is skipped. The
// error is the input's, or wraps av.ErrTooLarge.
func (s *splitter) next(limit int64) (found, error) {
	for !s.ended {
		if s.inNAL || s.seek() {
			if u, ok := s.head(); ok {
				if f, ok := s.take(u); ok {
					return f, nil
				}
				continue
			}
		}
		if s.final {
			return s.last()
		}
		if end := s.in.Offset() + int64(len(s.in.Bytes())); s.open && end-s.cur.start > limit {
			return found{}, av.Errorf("annexb", s.cur.start, "access_unit", "%w: more than %d bytes", av.ErrTooLarge, limit)
		}
		if err := s.in.Fill(); errors.Is(err, io.EOF) {
			s.final = true
		} else if err != nil {
			return found{}, err
		}
	}
	return found{}, io.EOF
}

// seek looks for the next start code.
func (s *splitter) seek() bool {
	b, off := s.in.Bytes(), s.in.Offset()
	i := nal.StartCode(b, int(s.look-off))
	if i >= 0 {
		s.inNAL, s.at, s.look = true, off+int64(i), off+int64(i)+startCode
		return true
	}
	s.look = max(s.look, off+int64(len(b))-startCode+1)
	if !s.open {
		s.junk += s.look - off
		s.in.Skip(int(s.look - off))
	}
	return false
}

// head returns the NAL unit behind the start code, or as much of a slice as is
// read; ok is false if more bytes must come.
func (s *splitter) head() (unit []byte, ok bool) {
	off := s.in.Offset()
	b := s.in.Bytes()[s.at+startCode-off:]
	if len(b) == 0 {
		return nil, s.final
	}
	if isSlice(s.codec, b) {
		return b[:min(len(b), sliceHead)], len(b) >= sliceHead || s.final
	}
	from := int(s.look - s.at - startCode)
	e := nal.StartCode(b, from)
	if e < 0 {
		s.look = max(s.look, s.at+startCode+int64(len(b))-startCode+1)
		if !s.final {
			return nil, false
		}
		e = len(b)
	}
	for e > 0 && b[e-1] == 0 { // of no NAL unit
		e--
	}
	return b[:e], true
}

// take looks at a NAL unit; it returns the unit before if it begins another.
func (s *splitter) take(u []byte) (f found, ok bool) {
	s.inNAL = false
	begins := s.stream.StartsAU(u)
	if !s.open {
		s.open = true
		s.cur = found{start: s.zeroByte()}
		s.junk += s.cur.start - s.in.Offset()
	} else if begins {
		f, ok = s.cur, true
		f.end = s.zeroByte()
		s.cur = found{start: f.end}
	}
	if len(u) > 0 && isSlice(s.codec, u) && !s.cur.placed {
		s.cur.slice = true
		s.cur.place, s.cur.placed = s.stream.Place(u)
	}
	return f, ok
}

// zeroByte returns where the start code begins when its zero_byte is counted.
func (s *splitter) zeroByte() int64 {
	off := s.in.Offset()
	if i := s.at - off; i > 0 && s.in.Bytes()[i-1] == 0 {
		return s.at - 1
	}
	return s.at
}

// last returns the unit that the end of the input ends.
func (s *splitter) last() (found, error) {
	s.ended = true
	if !s.open {
		return found{}, io.EOF
	}
	f := s.cur
	f.end = s.in.Offset() + int64(len(s.in.Bytes()))
	return f, nil
}

// isSlice reports whether a NAL unit is of a coded picture (H.264 table 7-1,
// H.265 table 7-1).
func isSlice(c av.Codec, unit []byte) bool {
	if c == av.H264 {
		t := unit[0] & 0x1f
		return t >= 1 && t <= 5
	}
	return unit[0]>>1&0x3f < 32
}
