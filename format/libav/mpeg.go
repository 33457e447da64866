package libav

import (
	"github.com/cleave-video/cleave/av"
	"github.com/cleave-video/cleave/codec"
	"github.com/cleave-video/cleave/internal/nal"
)

// mpegOrder tells where pictures of MPEG-1, MPEG-2 and MPEG-4 part 2 stand in output
// order, for containers that leave out times.
type mpegOrder struct {
	syntax  mpegSyntax
	anchors int64 // pictures of MPEG-4 so far that are no B
	between int64 // B pictures since the last of them
	packed  bool  // packets hold several pictures: DivX's way to put B pictures in AVI
}

type mpegSyntax uint8

const (
	mpegNone mpegSyntax = iota
	mpeg12              // ISO 13818-2 6.2.2.6, 6.2.3
	mpeg4               // ISO 14496-2 6.2.5
)

// The start codes that matter.
const (
	startPicture = 0x00
	startGroup   = 0xB8
	startVOP     = 0xB6
)

const (
	pictureB = 3 // picture_coding_type
	vopB     = 2 // vop_coding_type
)

func (m *mpegOrder) begin(name string) {
	switch name {
	case "mpeg1video", "mpeg2video":
		m.syntax = mpeg12
	case "mpeg4":
		m.syntax = mpeg4
	}
}

func (m *mpegOrder) known() bool { return m.syntax != mpegNone && !m.packed }

// isB reports whether the first picture of data is a B picture. It finds out whether
// packets hold several.
func (m *mpegOrder) isB(data []byte) bool {
	if m.syntax == mpegNone {
		return false
	}
	code, b := byte(startPicture), false
	if m.syntax == mpeg4 {
		code = startVOP
	}
	for at, n := 0, 0; ; at += 3 {
		if at = nal.StartCode(data, at); at < 0 || at+5 >= len(data) {
			return b
		}
		if data[at+3] != code {
			continue
		}
		if n++; n == 1 {
			b = m.syntax == mpeg12 && data[at+5]>>3&7 == pictureB || m.syntax == mpeg4 && data[at+4]>>6 == vopB
		} else if m.syntax == mpeg4 {
			m.packed = true
			return false
		}
	}
}

// place reads a picture's head. Call it for every picture in turn.
func (m *mpegOrder) place(data []byte) (p codec.Place, f av.Flags, ok bool) {
	if m.syntax == mpeg4 {
		// B pictures behind a key picture that are shown before it refer back.
		return m.placeVOP(data), av.Open, true
	}
	for at := 0; ; at += 3 {
		if at = nal.StartCode(data, at); at < 0 || at+7 >= len(data) {
			return p, f, false
		}
		switch data[at+3] {
		case startGroup:
			p.Reset = true
			if data[at+7]&0x40 == 0 { // closed_gop
				f |= av.Open
			}
		case startPicture:
			const fields = 2 // Count is of fields
			p.Count = fields * int64(uint16(data[at+4])<<2|uint16(data[at+5])>>6)
			return p, f, true
		}
	}
}

// placeVOP counts: B pictures are output before the picture that precedes them in
// decode order, and in their own order.
func (m *mpegOrder) placeVOP(data []byte) (p codec.Place) {
	const room = 1 << 16 // B pictures in a row
	if m.isB(data) {
		m.between++
		p.Count = (m.anchors-1)*room + min(m.between, room-1)
		return p
	}
	m.anchors, m.between = m.anchors+1, 0
	p.Count = m.anchors * room
	return p
}
