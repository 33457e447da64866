package es

import "encoding/binary"

// tagHead is how many bytes tagLen needs to know every tag.
const tagHead = 32

// tagLen returns the length of the tag at the start of b, which may exceed b; 0
// if there is none.
//
//	ID3v2  "ID3" version(2) flags(1) size(4 × 7 bits); +10 behind if flags & 0x10
//	ID3v1  "TAG", 128 bytes in all; "TAG+" 227
//	APE    "APETAGEX" version(4) size(4) items(4) flags(4) reserved(8), little-endian;
//	       the size counts the items and the footer, not the header
func tagLen(b []byte) int64 {
	switch {
	case len(b) >= 10 && string(b[:3]) == "ID3" && b[3] != 0xff && b[4] != 0xff && (b[6]|b[7]|b[8]|b[9])&0x80 == 0:
		n := 10 + (int64(b[6])<<21 | int64(b[7])<<14 | int64(b[8])<<7 | int64(b[9]))
		if b[5]&0x10 != 0 {
			n += 10
		}
		return n
	case len(b) >= 4 && string(b[:4]) == "TAG+":
		return 227
	case len(b) >= 3 && string(b[:3]) == "TAG":
		return 128
	case len(b) >= tagHead && string(b[:8]) == "APETAGEX":
		if flags := binary.LittleEndian.Uint32(b[20:]); flags&(1<<29) != 0 {
			return tagHead + int64(binary.LittleEndian.Uint32(b[12:]))
		}
		return tagHead // a footer
	}
	return 0
}

// SkipTags returns head behind the tags at its start; nil if they fill it.
func SkipTags(head []byte) []byte {
	for {
		n := tagLen(head)
		switch {
		case n == 0:
			return head
		case n >= int64(len(head)):
			return nil
		}
		head = head[n:]
	}
}

// Sniff returns from 0 to 100 how sure it is that head, the first bytes of an
// input, holds frames of s, behind tags or not.
func Sniff(head []byte, s Syntax) int {
	b := SkipTags(head)
	if b == nil {
		return 0
	}
	frames, sig := 0, uint32(0)
	for len(b) >= s.HeadLen() && (frames == 0 || tagLen(b) == 0) {
		f, err := s.Parse(b)
		if err != nil || frames > 0 && f.Sig != sig {
			return 0
		}
		frames, sig = frames+1, f.Sig
		if f.Size >= len(b) {
			break
		}
		b = b[f.Size:]
	}
	return [...]int{0, 20, 60, 85, 95}[min(frames, 4)]
}
