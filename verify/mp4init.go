package verify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/format/mp4"
)

// header is what an initialization section says.
type header struct {
	place  Place
	brands []string
	tracks []*headerTrack
}

// headerTrack is one trak.
type headerTrack struct {
	id            uint32
	handler       string
	scale         int64
	entry         string // of stsd: "avc1"; of an encrypted track the original one
	width, height int    // of the sample entry
	track         av.Track
	info          codec.Info
	insp          *codec.Inspector // nil: not known, or encrypted
	defaults      sampleDefaults   // of trex
	edits         []edit
	scheme        string     // "cbcs", "cenc" or empty
	crypt, skip   uint8      // pattern of tenc
	key           keyGroup   // of tenc
	keys          []keyGroup // that stbl describes
	transfer      uint16     // transfer_characteristics of colr; 0 unknown
	node          *mp4.Node
}

type edit struct{ duration, media int64 }

type sampleDefaults struct{ dur, size, flags uint32 }

func (h *header) has(brand string) bool { return h != nil && slices.Contains(h.brands, brand) }

// cmaf reports whether the file says of itself that it is CMAF.
func (h *header) cmaf() bool { return h.has("cmfc") || h.has("cmf2") }

// edit is the media time at which a track's one edit begins; 0 if there is none.
func (h *header) edit(id uint32) int64 {
	if k := h.track(id); k != nil && len(k.edits) == 1 {
		return max(k.edits[0].media, 0)
	}
	return 0
}

func (h *header) track(id uint32) *headerTrack {
	if h == nil {
		return nil
	}
	for _, t := range h.tracks {
		if t.id == id {
			return t
		}
	}
	return nil
}

// cursor reads a box's body; behind its end it gives zeros.
type cursor struct{ b []byte }

func (c *cursor) take(n int) []byte {
	if n > len(c.b) || n < 0 {
		c.b = nil
		return make([]byte, min(max(n, 0), 64))
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) u8() uint8   { return c.take(1)[0] }
func (c *cursor) u16() uint16 { return binary.BigEndian.Uint16(c.take(2)) }
func (c *cursor) u32() uint32 { return binary.BigEndian.Uint32(c.take(4)) }
func (c *cursor) u64() uint64 { return binary.BigEndian.Uint64(c.take(8)) }

// full reads version and flags, and wide a field that version 1 widens.
func (c *cursor) full() (version uint8, flags uint32) {
	v := c.u32()
	return uint8(v >> 24), v & 0xffffff
}

func (c *cursor) wide(version uint8) int64 {
	if version == 1 {
		return int64(c.u64() & (1<<63 - 1))
	}
	return int64(c.u32())
}

func body(n *mp4.Node) *cursor {
	if n == nil {
		return &cursor{}
	}
	return &cursor{n.Body}
}

// boxPlace is where a box stands.
func boxPlace(at Place, n *mp4.Node) Place {
	if n != nil {
		at.Box, at.Offset = n.Path, n.Offset
	}
	return at
}

// readHeader reads and checks an initialization section; nil if it is none.
func (c *checker) readHeader(at Place, b []byte, off int64) *header {
	c.saw("S3")
	nodes, err := mp4.Tree(b, off)
	if err != nil {
		c.find("S3", at, "%v", err)
	}
	moov := mp4.First(nodes, "moov")
	if moov == nil {
		c.find("S3", at, "no moov in the initialization section")
		return nil
	}
	h := &header{place: at}
	if ftyp := body(mp4.First(nodes, "ftyp")); len(ftyp.b) >= 8 {
		for major := true; len(ftyp.b) >= 4; major = false {
			h.brands = append(h.brands, string(ftyp.take(4)))
			if major {
				ftyp.take(4)
			}
		}
	}
	known := describe(b)
	for i := range moov.Children {
		if n := &moov.Children[i]; n.Type == "trak" {
			h.tracks = append(h.tracks, readTrak(n, moov, known))
		}
	}
	c.checkHeader(h, nodes, moov)
	return h
}

// describe returns the tracks as this program's demuxer reads them.
func describe(b []byte) []av.Track {
	d := mp4.New(bytes.NewReader(b), int64(len(b)))
	defer d.Close()
	if _, err := d.ReadPacket(av.Heap{}); err != nil && !errors.Is(err, av.ErrTracks) {
		return nil
	}
	return d.Tracks()
}

func readTrak(n, moov *mp4.Node, known []av.Track) *headerTrack {
	t := &headerTrack{node: n}
	tkhd := body(n.First("tkhd"))
	v, _ := tkhd.full()
	tkhd.wide(v)
	tkhd.wide(v)
	t.id = tkhd.u32()
	mdhd := body(n.First("mdia", "mdhd"))
	v, _ = mdhd.full()
	mdhd.wide(v)
	mdhd.wide(v)
	t.scale = max(int64(mdhd.u32()), 1)
	hdlr := body(n.First("mdia", "hdlr"))
	hdlr.take(8)
	t.handler = string(hdlr.take(4))
	elst := body(n.First("edts", "elst"))
	v, _ = elst.full()
	for count := elst.u32(); count > 0 && len(elst.b) >= 12; count-- {
		e := edit{duration: elst.wide(v)}
		if v == 1 {
			e.media = int64(elst.u64())
		} else {
			e.media = int64(int32(elst.u32()))
		}
		elst.take(4)
		t.edits = append(t.edits, e)
	}
	if mvex := moov.First("mvex"); mvex != nil {
		for i := range mvex.Children {
			trex := body(&mvex.Children[i])
			trex.full()
			if mvex.Children[i].Type == "trex" && trex.u32() == t.id {
				trex.u32()
				t.defaults = sampleDefaults{trex.u32(), trex.u32(), trex.u32()}
			}
		}
	}
	if stbl := n.First("mdia", "minf", "stbl"); stbl != nil {
		t.readEntry(stbl.First("stsd"))
		t.keys = readKeyGroups(stbl)
	}
	for i := range known {
		if known[i].ID == t.id && t.scheme == "" {
			t.track = known[i]
			t.info, _ = codec.Describe(&t.track)
			if t.track.Codec != av.Private { // of that nothing is known
				t.insp, _ = codec.NewInspector(&t.track)
			}
		}
	}
	return t
}

// readEntry reads the first sample entry. ISO/IEC 14496-12 8.5.2, 8.12
func (t *headerTrack) readEntry(stsd *mp4.Node) {
	if stsd == nil || len(stsd.Children) == 0 {
		return
	}
	e := &stsd.Children[0]
	t.entry = e.Type
	if t.handler == "vide" && len(e.Body) >= 28 {
		t.width, t.height = int(binary.BigEndian.Uint16(e.Body[24:])), int(binary.BigEndian.Uint16(e.Body[26:]))
	}
	if colr := body(e.First("colr")); string(colr.take(4)) == "nclx" {
		colr.u16()
		t.transfer = colr.u16()
	}
	sinf := e.First("sinf")
	if sinf == nil {
		return
	}
	t.entry = string(body(sinf.First("frma")).take(4))
	schm := body(sinf.First("schm"))
	schm.full()
	t.scheme = string(schm.take(4))
	tenc := body(sinf.First("schi", "tenc"))
	v, _ := tenc.full()
	tenc.u8()
	if pattern := tenc.u8(); v > 0 {
		t.crypt, t.skip = pattern>>4, pattern&15
	}
	t.key.protected = tenc.u8() == 1
	tenc.u8()
	copy(t.key.kid[:], tenc.take(16))
}

// checkHeader checks what CMAF asks of a header.
func (c *checker) checkHeader(h *header, nodes []mp4.Node, moov *mp4.Node) {
	for _, t := range h.tracks {
		if t.scheme == "cbcs" && t.handler == "vide" {
			c.saw("A34")
			if t.crypt != 1 || t.skip != 9 {
				c.find("A34", boxPlace(h.place, t.node), "the pattern is %d:%d", t.crypt, t.skip)
			}
		}
	}
	if !h.cmaf() {
		return
	}
	c.saw("C1", "C6", "C7", "C8")
	if len(h.tracks) != 1 {
		c.find("C1", boxPlace(h.place, moov), "%d tracks in a file of brand cmfc", len(h.tracks))
	}
	for _, path := range [...][]string{{"mvhd"}, {"trak", "tkhd"}, {"trak", "mdia", "mdhd"}, {"mvex", "mehd"}} {
		n := moov.First(path...)
		if n == nil {
			continue
		}
		if d := durationOf(n); d != 0 && n.Type != "mehd" {
			c.find("C6", boxPlace(h.place, n), "duration is %d", d)
		}
	}
	for _, t := range h.tracks {
		elst := t.node.First("edts", "elst")
		if t.handler != "vide" || elst == nil {
			continue
		}
		if len(t.edits) != 1 || t.edits[0].duration != 0 {
			c.find("C7", boxPlace(h.place, elst), "%d entries, the first of duration %d: one with duration 0 is allowed", len(t.edits), t.edits[0].duration)
		}
	}
	c.checkBrands(h, mp4.First(nodes, "ftyp"))
}

func durationOf(n *mp4.Node) int64 {
	b := body(n)
	v, _ := b.full()
	switch n.Type {
	case "mehd":
		return b.wide(v)
	case "tkhd":
		b.wide(v)
		b.wide(v)
		b.take(8)
	default: // mvhd, mdhd
		b.wide(v)
		b.wide(v)
		b.take(4)
	}
	if d := b.wide(v); v == 0 && d != 1<<32-1 || v == 1 && d != 1<<63-1 { // all ones: unknown
		return d
	}
	return 0
}

// checkBrands checks that a media profile brand is true (CMAF annexes A and B).
func (c *checker) checkBrands(h *header, ftyp *mp4.Node) {
	for _, t := range h.tracks {
		for _, b := range h.brands {
			wrong := ""
			switch b {
			case "cfsd", "cfhd", "chdf":
				if t.entry != "avc1" && t.entry != "avc3" {
					wrong = "AVC"
				} else if max, ok := map[string][2]int{"cfsd": {864, 576}, "cfhd": {1920, 1080}, "chdf": {1920, 1080}}[b]; ok && (t.width > max[0] || t.height > max[1]) {
					wrong = "smaller pictures"
				}
			case "chhd", "chh1", "cud8", "cud1", "chd1", "clg1":
				if t.entry != "hvc1" && t.entry != "hev1" {
					wrong = "HEVC"
				}
			case "caac", "caaa":
				if t.entry != "mp4a" {
					wrong = "AAC"
				}
			}
			if wrong != "" {
				c.find("C8", boxPlace(h.place, ftyp), "brand %s promises %s; the track is %s of %dx%d", b, wrong, t.entry, t.width, t.height)
			}
		}
	}
}
