package verify

import (
	"encoding/hex"

	"github.com/cleave-video/cleave/format/mp4"
)

// keyGroup is one entry of a sample group of type seig, or the defaults of a track.
// ISO/IEC 23001-7 6
type keyGroup struct {
	protected bool
	kid       [16]byte
}

// The indexes of groups that a fragment itself describes begin above this.
// ISO/IEC 14496-12 8.9.4
const ownGroups = 0x10000

// readKeyGroups returns what the sgpd of type seig below a box describes.
func readKeyGroups(n *mp4.Node) (out []keyGroup) {
	for i := range n.Children {
		if n.Children[i].Type != "sgpd" {
			continue
		}
		b := body(&n.Children[i])
		v, _ := b.full()
		if string(b.take(4)) != "seig" {
			continue
		}
		length := uint32(0)
		if v >= 1 {
			length = b.u32()
		}
		if v >= 2 {
			b.u32()
		}
		for count := b.u32(); count > 0 && len(b.b) >= 20; count-- {
			size := length
			if v >= 1 && size == 0 {
				size = b.u32()
			}
			if v == 0 || size > uint32(len(b.b)) {
				size = 20 // the oldest form has a constant length
			}
			e := &cursor{b.take(int(size))}
			e.u16()
			g := keyGroup{protected: e.u8() == 1}
			e.u8()
			copy(g.kid[:], e.take(16))
			out = append(out, g)
		}
	}
	return out
}

// keysOf returns the keys of a fragment's samples, one of each run of a group; whole
// is false if a group is named that is not described.
func keysOf(t *headerTrack, traf *mp4.Node) (out []keyGroup, whole bool) {
	samples, grouped := uint32(0), uint32(0)
	for i := range traf.Children {
		if n := &traf.Children[i]; n.Type == "trun" {
			b := body(n)
			b.full()
			samples += b.u32()
		}
	}
	own, whole := readKeyGroups(traf), true
	for i := range traf.Children {
		if traf.Children[i].Type != "sbgp" {
			continue
		}
		b := body(&traf.Children[i])
		v, _ := b.full()
		if string(b.take(4)) != "seig" {
			continue
		}
		if v == 1 {
			b.u32()
		}
		for count := b.u32(); count > 0 && len(b.b) >= 8; count-- {
			grouped += b.u32()
			list, index := t.keys, b.u32()
			if index > ownGroups {
				list, index = own, index-ownGroups
			}
			switch {
			case index == 0:
				out = append(out, t.key)
			case index > uint32(len(list)):
				whole = false
			default:
				out = append(out, list[index-1])
			}
		}
	}
	if grouped < samples {
		out = append(out, t.key)
	}
	return out, whole
}

// checkKeysOf checks that the samples of a segment have one key (CTA-5005 4.3, 4.6).
func (s *segmentReader) checkKeysOf(t *headerTrack, traf *mp4.Node) {
	if t.scheme == "" || !s.cmaf {
		return
	}
	s.c.saw("C11")
	list, whole := keysOf(t, traf)
	if !whole {
		s.c.find("C11", boxPlace(s.at, traf), "sbgp names a group of keys that no sgpd describes")
	}
	for _, g := range list {
		if !g.protected {
			continue // clear samples may stand among the others
		}
		first, seen := s.kids[t.id]
		if !seen {
			s.kids[t.id] = g.kid
		} else if g.kid != first {
			s.c.find("C11", boxPlace(s.at, traf), "key %s, the segment's samples before have %s", hex.EncodeToString(g.kid[:]), hex.EncodeToString(first[:]))
			return
		}
	}
}
