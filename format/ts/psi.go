package ts

import (
	"encoding/binary"

	"github.com/cleave-video/cleave/av"
)

const (
	tablePAT   = 0x00
	tablePMT   = 0x02
	maxSection = 4096 + 3 // private_section_length is at most 4093 (ISO 13818-1 2.4.4.11)
	maxPIDs    = 256      // PIDs looked at in one input
)

// crcTable is the CRC of ISO 13818-1 annex A: polynomial 0x04C11DB7, most
// significant bit first.
var crcTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&0x80000000 != 0 {
				c = c<<1 ^ 0x04C11DB7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

// crc32 of a section that ends in its own CRC is 0.
func crc32(b []byte) uint32 {
	c := ^uint32(0)
	for _, v := range b {
		c = c<<8 ^ crcTable[byte(c>>24)^v]
	}
	return c
}

// sections joins the payloads of one PID to PSI sections (ISO 13818-1 2.4.4).
type sections struct {
	buf    []byte
	head   int
	active bool
}

// feed takes the payload of one packet; then call next until it says no.
func (s *sections) feed(payload []byte, start bool) {
	s.compact()
	if !start {
		if s.active {
			s.buf = append(s.buf, payload...)
		}
		return
	}
	if len(payload) == 0 || 1+int(payload[0]) > len(payload) {
		s.reset()
		return
	}
	ptr := int(payload[0])
	if s.active && s.missing() == ptr {
		s.buf = append(s.buf, payload[1:]...) // the old section's end, then the new one
		return
	}
	s.buf = append(s.buf[:0], payload[1+ptr:]...)
	s.active = true
}

// missing returns by how many bytes the section in buf is short.
func (s *sections) missing() int {
	if len(s.buf) < 3 {
		return -1
	}
	return sectionSize(s.buf) - len(s.buf)
}

func sectionSize(b []byte) int { return 3 + int(binary.BigEndian.Uint16(b[1:])&0x0FFF) }

// next returns the next whole section, valid until the next feed.
func (s *sections) next() ([]byte, bool) {
	b := s.buf[s.head:]
	if !s.active || len(b) == 0 {
		return nil, false
	}
	if b[0] == 0xFF { // stuffing up to the next start
		s.reset()
		return nil, false
	}
	if len(b) < 3 || len(b) < sectionSize(b) {
		return nil, false
	}
	n := sectionSize(b)
	s.head += n
	return b[:n:n], true
}

func (s *sections) compact() {
	if s.head > 0 {
		s.buf = s.buf[:copy(s.buf, s.buf[s.head:])]
		s.head = 0
	}
}

func (s *sections) reset() {
	s.buf, s.head, s.active = s.buf[:0], 0, false
}

// programRef is one line of the PAT.
type programRef struct{ number, pid uint16 }

// table is the long form of a section's header (ISO 13818-1 2.4.4.11).
type table struct {
	extension   uint16
	version     uint8
	number      uint8
	lastNumber  uint8
	body        []byte // between header and CRC
	notYetValid bool   // current_next_indicator is 0
}

func parseTable(sec []byte, id uint8, field string) (table, error) {
	if len(sec) < 12 {
		return table{}, av.Errorf("ts", -1, field, "%w: %d < 12", av.ErrTruncated, len(sec))
	}
	if sec[0] != id || sec[1]&0x80 == 0 {
		return table{}, av.Errorf("ts", -1, field, "%w: table_id %#x", av.ErrInvalid, sec[0])
	}
	if len(sec) > 1024 { // 2.4.4.4, 2.4.4.9
		return table{}, av.Errorf("ts", -1, field, "%w: %d > 1024", av.ErrTooLarge, len(sec))
	}
	if crc32(sec) != 0 {
		return table{}, av.Errorf("ts", -1, field, "%w: CRC_32", av.ErrInvalid)
	}
	return table{
		extension:   binary.BigEndian.Uint16(sec[3:]),
		version:     sec[5] >> 1 & 0x1F,
		notYetValid: sec[5]&1 == 0,
		number:      sec[6],
		lastNumber:  sec[7],
		body:        sec[8 : len(sec)-4],
	}, nil
}

// parsePAT appends the programs of one section to dst (ISO 13818-1 2.4.4.3).
func parsePAT(dst []programRef, t table) []programRef {
	for b := t.body; len(b) >= 4 && len(dst) < maxPIDs; b = b[4:] {
		r := programRef{binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]) & 0x1FFF}
		if r.number != 0 && r.pid != pidNull && r.pid != pidPAT { // 0: network information
			dst = append(dst, r)
		}
	}
	return dst
}

// esInfo is one elementary stream of a PMT.
type esInfo struct {
	pid  uint16
	typ  uint8  // stream_type
	desc []byte // its descriptors
}

// program is what a PMT says.
type program struct {
	number  uint16
	pcrPID  uint16
	streams []esInfo
}

// parse reads a PMT, whose bytes p goes on to refer to (ISO 13818-1 2.4.4.8).
func (p *program) parse(t table) error {
	b := t.body
	p.streams = p.streams[:0]
	if len(b) < 4 {
		return av.Errorf("ts", -1, "PMT", "%w: %d < 4", av.ErrTruncated, len(b))
	}
	p.number, p.pcrPID = t.extension, binary.BigEndian.Uint16(b)&0x1FFF
	n := 4 + int(binary.BigEndian.Uint16(b[2:])&0x0FFF)
	if n > len(b) {
		return av.Errorf("ts", -1, "PMT.program_info_length", "%w: %d > %d", av.ErrTruncated, n-4, len(b)-4)
	}
	for b = b[n:]; len(b) > 0; b = b[n:] {
		if len(b) < 5 {
			return av.Errorf("ts", -1, "PMT.stream_type", "%w: %d < 5", av.ErrTruncated, len(b))
		}
		n = 5 + int(binary.BigEndian.Uint16(b[3:])&0x0FFF)
		if n > len(b) {
			return av.Errorf("ts", -1, "PMT.ES_info_length", "%w: %d > %d", av.ErrTruncated, n-5, len(b)-5)
		}
		e := esInfo{pid: binary.BigEndian.Uint16(b[1:]) & 0x1FFF, typ: b[0], desc: b[5:n:n]}
		if e.pid != pidNull && e.pid != pidPAT && !p.has(e.pid) && len(p.streams) < maxPIDs-2 {
			p.streams = append(p.streams, e)
		}
	}
	return nil
}

func (p *program) has(pid uint16) bool {
	for i := range p.streams {
		if p.streams[i].pid == pid {
			return true
		}
	}
	return false
}
