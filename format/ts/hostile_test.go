package ts

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/cleave-video/cleave/av"
)

// section closes a section with its CRC.
func section(b []byte) []byte {
	b = bytes.Clone(b)
	b[1] = 0xB0 | byte((len(b)+1)>>8)
	b[2] = byte(len(b) + 1)
	return binary.BigEndian.AppendUint32(b, crc32(b))
}

func pat(version uint8, refs ...programRef) []byte {
	b := []byte{tablePAT, 0, 0, 0, 1, 0xC1 | version<<1, 0, 0}
	for _, r := range refs {
		b = binary.BigEndian.AppendUint16(b, r.number)
		b = binary.BigEndian.AppendUint16(b, 0xE000|r.pid)
	}
	return section(b)
}

func pmt(number uint16, version uint8, list ...esInfo) []byte {
	b := []byte{tablePMT, 0, 0, byte(number >> 8), byte(number), 0xC1 | version<<1, 0, 0, 0xE1, 0, 0xF0, 0}
	for _, e := range list {
		b = append(b, e.typ)
		b = binary.BigEndian.AppendUint16(b, 0xE000|e.pid)
		b = binary.BigEndian.AppendUint16(b, 0xF000|uint16(len(e.desc)))
		b = append(b, e.desc...)
	}
	return section(b)
}

// pes returns one PES packet with a PTS, in transport packets from cc on.
func pes(pid uint16, cc *uint8, payload []byte, pts int64) []byte {
	t := muxTrack{pid: pid, cc: *cc, streamID: sidPrivate1}
	b := appendPES(nil, &t, appendPESHeader(nil, &t, len(payload), pts, pts), payload, adaptation{pcr: -1})
	*cc = t.cc
	return b
}

func tables(number uint16, pid uint16, list ...esInfo) []byte {
	var cc uint8
	b := appendSection(nil, pidPAT, &cc, pat(0, programRef{number, pid}))
	cc = 0
	return appendSection(b, pid, &cc, pmt(number, 0, list...))
}

// dataStream is a program of one private stream with n PES packets.
func dataStream(n int) []byte {
	b := tables(1, 0x1000, esInfo{pid: 0x100, typ: typePrivate})
	var cc uint8
	for i := range n {
		b = append(b, pes(0x100, &cc, bytes.Repeat([]byte{byte(i)}, 400), int64(i)*3600)...)
	}
	return b
}

func flagsOf(l []generation) (f []av.Flags) {
	for _, g := range l {
		for _, p := range g.packets {
			f = append(f, p.Flags&(av.Discont|av.Corrupt|av.Derived))
		}
	}
	return f
}

// TestDamage: HOSTILE 45: damaged packets are dropped and counted, what follows
// is marked.
func TestDamage(t *testing.T) {
	const first = 2 * packetSize // behind PAT and PMT; each PES takes 3 packets
	mid := first + 4*packetSize  // the second packet of the second PES
	for _, test := range []struct {
		name    string
		change  func(b []byte) []byte
		packets int
		warn    string
		discont int // index of the packet with Discont, -1 none
	}{
		{"none", func(b []byte) []byte { return b }, 4, "", -1},
		{"lost", func(b []byte) []byte { return append(b[:mid:mid], b[mid+packetSize:]...) }, 3, "continuity", 1},
		{"twice", func(b []byte) []byte {
			return append(append(b[:mid:mid], b[mid-packetSize:mid]...), b[mid:]...)
		}, 4, "duplicate", -1},
		{"transport_error", func(b []byte) []byte { b[mid+1] |= flagError; return b }, 3, "transport_error", 1},
		{"scrambled", func(b []byte) []byte { b[mid+3] |= 0x80; return b }, 3, "scrambled", 1},
		{"adaptation", func(b []byte) []byte { b[mid+3] |= flagAdapt; b[mid+4] = 184; return b }, 3, "> 183", 1},
		{"start lost", func(b []byte) []byte {
			at := mid - packetSize
			return append(b[:at:at], b[mid:]...)
		}, 3, "continuity", 1},
		{"sync lost", func(b []byte) []byte { b[mid] = 0; return b }, 3, "sync", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := NewDemuxer(bytes.NewReader(test.change(dataStream(4))))
			l, err := readAll(d)
			if err != nil {
				t.Fatal(err)
			}
			f := flagsOf(l)
			if len(f) != test.packets {
				t.Errorf("%d packets, want %d", len(f), test.packets)
			}
			for i := range f {
				if f[i].Has(av.Discont) != (i == test.discont) {
					t.Errorf("packet %d has flags %#x", i, f[i])
				}
			}
			if w := strings.Join(d.Warnings(), "\n"); !strings.Contains(w, test.warn) || test.warn == "" && w != "" {
				t.Errorf("warnings %q, want %q", w, test.warn)
			}
		})
	}
}

// TestLostVideo: a picture with a hole is Corrupt, the next Discont.
func TestLostVideo(t *testing.T) {
	b := sample(t, "av.ts")
	at := 0
	for i := 40 * packetSize; i < len(b); i += packetSize {
		h, _ := parseHeader(b[i : i+packetSize])
		g, _ := parseHeader(b[i-packetSize : i])
		if h.pid == 0x100 && !h.start && g.pid == 0x100 {
			at = i
			break
		}
	}
	g := demux(t, append(b[:at:at], b[at+packetSize:]...))[0]
	video := ofTrack(g, 0)
	if len(video) != 25 {
		t.Fatalf("%d pictures", len(video))
	}
	corrupt := 0
	for i, p := range video {
		if p.Flags.Has(av.Corrupt) {
			corrupt++
			if !video[i+1].Flags.Has(av.Discont) {
				t.Errorf("picture %d is Corrupt, the next not Discont", i)
			}
		}
	}
	if corrupt != 1 {
		t.Errorf("%d corrupt pictures, want 1", corrupt)
	}
}

// TestWrap: HOSTILE 27: times stay as they are where the clock wraps.
func TestWrap(t *testing.T) {
	b := tables(1, 0x1000, esInfo{pid: 0x100, typ: typePrivate})
	var cc uint8
	for i := range int64(4) {
		b = append(b, pes(0x100, &cc, []byte{1}, (timeMask-3600+i*3600)&timeMask)...)
	}
	var got []int64
	for _, p := range demux(t, b)[0].packets {
		got = append(got, p.PTS)
	}
	for i, w := range []int64{timeMask - 3600, timeMask, 3599, 7199} {
		if got[i] != w {
			t.Errorf("packet %d: PTS %d, want %d", i, got[i], w)
		}
	}
	if n := NewDemuxer(nil).WrapBits(); n != 33 {
		t.Errorf("WrapBits %d", n)
	}
}

// TestTables: HOSTILE 42, 47: tables that lie.
func TestTables(t *testing.T) {
	many := make([]programRef, 200)
	for i := range many {
		many[i] = programRef{uint16(i + 1), uint16(0x20 + i)}
	}
	var cc uint8
	broken := tables(1, 0x1000, esInfo{pid: 0x100, typ: typePrivate})
	broken[packetSize+20] ^= 1 // in the PMT
	for name, b := range map[string][]byte{
		"no programs":   appendSection(nil, pidPAT, &cc, pat(0)),
		"many programs": appendSection(nil, pidPAT, &cc, pat(0, many...)),
		"no streams":    tables(1, 0x1000),
		"PMT on PAT":    tables(1, pidPAT, esInfo{pid: 0x100, typ: typePrivate}),
		"CRC":           broken,
		"empty":         {},
		"one byte":      {syncByte},
	} {
		t.Run(name, func(t *testing.T) {
			b = append(b, bytes.Repeat(nullPacket(), 20)...)
			l, err := readAll(NewDemuxer(bytes.NewReader(b)))
			if !errors.Is(err, av.ErrInvalid) || len(l) != 0 {
				t.Errorf("%d generations, error %v", len(l), err)
			}
		})
	}
}

func nullPacket() []byte {
	p := bytes.Repeat([]byte{0xFF}, packetSize)
	copy(p, []byte{syncByte, 0x1F, 0xFF, flagPayload})
	return p
}

// TestPMTFlood: a PMT that always changes takes no unbounded memory.
func TestPMTFlood(t *testing.T) {
	var b []byte
	var pc, mc uint8
	b = appendSection(b, pidPAT, &pc, pat(0, programRef{1, 0x1000}))
	for i := range 20000 {
		var list []esInfo
		for k := range 33 {
			list = append(list, esInfo{pid: uint16(0x100 + i%7 + k), typ: typeH264 + uint8(i&1)*9})
		}
		b = appendSection(b, 0x1000, &mc, pmt(1, uint8(i)&31, list...))
	}
	if n := allocated(b); n > 2*len(b)+1<<20 {
		t.Errorf("%d bytes allocated for %d", n, len(b))
	}
}

// TestEndlessUnit: HOSTILE 20, 44: an access unit that never ends.
func TestEndlessUnit(t *testing.T) {
	b := tables(1, 0x1000, esInfo{pid: 0x100, typ: typeH264})
	p := bytes.Repeat([]byte{0x55}, packetSize)
	copy(p, []byte{syncByte, 0x41, 0, flagPayload, 0, 0, 1, sidVideo, 0, 0, 0x80, 0, 0, 0, 0, 1, 0x65})
	b = append(b, p...)
	for i := 1; len(b) < 3<<20; i++ {
		p := bytes.Repeat([]byte{0x55}, packetSize)
		copy(p, []byte{syncByte, 1, 0, flagPayload | byte(i&15)})
		b = append(b, p...)
	}
	d := NewDemuxer(bytes.NewReader(b))
	d.MaxUnit = 1 << 20
	_, err := readAll(d)
	if !errors.Is(err, av.ErrTooLarge) {
		t.Errorf("error %v, want %v", err, av.ErrTooLarge)
	}
}

// TestPrograms: the first program with video is read.
func TestPrograms(t *testing.T) {
	var cc [4]uint8
	b := appendSection(nil, pidPAT, &cc[0], pat(0, programRef{1, 0x1000}, programRef{2, 0x1001}))
	b = appendSection(b, 0x1000, &cc[1], pmt(1, 0, esInfo{pid: 0x100, typ: typePrivate}))
	b = appendSection(b, 0x1001, &cc[2], pmt(2, 0, esInfo{pid: 0x200, typ: typePrivate}, esInfo{pid: 0x201, typ: typeH264}))
	b = append(b, pes(0x200, &cc[3], []byte("two"), 90000)...)
	d := NewDemuxer(bytes.NewReader(b))
	l, err := readAll(d)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(l[0].packets); n != 1 || string(l[0].packets[0].Data) != "two" {
		t.Errorf("%d packets", n)
	}
	if w := strings.Join(d.Warnings(), "\n"); !strings.Contains(w, "program 2 of 2") {
		t.Errorf("warnings %q", w)
	}
}

// TestPMTChange: new streams make new tracks; the same streams do not.
func TestPMTChange(t *testing.T) {
	var p, m, a, c uint8
	one := esInfo{pid: 0x100, typ: typePrivate}
	two := esInfo{pid: 0x101, typ: typeMetadata, desc: []byte{0x26, 0}}
	b := appendSection(nil, pidPAT, &p, pat(0, programRef{1, 0x1000}))
	b = appendSection(b, 0x1000, &m, pmt(1, 0, one))
	b = append(b, pes(0x100, &a, []byte("1"), 0)...)
	b = appendSection(b, 0x1000, &m, pmt(1, 1, one))
	b = append(b, pes(0x100, &a, []byte("2"), 3600)...)
	b = appendSection(b, 0x1000, &m, pmt(1, 2, one, two))
	b = append(b, pes(0x100, &a, []byte("3"), 7200)...)
	b = append(b, pes(0x101, &c, []byte("x"), 7200)...)
	b = appendSection(b, 0x1000, &m, pmt(1, 3, two))
	b = append(b, pes(0x101, &c, []byte("y"), 10800)...)
	l := demux(t, b)
	want := []string{"12", "3x", "y"}
	if len(l) != len(want) {
		t.Fatalf("%d generations, want %d", len(l), len(want))
	}
	for i, g := range l {
		var s string
		for _, p := range g.packets {
			s += string(p.Data)
		}
		if s != want[i] {
			t.Errorf("generation %d: %q, want %q", i, s, want[i])
		}
	}
	if k := l[1].tracks[1]; k.Private != av.PrivateTS || !bytes.Equal(k.Config, []byte{typeMetadata, 0x26, 0}) {
		t.Errorf("track %v", k)
	}
}

// TestSections: splice information comes as whole sections, damaged ones do not.
func TestSections(t *testing.T) {
	cue := bytes.Repeat([]byte{0xFC, 0x30, 0, 7}, 100)
	cue[1] = 0x30 | byte((len(cue)+1)>>8)
	cue[2] = byte(len(cue) + 1)
	cue = binary.BigEndian.AppendUint32(cue, crc32(cue))
	bad := bytes.Clone(cue)
	bad[50]++
	b := tables(1, 0x1000, esInfo{pid: 0x100, typ: typeSCTE35})
	var cc uint8
	b = appendSection(b, 0x100, &cc, cue)
	b = appendSection(b, 0x100, &cc, bad)
	b = appendSection(b, 0x100, &cc, cue)
	d := NewDemuxer(bytes.NewReader(b))
	l, err := readAll(d)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(l[0].packets); n != 2 {
		t.Fatalf("%d sections, want 2", n)
	}
	for _, p := range l[0].packets {
		if !bytes.Equal(p.Data, cue) || !p.Flags.Has(av.Derived) {
			t.Errorf("section of %d bytes, flags %#x", len(p.Data), p.Flags)
		}
	}
}

// TestClose: Close ends reading and closes the reader once.
func TestClose(t *testing.T) {
	r, w := io.Pipe()
	d := NewDemuxer(r)
	done := make(chan error)
	go func() {
		_, err := d.ReadPacket(av.Heap{})
		done <- err
	}()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("ReadPacket went on after Close")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Write([]byte{1}); err == nil {
		t.Error("the reader is still open")
	}
}

// TestManyVideos: L2 where a PMT lists hundreds of video streams that all begin.
func TestManyVideos(t *testing.T) {
	var list []esInfo
	for i := range 200 {
		list = append(list, esInfo{pid: uint16(0x100 + i), typ: typeH264})
	}
	b := tables(1, 0x1000, list...)
	for i := range list {
		var cc uint8
		b = append(b, pes(list[i].pid, &cc, []byte{0, 0, 1, 0x67, 1, 2, 3, 0, 0, 1, 0x65, 1, 2, 3}, 0)...)
	}
	if n := allocated(b); n > 2*len(b)+1<<20 {
		t.Errorf("%d bytes allocated for %d", n, len(b))
	}
}
