package ts

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// checker walks over written segments by its own reading of ISO 13818-1 and says
// which of the rules T1 to T10 they break. It shares no code with the package.
type checker struct {
	t    *testing.T
	name string

	cc       map[int]int
	sections map[int][]byte
	pmtPID   int
	pcrPID   int
	types    map[int]int
	desc     map[int]string

	pcr, lastPCR     int64
	havePCR          bool
	lastPAT, lastPMT int64 // in PCR time
	psiSeen          bool
	lastDTS          map[int]int64
	lastPTS          map[int]int64
	open             map[int][]byte
	random           map[int]bool
	expectDiscont    map[int]bool
	videoOfSegment   int // video PES packets since the segment began
	pes              int
}

func newChecker(t *testing.T, name string) *checker {
	return &checker{
		t: t, name: name, cc: map[int]int{}, sections: map[int][]byte{}, types: map[int]int{}, desc: map[int]string{},
		lastDTS: map[int]int64{}, lastPTS: map[int]int64{}, open: map[int][]byte{}, random: map[int]bool{},
		expectDiscont: map[int]bool{},
	}
}

func (c *checker) errorf(rule, format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("%s: %s: %s", c.name, rule, fmt.Sprintf(format, args...))
}

// segment checks one whole segment.
func (c *checker) segment(b []byte, discont bool) {
	c.t.Helper()
	if len(b) == 0 || len(b)%188 != 0 {
		c.errorf("T2", "%d bytes", len(b))
		return
	}
	c.videoOfSegment = 0
	if discont {
		c.havePCR, c.psiSeen = false, false
		c.lastDTS = map[int]int64{}
		for pid := range c.types {
			c.expectDiscont[pid] = true
		}
	}
	for i := 0; i < len(b); i += 188 {
		p := b[i : i+188]
		if p[0] != 0x47 {
			c.errorf("T2", "sync_byte %#x at %d", p[0], i)
			return
		}
		pid := int(binary.BigEndian.Uint16(p[1:]) & 0x1FFF)
		if i == 0 && pid != 0 || i == 188 && pid != c.pmtPID {
			c.errorf("T1", "packet %d of the segment has PID %#x", i/188, pid)
		}
		c.packet(pid, p)
	}
	for pid := range c.open {
		c.endPES(pid)
	}
}

func (c *checker) packet(pid int, p []byte) {
	off, discont := 4, false
	if p[3]&0x20 != 0 {
		n := int(p[4])
		off = 5 + n
		if off > 188 || p[3]&0x10 == 0 && n != 183 || p[3]&0x10 != 0 && n > 182 {
			c.errorf("T10", "adaptation_field_length %d", n)
			return
		}
		discont = c.adaptation(pid, p[5:off])
	}
	if c.expectDiscont[pid] != discont && c.types[pid] != 0x86 {
		c.errorf("T11", "PID %#x: discontinuity_indicator %v", pid, discont)
	}
	delete(c.expectDiscont, pid)
	last, seen := c.cc[pid]
	cc := int(p[3] & 15)
	if p[3]&0x10 == 0 {
		if seen && cc != last {
			c.errorf("T3", "PID %#x: continuity_counter %d after %d without payload", pid, cc, last)
		}
		return
	}
	if seen && cc != (last+1)&15 {
		c.errorf("T3", "PID %#x: continuity_counter %d after %d", pid, cc, last)
	}
	c.cc[pid] = cc
	c.payload(pid, p[1]&0x40 != 0, p[off:])
}

// adaptation returns the discontinuity_indicator.
func (c *checker) adaptation(pid int, b []byte) bool {
	if len(b) == 0 {
		return false
	}
	if b[0]&0x40 != 0 {
		c.random[pid] = true
	}
	at := 1
	if b[0]&0x10 != 0 {
		if pid != c.pcrPID {
			c.errorf("T5", "PCR on PID %#x, not %#x", pid, c.pcrPID)
		}
		c.pcr = int64(binary.BigEndian.Uint32(b[1:]))<<1 | int64(b[5]>>7)
		if d := wrapped(c.pcr - c.lastPCR); c.havePCR && (d < 0 || d > 3600) {
			c.errorf("T5", "PCR %d after %d", c.pcr, c.lastPCR)
		}
		c.lastPCR, c.havePCR = c.pcr, true
		at += 6
	}
	for _, v := range b[at:] {
		if v != 0xFF {
			c.errorf("T10", "PID %#x: stuffing %#x", pid, v)
			break
		}
	}
	return b[0]&0x80 != 0
}

func wrapped(d int64) int64 { return d << 31 >> 31 }

func (c *checker) payload(pid int, start bool, p []byte) {
	if _, es := c.types[pid]; es && c.types[pid] != 0x86 && c.types[pid] != 0x05 {
		if start {
			c.endPES(pid)
			c.open[pid] = []byte{}
			c.startPES(pid, p)
		}
		c.open[pid] = append(c.open[pid], p...)
		return
	}
	if start {
		c.sections[pid] = append([]byte(nil), p[1+int(p[0]):]...)
	} else {
		c.sections[pid] = append(c.sections[pid], p...)
	}
	s := c.sections[pid]
	n := 3 + int(binary.BigEndian.Uint16(s[1:])&0xFFF)
	if len(s) < n {
		return
	}
	if !crcIsZero(s[:n]) {
		c.errorf("T10", "PID %#x: CRC_32", pid)
	}
	switch {
	case pid == 0:
		c.pmtPID = int(binary.BigEndian.Uint16(s[10:]) & 0x1FFF)
		c.interval("PAT", &c.lastPAT)
	case pid == c.pmtPID:
		c.pmt(s[:n])
		c.interval("PMT", &c.lastPMT)
	}
}

func (c *checker) interval(name string, last *int64) {
	if c.havePCR {
		if d := wrapped(c.pcr - *last); c.psiSeen && d > 45000 {
			c.errorf("T4", "%s after %d ticks", name, d)
		}
		*last = c.pcr
		c.psiSeen = c.psiSeen || name == "PMT"
	}
}

func (c *checker) pmt(s []byte) {
	c.pcrPID = int(binary.BigEndian.Uint16(s[8:]) & 0x1FFF)
	b := s[12+int(binary.BigEndian.Uint16(s[10:])&0xFFF) : len(s)-4]
	for len(b) >= 5 {
		n := int(binary.BigEndian.Uint16(b[3:]) & 0xFFF)
		pid := int(binary.BigEndian.Uint16(b[1:]) & 0x1FFF)
		c.types[pid], c.desc[pid] = int(b[0]), string(b[5:5+n])
		b = b[5+n:]
	}
}

// startPES checks times against each other and against PCR.
func (c *checker) startPES(pid int, p []byte) {
	c.pes++
	video := c.types[pid] == 0x1B || c.types[pid] == 0x24
	if p[0] != 0 || p[1] != 0 || p[2] != 1 || p[7]&0x80 == 0 {
		c.errorf("T6", "PID %#x: PES header % x", pid, p[:9])
		return
	}
	stamp := func(b []byte) int64 {
		return int64(b[0]>>1&7)<<30 | int64(binary.BigEndian.Uint16(b[1:])>>1)<<15 | int64(binary.BigEndian.Uint16(b[3:])>>1)
	}
	pts := stamp(p[9:])
	dts := pts
	if p[7]&0x40 != 0 {
		if dts = stamp(p[14:]); dts == pts {
			c.errorf("T8", "DTS written although it equals PTS")
		}
	}
	if wrapped(pts-dts) < 0 {
		c.errorf("T8", "DTS %d > PTS %d", dts, pts)
	}
	if last, ok := c.lastDTS[pid]; ok && wrapped(dts-last) <= 0 {
		c.errorf("T8", "PID %#x: DTS %d after %d", pid, dts, last)
	}
	if c.havePCR && pid == c.pcrPID {
		if d := wrapped(dts - c.pcr); d < 0 || d > 90000 {
			c.errorf("T5", "DTS %d ticks after PCR", d)
		}
	}
	c.lastDTS[pid], c.lastPTS[pid] = dts, pts
	if video {
		c.videoOfSegment++
		if c.videoOfSegment == 1 && !c.random[pid] {
			c.errorf("T7", "random_access_indicator missing")
		}
	}
	c.random[pid] = false
}

// endPES checks length and, for the first of a segment, what it starts with.
func (c *checker) endPES(pid int) {
	b, ok := c.open[pid]
	delete(c.open, pid)
	if !ok || len(b) < 9 {
		return
	}
	n := int(binary.BigEndian.Uint16(b[4:]))
	typ := c.types[pid]
	if typ != 0x1B && typ != 0x24 {
		if n != len(b)-6 {
			c.errorf("T10", "PID %#x: PES_packet_length %d of %d", pid, n, len(b)-6)
		}
		if es := b[9+int(b[8]):]; typ == 0x0F && (es[0] != 0xFF || es[1]&0xF6 != 0xF0) {
			c.errorf("T12", "no ADTS: % x", es[:2])
		}
		return
	}
	list := nalTypes(b[9+int(b[8]):], typ)
	want := []int{9, 7, 8}
	if typ == 0x24 {
		want = []int{35, 32, 33, 34}
	}
	if len(list) == 0 || list[0] != want[0] {
		c.errorf("T7", "no access unit delimiter first: %v", list)
	}
	if c.videoOfSegment == 1 {
		for i, w := range want {
			if i >= len(list) || list[i] != w {
				c.errorf("T7", "first picture starts %v, want %v", list, want)
				break
			}
		}
	}
}

func nalTypes(b []byte, typ int) []int {
	var l []int
	for i := 0; i+3 < len(b); i++ {
		if b[i] != 0 || b[i+1] != 0 || b[i+2] != 1 {
			continue
		}
		if typ == 0x1B {
			l = append(l, int(b[i+3]&31))
		} else {
			l = append(l, int(b[i+3]>>1&63))
		}
	}
	return l
}

// crcIsZero is CRC_32 bit by bit.
func crcIsZero(b []byte) bool {
	c := uint32(0xFFFFFFFF)
	for _, v := range b {
		for k := 7; k >= 0; k-- {
			top := c>>31 ^ uint32(v>>k&1)
			c <<= 1
			if top != 0 {
				c ^= 0x04C11DB7
			}
		}
	}
	return c == 0
}

// write muxes the packets of g, a segment for each list that splitAtKeys makes.
func write(t *testing.T, g generation) (segments [][]byte) {
	t.Helper()
	m, err := NewMuxer(g.tracks)
	if err != nil {
		t.Fatal(err)
	}
	for _, packets := range splitAtKeys(g) {
		seg := m.AppendHeader(nil)
		for _, p := range packets {
			seg = m.AppendPacket(seg, p, p.DTS, p.PTS)
		}
		segments = append(segments, seg)
	}
	return segments
}
