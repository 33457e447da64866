package ts

import (
	"encoding/binary"
	"io"

	"github.com/cleave-video/cleave/av"
)

const (
	readSize   = 256 << 10 // one read; large enough that the calls cost nothing
	maxResync  = 64 << 10  // bytes searched for packets before the input is given up
	syncRun    = 5         // sync bytes in a row that make a lock
	maxNoReads = 100       // empty reads in a row
)

// strides are the distances of sync bytes: plain, with a 4-byte time in front
// (M2TS), with 16 bytes of Reed-Solomon parity behind.
var strides = [...]int{packetSize, 192, 204}

// source finds transport packets in a byte stream.
type source struct {
	r        io.Reader
	buf      []byte
	pos, end int   // unread bytes; pos may pass end by the gap between packets
	base     int64 // input offset of buf[0]
	stride   int   // 0 before the first lock
	err      error // of the reader, sticky
	resyncs  int64 // times the lock was lost
	skipped  int64 // bytes that belonged to no packet
}

func newSource(r io.Reader) source { return source{r: r} }

// offset is where the next packet starts in the input.
func (s *source) offset() int64 { return s.base + int64(s.pos) }

// next returns the next packet, valid until the next call. At the end of the
// input it returns the reader's error.
func (s *source) next() ([]byte, error) {
	for {
		if s.end-s.pos < packetSize {
			if err := s.fill(); err != nil {
				s.skipped += int64(max(s.end-s.pos, 0))
				s.pos = max(s.end, s.pos)
				return nil, err
			}
			continue
		}
		if s.stride == 0 || !s.locked() {
			if err := s.sync(); err != nil {
				return nil, err
			}
			continue
		}
		p := s.buf[s.pos : s.pos+packetSize : s.pos+packetSize]
		s.pos += s.stride
		return p, nil
	}
}

// appendPlain appends to dst the payloads of the packets that follow in memory, as long
// as each is of the PID, the next by its continuity_counter after cc, and nothing but
// payload, and dst stays shorter than most and has the capacity. It returns dst and the
// last counter; the other packets are left to next.
func (s *source) appendPlain(dst []byte, most int, pid uint16, cc uint8) ([]byte, uint8) {
	const payload = packetSize - headerSize
	most = min(most, cap(dst)-payload+1)
	head := syncByte<<24 | uint32(pid)<<8 | flagPayload
	buf, pos := s.buf[:max(s.end, 0)], s.pos
	for len(dst) < most {
		next := pos + s.stride
		if next >= len(buf) || buf[next] != syncByte {
			break
		}
		cc1 := (cc + 1) & maskCC
		if binary.BigEndian.Uint32(buf[pos:]) != head|uint32(cc1) {
			break
		}
		dst = append(dst, buf[pos+headerSize:pos+packetSize]...)
		cc, pos = cc1, next
	}
	s.pos = pos
	return dst, cc
}

// locked reports whether a packet starts at pos. One damaged sync byte behind
// it does not matter; two mean that this packet was cut.
func (s *source) locked() bool {
	if s.buf[s.pos] != syncByte {
		return false
	}
	n := s.pos + s.stride
	if n >= s.end || s.buf[n] == syncByte {
		return true
	}
	n += s.stride
	return n < s.end && s.buf[n] == syncByte
}

// fill reads once. It returns an error only if no byte came.
func (s *source) fill() error {
	if s.err != nil {
		return s.err
	}
	if s.buf == nil {
		s.buf = make([]byte, readSize)
	}
	keep := min(s.pos, s.end)
	s.base += int64(keep)
	s.end = copy(s.buf, s.buf[keep:s.end])
	s.pos -= keep
	for range maxNoReads {
		n, err := s.r.Read(s.buf[s.end:])
		if n < 0 || n > len(s.buf)-s.end {
			n, err = 0, io.ErrNoProgress
		}
		s.end += n
		s.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	s.err = io.ErrNoProgress
	return s.err
}

// sync moves pos to the next place where packets start and sets the stride.
func (s *source) sync() error {
	first := s.stride == 0
	from := s.offset()
	if !first {
		s.resyncs++
		s.pos++
	}
	for {
		if s.offset()-from > maxResync {
			s.pos = s.end
			s.err = av.Errorf("ts", from, "sync_byte", "%w: no packets within %d bytes", av.ErrInvalid, maxResync)
			return s.err
		}
		if s.end-s.pos < syncRun*204 && s.err == nil {
			if err := s.fill(); err != nil && s.end-s.pos < packetSize {
				s.skip(from, first)
				return err
			}
			continue
		}
		if s.end-s.pos < packetSize {
			s.skip(from, first)
			return s.err
		}
		if s.buf[s.pos] == syncByte {
			if n := s.lock(); n != 0 {
				s.skip(from, first)
				s.stride = n
				return nil
			}
		}
		s.pos++
	}
}

// skip counts what sync stepped over; the time in front of the first M2TS
// packet is no loss.
func (s *source) skip(from int64, first bool) {
	if n := s.offset() - from; !first || n != 4 {
		s.skipped += n
	}
}

// lock returns the stride of the packets that start at pos, or 0. At the end of
// the input fewer than syncRun packets are enough.
func (s *source) lock() int {
	for _, n := range strides {
		ok := true
		for k := 1; k < syncRun && ok; k++ {
			at := s.pos + k*n
			if at >= s.end {
				break
			}
			ok = s.buf[at] == syncByte
		}
		if ok {
			return n
		}
	}
	return 0
}
