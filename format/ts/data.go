package ts

import "github.com/cleave-video/cleave/av"

// nextPayload returns the payload of the next whole PES packet.
func (s *stream) nextPayload(final bool) (unit, bool) {
	for len(s.marks) > 0 {
		end := len(s.buf)
		switch {
		case len(s.marks) > 1:
			end = s.marks[1].off
		case s.left != 0 && !final:
			return unit{}, false
		}
		start := s.marks[0].off
		st := s.take(start)
		s.head = end
		if start == end {
			continue
		}
		u := unit{data: s.buf[start:end], pts: st.pts, dts: st.pts, noTime: !st.hasPTS}
		if st.hasDTS {
			u.dts = st.dts
		}
		if st.discont {
			u.flags = av.Discont
		}
		return u, true
	}
	return unit{}, false
}

// nextSection returns the next whole section. Those with a CRC are checked: all
// of the long form (ISO 13818-1 2.4.4.11) and those of SCTE 35 (9.6).
func (s *stream) nextSection() (unit, bool) {
	for {
		b, ok := s.psi.next()
		if !ok {
			return unit{}, false
		}
		if (b[1]&0x80 != 0 || b[0] == 0xFC) && crc32(b) != 0 {
			s.stats.add(warnBadPSI, 1)
			continue
		}
		u := unit{data: b, noTime: true}
		if s.broke {
			u.flags, s.broke = av.Discont, false
		}
		return u, true
	}
}
